"""`python -m tools notebooks` sur de petites pages temporaires, jamais sur celles du livre."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode, v4

from tools import execution, freshness, hygiene, notebooks, pages, pairing, refresh
from tools.execution import Measure
from tools.kernels import ROOT, over_budget
from tools.pages import RUN, Page

HEADER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
llmbook:
  level: débutant
  minutes: 5
  budget: {seconds: 20, memory_mb: 400}
  prerequisites: []
---
"""
BODY = """
# Une page

Du texte, avec « des guillemets » et $x$.

```{code-cell}
from demo import f
print(f())
```

Encore du texte.

```{code-cell}
---
tags: [hide-input]
mystnb:
  image: {alt: "Une droite qui monte"}
---
b = f() + 1
b
```
"""
FIGURE = """
```{code-cell}
---
mystnb:
  image: {alt: "Une droite qui monte"}
---
import matplotlib.pyplot as plt
plt.plot([1, 2]);
```
"""


class Site:
    """Un livre minuscule dans un dossier temporaire."""

    def __init__(self, root: Path):
        self.root = root
        self.runs: list[str] = []
        self.put("_config.yml", "repository:\n  url: https://exemple.org/livre\n  branch: main\n")
        self.put("llmbook/__init__.py", "")
        self.put("llmbook/maths.py", "from llmbook.runtime import three\ndef f(): return three()\n")
        self.put("llmbook/runtime.py", "def three(): return 3\n")
        self.put("demo.py", "def f(): return 3\n")

    def put(self, path: str, content: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        return target

    def page(self, name: str = "ch/a", body: str = BODY) -> Page:
        self.put(f"book/{name}.md", HEADER + body)
        return Page(self.root, name)

    def run(self, *argv: str) -> int:
        return notebooks.main([*argv, "--jobs", "1"], self.root)

    def notebook(self, name: str = "ch/a") -> NotebookNode:
        return nbformat.read(self.root / f"notebooks/{name}.ipynb", as_version=4)

    def save_notebook(self, notebook: NotebookNode, name: str = "ch/a") -> None:
        """Comme JupyterLab : identifiants quelconques, métadonnées du noyau ajoutées."""
        notebook.metadata["language_info"] = {"name": "python", "version": "3.12"}
        for k, cell in enumerate(notebook.cells):
            cell.id = f"lab-{k}"
        path = self.root / f"notebooks/{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)

    def files(self) -> dict[str, bytes]:
        folders = (self.root / "book", self.root / "notebooks")
        paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in paths}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def fast(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Le même site, avec une exécution simulée : chaque cellule affiche son rang."""

    def execute(page: Page, notebook: NotebookNode) -> Measure:
        site.runs.append(page.name)
        for rank, cell in enumerate(pages.code_cells(notebook), start=1):
            if "échec" in cell.source:
                raise execution.ExecutionError(
                    execution.explain(page, cell, rank, "ValueError", "perdu")
                )
            cell.outputs = [v4.new_output("stream", name="stdout", text=f"{rank}\n")]
            cell.execution_count = rank
        pairing.number_cells(notebook)
        return Measure(1.2, 101.0)

    monkeypatch.setattr(execution, "execute", execute)
    return site


# --- L’appariement ----------------------------------------------------------------------------


def test_first_run_then_nothing_to_do(fast: Site, capsys):
    fast.page()
    assert fast.run() == 0 and fast.runs == ["ch/a"]
    before = fast.files()
    assert fast.run() == 0 and fast.runs == ["ch/a"]
    assert fast.files() == before
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 page : 0 exécutée")
    assert fast.run("--verifier") == 0


def test_prose_change_keeps_outputs_and_executes_nothing(fast: Site):
    fast.page()
    fast.run()
    fast.page(body=BODY.replace("Encore du texte.", "Un autre texte."))
    assert fast.run("--verifier") == 1
    assert fast.run() == 0 and fast.runs == ["ch/a"]
    notebook = fast.notebook()
    assert any(cell.source == "Un autre texte." for cell in notebook.cells)
    assert [cell.outputs[0].text for cell in pages.code_cells(notebook)] == ["1\n", "2\n"]
    assert fast.run("--verifier") == 0


def test_prose_page_is_left_alone(fast: Site):
    fast.put("book/index.md", "---\ntitle: accueil\n---\n\n```{code-cell}\n1\n```\n")
    assert fast.run() == 0 and pages.find_pages(fast.root) == []


def test_edit_in_jupyterlab_is_carried_back(fast: Site):
    page = fast.page()
    fast.run()
    notebook = fast.notebook()
    pages.code_cells(notebook)[0].source += "\nprint(4)"
    fast.save_notebook(notebook)
    assert fast.run("--verifier") == 1
    assert fast.run() == 0 and fast.runs == ["ch/a", "ch/a"]
    text = page.text_path.read_text(encoding="utf-8")
    assert text == HEADER + BODY.replace("print(f())", "print(f())\nprint(4)").rstrip("\n") + "\n"
    assert fast.run("--verifier") == 0


def test_jupytext_extension_opens_and_saves_the_pair(fast: Site):
    """L’extension écrit les deux formes, à sa façon : ni conflit, ni trace de Colab."""
    page = fast.page()
    fast.put("jupytext.toml", (ROOT / "jupytext.toml").read_text(encoding="utf-8"))
    os.utime(page.text_path, (1.7e9, 1.7e9))  # écrit bien avant le carnet
    fast.run()
    manager = jupytext.TextFileContentsManager(root_dir=str(fast.root))
    model = manager.get("notebooks/ch/a.ipynb")
    model["content"].cells[0].source = "# Un autre titre"
    manager.save(model, "notebooks/ch/a.ipynb")
    assert fast.run() == 0 and fast.runs == ["ch/a"]
    text = page.text_path.read_text(encoding="utf-8")
    assert "# Un autre titre" in text and "google.colab" not in text and "llmbook_run" not in text
    assert fast.run("--verifier") == 0


def test_colab_cell_copied_into_the_text_is_removed(fast: Site):
    page = fast.page()
    fast.run()
    text = jupytext.writes(fast.notebook(), fmt="md:myst")
    assert "google.colab" in text
    page.text_path.write_text(text, encoding="utf-8")
    assert fast.run("ch/a", "--depuis", "book") == 0
    assert "google.colab" not in page.text_path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kept", ["book", "notebooks"])
def test_conflict_writes_nothing_until_someone_chooses(fast: Site, capsys, kept: str):
    page = fast.page()
    fast.run()
    notebook = fast.notebook()
    notebook.cells[0].source = "# Titre du carnet"
    fast.save_notebook(notebook)
    fast.page(body=BODY.replace("# Une page", "# Titre du texte"))
    before = fast.files()
    assert fast.run() == 1
    message = capsys.readouterr().err
    assert "book/ch/a.md" in message and "notebooks/ch/a.ipynb" in message
    assert "--depuis" in message
    assert fast.files() == before
    assert fast.run("--depuis", kept) == 1  # sans nommer de page : refusé
    assert fast.run("ch/a", "--depuis", kept) == 0
    expected = {"book": "# Titre du texte", "notebooks": "# Titre du carnet"}[kept]
    assert expected in page.text_path.read_text(encoding="utf-8")
    assert fast.notebook().cells[0].source.startswith(expected)


def test_new_notebook_gets_a_text(fast: Site):
    cells = [v4.new_markdown_cell("# Neuf"), v4.new_code_cell("x = 1")]
    fast.save_notebook(v4.new_notebook(cells=cells), "ch/neuf")
    assert fast.run("ch/neuf") == 0
    text = (fast.root / "book/ch/neuf.md").read_text(encoding="utf-8")
    assert "kernelspec" in pages.front_matter(text)
    assert "```{code-cell}\nx = 1\n```" in text


def test_orphan_notebook_is_reported(fast: Site, capsys):
    page = fast.page()
    fast.run()
    page.text_path.unlink()
    assert fast.run() == 1
    assert "n’a plus de texte" in capsys.readouterr().err
    assert page.notebook_path.exists()
    assert fast.run("ch/a", "--depuis", "notebooks") == 0 and page.text_path.exists()


def test_damaged_notebook_is_explained(fast: Site, capsys):
    page = fast.page()
    fast.put("notebooks/ch/a.ipynb", "{")
    assert fast.run() == 1
    assert "n’est pas un carnet lisible" in capsys.readouterr().err
    assert page.text_path.exists()


def test_identifiers_are_stable_and_unique(fast: Site):
    fast.page(body=BODY + "\n```{code-cell}\nb\n```\n\n```{code-cell}\nb\n```\n")
    fast.run()
    before = [cell.id for cell in fast.notebook().cells]
    assert len(set(before)) == len(before)
    fast.page(
        body="\nPremier.\n\n+++\n" + BODY + "\n```{code-cell}\nb\n```\n\n```{code-cell}\nb\n```\n"
    )
    fast.run()
    assert [cell.id for cell in fast.notebook().cells][1:] == before


def test_colab_cell_is_first_current_and_silent(fast: Site, capsys):
    fast.page()
    fast.run()
    first = next(cell for cell in fast.notebook().cells if cell.cell_type == "code")
    assert first.metadata.tags == ["colab", "remove-cell"]
    assert "--branch main https://exemple.org/livre " in first.source
    fast.put("_config.yml", "repository: {url: https://ailleurs.org/livre, branch: main}\n")
    assert fast.run("--verifier") == 1
    assert fast.run() == 0 and fast.runs == ["ch/a"]
    assert "ailleurs.org" in fast.notebook().cells[1].source


def test_unknown_page_suggests_a_name(fast: Site, capsys):
    fast.page("ch01/vecteurs")
    assert fast.run("ch01/vecteur") == 1
    assert "ch01/vecteurs" in capsys.readouterr().err
    assert fast.run("book/ch01/vecteurs.md") == 0
    assert fast.run("ch01") == 0


# --- La fraîcheur -----------------------------------------------------------------------------


def reasons(site: Site, name: str = "ch/a") -> list[str]:
    return refresh.plan(Page(site.root, name)).reasons


def test_a_changed_cell_makes_the_following_stale(fast: Site):
    fast.page()
    fast.run()
    assert reasons(fast) == []
    fast.page(body=BODY.replace("b = f() + 1", "b = f() + 2"))
    assert reasons(fast) == ["cellule de code 2 modifiée"]
    fast.page(body=BODY.replace("tags: [hide-input]", "tags: [hide-input, nbval-ignore-output]"))
    assert reasons(fast) == ["cellule de code 2 modifiée"]
    fast.page(body=BODY.replace("Une droite qui monte", "Une autre légende"))
    assert reasons(fast) == []


def test_a_changed_part_of_llmbook_makes_the_page_stale(fast: Site):
    fast.page(body=BODY.replace("from demo", "from llmbook.maths"))
    fast.run()
    assert reasons(fast) == []
    fast.put("llmbook/autre.py", "x = 1\n")  # la page ne l’importe pas
    assert reasons(fast) == []
    fast.put("llmbook/runtime.py", "def three(): return 4\n")  # importé par llmbook.maths
    assert reasons(fast) == ["llmbook.runtime modifié"]


def test_data_and_exercises_count_as_parts(fast: Site):
    fast.put("llmbook/corpus.py", "")
    fast.put("llmbook/data/python.txt", "un")
    fast.put("llmbook/exercises/__init__.py", "")
    fast.put("llmbook/exercises/vecteurs.py", "from .outils import x\n")
    fast.put("llmbook/exercises/outils.py", "x = 1\n")
    body = (
        "\n```{code-cell}\nimport llmbook.corpus\n%matplotlib inline\n"
        'check("ex-vecteurs-cosinus", 1)\n```\n'
    )
    fast.page(body=body)
    fast.run()
    parts = fast.notebook().metadata[RUN]["parts"]
    assert {"llmbook/data", "llmbook.exercises.vecteurs", "llmbook.exercises.outils"} <= set(parts)
    fast.put("llmbook/data/python.txt", "deux")
    assert reasons(fast) == ["llmbook/data modifié"]


def test_edited_outputs_are_noticed(fast: Site):
    fast.page()
    fast.run()
    notebook = fast.notebook()
    pages.code_cells(notebook)[0].outputs[0].text = "99\n"
    fast.save_notebook(notebook)
    assert reasons(fast) == ["sorties modifiées hors de la commande"]
    assert fast.run() == 0 and reasons(fast) == []


def test_failing_page_keeps_its_outputs_and_others_go_on(fast: Site, capsys):
    page = fast.page()
    fast.run()
    before = page.notebook_path.read_bytes()
    fast.page(body=BODY.replace("b = f() + 1", "b = échec"))
    fast.page("ch/z")
    assert fast.run() == 1
    assert page.notebook_path.read_bytes() == before
    assert (fast.root / "notebooks/ch/z.ipynb").exists()
    message = capsys.readouterr().err
    line = page.text_path.read_text(encoding="utf-8").splitlines().index("b = échec") + 1
    assert f"ch/a : la cellule de code 2 échoue (book/ch/a.md, ligne {line})" in message
    assert "| b = échec" in message and "ValueError : perdu" in message


def test_notebook_saved_while_running_is_not_overwritten(
    fast: Site, monkeypatch: pytest.MonkeyPatch, capsys
):
    page = fast.page()
    fast.run()
    simulated = execution.execute

    def execute(page: Page, notebook: NotebookNode) -> Measure:
        edited = fast.notebook()
        edited.cells[0].source = "# Pendant l’exécution"
        fast.save_notebook(edited)
        return simulated(page, notebook)

    monkeypatch.setattr(execution, "execute", execute)
    assert fast.run("--forcer") == 1
    assert "pendant l’exécution ; rien" in capsys.readouterr().err
    assert fast.notebook().cells[0].source == "# Pendant l’exécution"
    assert fast.run() == 0
    assert "# Pendant l’exécution" in page.text_path.read_text(encoding="utf-8")


def test_measures_are_published_and_steady(fast: Site):
    fast.page()
    fast.run()
    table = json.loads((fast.root / "book/_data/notebooks.json").read_text(encoding="utf-8"))
    budget = {"seconds": 20, "memory_mb": 400}
    assert table == {"ch/a": {"seconds": 2, "memory_mb": 110, "code_cells": 2, "budget": budget}}
    assert refresh.steady(10, 12.5, step=1, spread=0.3) == 10
    assert refresh.steady(10, 14, step=1, spread=0.3) == 14
    assert refresh.steady(None, 0.2, step=1, spread=0.3) == 1


def test_write_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.txt"
    assert pages.write(path, "un") and not pages.write(path, "un")

    def broken(source: object, target: object) -> None:
        raise OSError("disque plein")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disque plein"):
        pages.write(path, "deux")
    assert path.read_text(encoding="utf-8") == "un" and list(tmp_path.iterdir()) == [path]


# --- L’hygiène --------------------------------------------------------------------------------


def cell_with(output: NotebookNode | None = None, source: str = "x", **metadata) -> NotebookNode:
    cell = v4.new_code_cell(source, metadata=nbformat.from_dict(metadata))
    cell.outputs = [output] if output else []
    return cell


PNG = v4.new_output("display_data", data={"image/png": "AAAA"})


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (cell_with(v4.new_output("stream", name="stderr", text="aïe\n")), "sortie d’erreur"),
        (cell_with(v4.new_output("stream", text="a.py:3: UserWarning: b\n")), "avertissement"),
        (cell_with(PNG), "image sans texte"),
        (cell_with(source="x\n" * 41), "41 lignes"),
        (cell_with(source="%timeit f()"), "timeit"),
        (cell_with(tags=["raises-exception"]), "n’a pas échoué"),
        (cell_with(v4.new_output("display_data", data={"text/html": "<b>"})), "HTML"),
    ],
)
def test_hygiene_says_what_to_fix(cell: NotebookNode, expected: str):
    (problem,) = hygiene.cell_problems(cell)
    assert expected in problem


@pytest.mark.parametrize(
    ("source", "cut"),
    [
        ("::::{panne} Un\n:::{dropdown} Deux\n:::\n::::", False),
        ("```python\n:::{x}\n```\n\nfin", False),
        (":::{panne} Un\ntexte", True),
        ("texte\n:::", True),
    ],
)
def test_hygiene_sees_a_block_cut_by_a_cell(source: str, cut: bool):
    assert bool(hygiene.block_problems(source)) is cut


def test_hygiene_accepts_a_clean_cell():
    assert hygiene.cell_problems(cell_with(PNG, mystnb={"image": {"alt": "Une droite"}})) == []
    assert "pas de budget" in hygiene.problems(v4.new_notebook())[0]


# --- Avec de vrais noyaux ---------------------------------------------------------------------


@pytest.mark.lent
def test_real_run_is_repeatable_to_the_byte(site: Site, monkeypatch: pytest.MonkeyPatch):
    page = site.page(body=BODY + FIGURE)
    assert site.run() == 0
    before = page.notebook_path.read_bytes()
    monkeypatch.setenv("LLMBOOK_THREADS", "2")
    assert site.run("--forcer") == 0
    assert page.notebook_path.read_bytes() == before
    notebook = site.notebook()
    first, second, figure = pages.code_cells(notebook)
    assert first.outputs[0].text == "3\n" and second.outputs[0].data["text/plain"] == "4"
    assert "execution" not in first.metadata
    png = base64.b64decode(figure.outputs[0].data["image/png"])
    assert png.startswith(b"\x89PNG") and b"tEXt" not in png and b"IEND" in png
    assert hygiene.problems(notebook) == []
    assert notebook.metadata[RUN]["memory_mb"] > 30


@pytest.mark.lent
def test_real_failure_names_the_cell(site: Site, capsys):
    page = site.page(body=BODY + "\n```{code-cell}\n1 / 0\n```\n")
    assert site.run() == 1
    message = capsys.readouterr().err
    assert "la cellule de code 3 échoue" in message and "ZeroDivisionError" in message
    assert not page.notebook_path.exists()


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="signaux POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted_run_leaves_nothing_half_written(site: Site, name: str):
    marker = site.root / "demarre"
    source = f"import time, pathlib\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(60)"
    site.page(body=f"\n```{{code-cell}}\n{source}\n```\n")
    code = "import sys; from pathlib import Path; from tools.notebooks import main; "
    code += f"sys.exit(main([], Path({str(site.root)!r})))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors.decode()
    assert [path.name for path in site.root.rglob("*.ipynb*")] == []
    assert list(site.root.rglob("*.part")) == []


def test_freshness_record_ignores_the_colab_cell(fast: Site):
    fast.page()
    fast.run()
    notebook = fast.notebook()
    assert len(notebook.metadata[RUN]["cells"]) == 2
    assert freshness.text_hash(notebook) == notebook.metadata[RUN]["text"]


# --- nbval, dans le même appel que des tests ordinaires ---------------------------------------


def run_pytest(site: Site, *options: str, workers: int = 0) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(site.root), str(ROOT)])
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider"]
    command += ["--color=no", "-n", str(workers), "--dist", "loadscope", *options]
    inherited = ("PYTEST", "COV", "LLMBOOK")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(inherited)}
    environment["LLMBOOK_BUDGET_FACTOR"] = "1"
    return subprocess.run(
        command,
        cwd=site.root,
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_budget_and_its_factor():
    measure = {"name": "ch/a", "seconds": 30, "memory_mb": 300}
    limits = {"max_seconds": 20, "max_memory_mb": 400}
    (problem,) = over_budget(measure | limits, 1)
    assert "30.0 s pour un budget de 20 s" in problem
    assert over_budget(measure | limits, 2) == []
    (problem,) = over_budget(measure | limits | {"memory_mb": 500}, 2)
    assert "500 Mo pour un budget de 400 Mo" in problem
    assert len(over_budget(measure | {"max_seconds": None, "max_memory_mb": None}, 2)) == 2


@pytest.fixture
def nbval_site(site: Site) -> Site:
    unstable = (
        "\n```{code-cell}\n:tags: [nbval-ignore-output]\n\nimport time\nprint(time.time())\n```\n"
        "\n```{code-cell}\nobject()\n```\n"
    )
    site.page(body=BODY + FIGURE + unstable)
    site.put("pytest.ini", "[pytest]\n")
    site.put("test_ordinaire.py", "def test_un(): pass\n")
    assert site.run() == 0
    return site


@pytest.mark.lent
def test_nbval_and_tests_in_one_call(nbval_site: Site):
    result = run_pytest(nbval_site, "--nbval", workers=2)
    assert result.returncode == 0, result.stdout
    assert "7 passed" in result.stdout and "temps et mémoire des carnets" in result.stdout
    selected = run_pytest(nbval_site, "--nbval", "-m", "not notebooks")
    assert "1 passed" in selected.stdout


@pytest.mark.lent
def test_nbval_refuses_a_different_output_and_a_small_budget(nbval_site: Site):
    path = nbval_site.root / "notebooks/ch/a.ipynb"
    content = path.read_text(encoding="utf-8")
    content = content.replace('"3\\n"', '"4\\n"').replace('"memory_mb": 400', '"memory_mb": 20')
    path.write_text(content, encoding="utf-8")
    result = run_pytest(nbval_site, "--nbval")
    assert "2 failed, 5 passed" in result.stdout, result.stdout
    assert "ch/a, cellule de code 1 : sorties différentes" in result.stdout
    assert "Mo pour un budget de 20 Mo" in result.stdout
    lax = run_pytest(nbval_site, "--nbval-lax")
    assert lax.returncode == 0 and "non imposés" in lax.stdout, lax.stdout
