"""Les directives du livre : ce qu’elles écrivent dans la page, et ce qui fait échouer la construction.

Un seul petit livre, une page par cas : la construction est faite une fois, et chaque test lit sa
page et ses avertissements.
"""

import json
import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from textwrap import dedent

import nbformat
import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_nb")

from sphinx.application import Sphinx
from sphinx.util.console import nocolor
from sphinx.util.docutils import docutils_namespace, patch_docutils

from llmbook.exercise import sources
from llmbook.exercise_registry import load_all
from tools.sphinx_ext.equations import verify_calls

nbf = nbformat.v4
ROOT = Path(__file__).parent.parent
MODULES = ("issues", "blocks", "equations", "exercises", "quiz", "explorable", "progression")
CONF = {
    "extensions": [
        "myst_nb",
        "sphinxcontrib.bibtex",
        *(f"tools.sphinx_ext.{name}" for name in MODULES),
    ],
    "language": "fr",
    "numfig": True,
    "nb_execution_mode": "off",
    "html_theme": "basic",
    "bibtex_bibfiles": ["refs.bib"],
    "myst_enable_extensions": ["amsmath", "colon_fence", "dollarmath"],
    "exclude_patterns": ["_build"],
}
BIB = """@article{eckart1936, author={Eckart, Carl and Young, Gale}, title={Approximation},
journal={Psychometrika}, year={1936}}"""


@dataclass
class Book:
    """Un livre d’essai construit : ses pages et ses avertissements."""

    folder: Path
    output: Path
    log: str

    def page(self, name: str) -> str:
        return (self.output / f"{name}.html").read_text(encoding="utf-8")

    def warnings(self, name: str) -> list[str]:
        pattern = rf"/{name}\.(?:md|ipynb)(?::\d+)?: WARNING: (.*)"
        return re.findall(pattern, self.log)


def code(source: str, output: str = "", tags=()):
    cell = nbf.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})
    if output:
        cell.outputs = [nbf.new_output("stream", name="stdout", text=output)]
    return cell


def build(folder: Path, pages: dict, builder="html", conf=(), fresh=True) -> Book:
    """Écrit les pages (texte, ou liste de textes et de cellules) et construit le livre."""
    names = list(pages)
    tree = "\n".join(names)
    write(folder / "index.md", f"# Livre\n\n```{{toctree}}\n:numbered:\n{tree}\n```\n")
    write(folder / "refs.bib", BIB)
    for name, content in pages.items():
        if isinstance(content, str):
            write(folder / f"{name}.md", content)
            continue
        cells = [nbf.new_markdown_cell(part) if isinstance(part, str) else part for part in content]
        notebook = nbf.new_notebook(
            cells=cells,
            metadata={
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
        )
        write(folder / f"{name}.ipynb", nbformat.writes(notebook))
    nocolor()
    log, output = StringIO(), folder / "_build" / builder
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            str(folder),
            None,
            str(output),
            str(folder / "_build" / "arbres"),
            builder,
            confoverrides={**CONF, **dict(conf)},
            status=None,
            warning=log,
            freshenv=fresh,
        )
        app.build()
    return Book(folder, output, log.getvalue())


def write(path: Path, text: str) -> None:
    """Écrit seulement ce qui change : Sphinx relit une page dont la date a changé."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def equation(label, text="a = b"):
    return f"# Page\n\n$$ {text} $$ ({label})\n"


def proof(label):
    return code(f'verify("{label}", a, b)', f"vérifié · {label} : égalité à 1e-09 près\n")


QUESTION = """
1. Que vaut $x$, avec `x = 1` ?

   - [ ] Zéro.

     Zéro est *l’autre* valeur.

   - [x] Un.

     C’est écrit.
"""


def quiz(body, label="quiz-essai"):
    return f"# Page\n\n:::{{quiz}}\n:label: {label}\n{body}\n:::\n"


OTHERS = [exercise.label for exercise in load_all() if exercise.label != "ex-vecteurs-cosinus"][:2]
PAGES = {
    # Équations
    "verifiee": [equation("eq-a-un"), proof("eq-a-un")],
    "sans-verification": equation("eq-b-un"),
    "verifiee-ailleurs": [equation("eq-c-un"), code("x = 1")],
    "ailleurs": ["# Page", proof("eq-c-un")],
    "avant": [proof("eq-d-un"), equation("eq-d-un")],
    "sans-sortie": [equation("eq-e-un"), code('verify("eq-e-un", a, b)')],
    "autre-sortie": [
        equation("eq-f-un"),
        code('verify("eq-f-un", a, b)', "vérifié · eq-f-unique : égalité\n"),
    ],
    "imprimee": [equation("eq-g-un"), code("print(ligne)", "vérifié · eq-g-un : égalité\n")],
    "cachee": [
        equation("eq-h-un"),
        code('verify("eq-h-un", a, b)', "vérifié · eq-h-un : ok\n", ["remove-output"]),
    ],
    "definition": equation("eq-i-un") + "\n```{eq-definition} eq-i-un\n```\n",
    "citee": equation("eq-j-un") + "\n```{eq-citee} eq-j-un eckart1936\n```\n",
    "citee-verifiee": [
        equation("eq-k-un") + "\n```{eq-citee} eq-k-un eckart1936\n```\n",
        proof("eq-k-un"),
    ],
    "definition-inconnue": "# Page\n\n```{eq-definition} eq-l-un\n```\n",
    "deux-dans-une-cellule": [
        equation("eq-m-un") + "\n$$ c = d $$ (eq-m-deux)\n",
        code(
            'verify("eq-m-un", a, b)\nverify("eq-m-deux", c, d)',
            "vérifié · eq-m-un : ok\nvérifié · eq-m-deux : ok\n",
        ),
    ],
    "ams": [
        "# Page\n\n\\begin{align}\na &= b \\label{eq-n-un} \\\\\nc &= d\n\\end{align}\n\n"
        "Voir {eq}`eq-n-un`.\n\n\\begin{equation}\ne = f\n\\end{equation}\n",
        proof("eq-n-un"),
    ],
    "ams-sans-verification": "# Page\n\n\\begin{equation}\ne = f \\label{eq-o-un}\n\\end{equation}\n",
    "sans-etiquette": "# Page\n\n$$ a = b $$\n\nEt $c = d$.\n",
    "directive-math": ["# Page\n\n```{math}\n:label: eq-p-un\na = b\n```\n", proof("eq-p-un")],
    "deux-statuts": equation("eq-q-un") + "\n```{eq-definition} eq-q-un\n```\n"
    "\n```{eq-citee} eq-q-un eckart1936\n```\n",
    "source": "# Sources\n\n```{bibliography}\n```\n",
    # Blocs
    "blocs": dedent("""\
        # Page

        ::::{panne} La perte vaut `nan`
        Le symptôme.

        :::{dropdown} Diagnostic
        La cause est cachée.
        :::
        ::::

        :::{echelle} Sept milliards
        Autre chose.
        :::

        :::{margin}
        Une note.
        :::
        """),
    "cloture": "# Page\n\n:::{panne} P\nTexte.\n\n:::{dropdown} D\nSuite.\n:::\n:::\n\nFin.\n",
    "prose": "# Page\n\nRien que du texte.\n",
    # Exercices
    "exercice": [
        "# Page\n\n```{exercise} Titre\n:label: ex-vecteurs-cosinus\n\nÉnoncé.\n```\n",
        code("check('ex-vecteurs-cosinus', f)"),
        "```{corrige} ex-vecteurs-cosinus\n```\n",
    ],
    "deux-exercices": "".join(
        f"```{{exercise}} Titre\n:label: {label}\n\nÉnoncé.\n```\n\n" for label in OTHERS
    ),
    "exercice-inconnu": "# Page\n\n```{exercise} Titre\n:label: ex-vecteurs-zzz\n\nÉnoncé.\n```\n",
    "corrige-seul": "# Page\n\n```{corrige} ex-vecteurs-cosinus\n```\n",
    "corrige-inconnu": "# Page\n\n```{corrige} ex-vecteurs-yyy\n```\n",
    # Quiz
    "quiz": quiz(
        QUESTION
        + """
2. Lesquelles ?

   ```python
   print(1)
   ```

   - [x] Celle-ci.

     Oui.

   - [x] Celle-là.

     Oui aussi.

   - [ ] Aucune.

     Non.
""",
        "quiz-bon",
    ),
    "quiz-sans-juste": quiz(QUESTION.replace("[x]", "[ ]"), "quiz-un"),
    "quiz-sans-explication": quiz(QUESTION.replace("     C’est écrit.", ""), "quiz-deux"),
    "quiz-un-choix": quiz(QUESTION.split("   - [x]")[0].replace("[ ]", "[x]"), "quiz-trois"),
    "quiz-sans-case": quiz(QUESTION.replace("[ ] ", ""), "quiz-quatre"),
    "quiz-sans-liste": quiz("\nDu texte.\n", "quiz-cinq"),
    "quiz-sans-etiquette": f"# Page\n\n:::{{quiz}}\n{QUESTION}\n:::\n",
    "quiz-texte": quiz("\nUn préambule.\n" + QUESTION, "quiz-six"),
    "quiz-a": quiz(QUESTION, "quiz-double"),
    "quiz-b": quiz(QUESTION, "quiz-double"),
    # Figures à manipuler
    "figure": "# Page\n\n:::{explorable} rang\n:data: d.json\n:title: Rang\n\nLe repli.\n:::\n",
    "figure-inconnue": "# Page\n\n:::{explorable} inconnu\nLe repli.\n:::\n",
    "figure-sans-repli": "# Page\n\n:::{explorable} rang\n:::\n",
    "figure-sans-donnees": "# Page\n\n:::{explorable} rang\n:data: e.json\n\nRepli.\n:::\n",
    "figure-json": "# Page\n\n:::{explorable} rang\n:data: faux.json\n\nRepli.\n:::\n",
    # Progression
    "progression": "# Ma progression\n\n```{progression}\n```\n",
}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("livre")
    scripts = folder / "book" / "_explorables"
    write(scripts / "rang.js", "export default function (root, data) {}\n")
    write(scripts / "d.json", json.dumps({"texte": "</script><b>", "x": [1, 2]}))
    write(scripts / "faux.json", "{")
    return build(folder, PAGES)


# Équations vérifiées


@pytest.mark.parametrize(
    "name",
    [
        "verifiee",
        "definition",
        "citee",
        "citee-verifiee",
        "ams",
        "deux-dans-une-cellule",
        "sans-etiquette",
        "directive-math",
    ],
)
def test_equation_with_a_status_is_silent(book, name):
    assert book.warnings(name) == []


@pytest.mark.parametrize(
    "name, label, reason",
    [
        ("sans-verification", "eq-b-un", "n’est pas vérifiée"),
        ("verifiee-ailleurs", "eq-c-un", "n’est pas vérifiée"),
        ("avant", "eq-d-un", "avant d’être énoncée"),
        ("sans-sortie", "eq-e-un", "la sortie stockée ne contient pas"),
        ("autre-sortie", "eq-f-un", "la sortie stockée ne contient pas"),
        ("imprimee", "eq-g-un", "n’est pas vérifiée"),
        ("cachee", "eq-h-un", "la sortie stockée ne contient pas"),
        ("definition-inconnue", "eq-l-un", "Aucune équation"),
        ("ams-sans-verification", "eq-o-un", "n’est pas vérifiée"),
        ("ailleurs", "eq-c-un", "aucune équation de cette étiquette dans la page"),
        ("deux-statuts", "eq-q-un", "plusieurs statuts"),
    ],
)
def test_equation_without_proof_is_a_warning(book, name, label, reason):
    (warning,) = book.warnings(name)
    assert label in warning and reason in warning


def test_mark_links_to_the_cell_and_back(book):
    page = book.page("verifiee")
    mark = re.search(
        r'<p class="bible-eq-marque"><a [^>]*href="#([^"]+)">'
        r'<span class="bible-eq-verified">vérifié</span>',
        page,
    )
    frame = page.index(f'id="{mark.group(1)}"')
    caption = page[frame : page.index("cell_input", frame)]
    number = re.search(r'<span class="eqno">\(([\d.]+)\)', page.replace("\n", "")) or re.search(
        r'class="eqno">\(([\d.]+)', page
    )
    assert "Vérification de l’équation" in caption
    assert 'href="#equation-eq-a-un"' in caption and f"({number.group(1)})" in caption


def test_marks_of_other_statuses(book):
    assert 'class="bible-eq-definition">définition<' in book.page("definition")
    cited = book.page("citee")
    assert 'class="bible-eq-cited">citée<' in cited
    assert 'href="#source-eq-j-un"' in cited and 'id="source-eq-j-un"' in cited
    assert 'href="source.html#' in cited  # la citation mène à sa référence
    both = book.page("citee-verifiee")
    assert "bible-eq-verified" in both and "bible-eq-cited" in both


def test_one_cell_can_verify_two_equations(book):
    page = book.page("deux-dans-une-cellule")
    assert "Vérification des équations" in page
    assert page.count('class="bible-verification') == 2  # le cadre et son titre
    assert 'id="verification-eq-m-un"' in page and 'id="verification-eq-m-deux"' in page


def test_ams_environment_keeps_its_label(book):
    page = book.page("ams")
    assert 'id="equation-eq-n-un"' in page and 'href="#equation-eq-n-un"' in page
    assert "aligned" in page and "\\label" not in page
    assert page.count('class="eqno"') == 1  # sans \label, pas de numéro


def test_ids_are_unique(book):
    for name in PAGES:
        ids = re.findall(r' id="([^"]+)"', book.page(name))
        assert len(ids) == len(set(ids)), f"{name} : {[i for i in ids if ids.count(i) > 1]}"


def test_counts(book):
    summary = json.loads((book.output / "_static" / "equations.json").read_text("utf-8"))
    assert summary["pages"]["verifiee"] == {"verified": 1, "definition": 0, "cited": 0}
    assert summary["pages"]["citee-verifiee"] == {"verified": 1, "definition": 0, "cited": 0}
    assert summary["pages"]["citee"]["cited"] == 1
    assert summary["total"]["verified"] == sum(p["verified"] for p in summary["pages"].values())
    assert "sans-etiquette" not in summary["pages"]


@pytest.mark.parametrize(
    "source, labels",
    [
        ('verify("eq-a", x, y)', ["eq-a"]),
        ('v.verify("eq-a", x)\nverify(label="eq-b", left=x)', ["eq-a", "eq-b"]),
        ('%matplotlib inline\nfor i in r:\n    !ls\n    verify("eq-a", i)', ["eq-a"]),
        ('%%bash\nverify("eq-a")', []),
        ('# verify("eq-a", x, y)', []),
        ("texte = 'verify(\"eq-a\", x, y)'", []),
        ("verify(nom, x, y)", []),
        ("def f(:", []),
    ],
)
def test_verify_calls(source, labels):
    assert verify_calls(source) == labels


def test_warning_comes_back_until_it_is_fixed(tmp_path):
    """Une page fautive, inchangée, échoue encore à la construction suivante."""
    pages = {"faute": equation("eq-z-un"), "bonne": "# Page\n"}
    assert len(build(tmp_path, pages).warnings("faute")) == 1
    assert len(build(tmp_path, pages, fresh=False).warnings("faute")) == 1
    pages["faute"] += "\n```{eq-definition} eq-z-un\n```\n"
    assert build(tmp_path, pages, fresh=False).warnings("faute") == []


def test_fix_outside_the_page_is_seen(tmp_path):
    """Une page fautive est relue, même quand la faute se répare dans un autre fichier."""
    pages = {"figure": PAGES["figure-inconnue"]}
    assert len(build(tmp_path, pages).warnings("figure")) == 1
    write(tmp_path / "book" / "_explorables" / "inconnu.js", "")
    assert build(tmp_path, pages, fresh=False).warnings("figure") == []


# Blocs


def test_blocks(book):
    page = book.page("blocs")
    assert book.warnings("blocs") == []
    assert re.search(r'class="bible-bloc bible-panne"[^>]*role="group"', page)
    assert '<span class="bible-mot">Panne</span> La perte vaut <code' in page
    assert '<span class="bible-mot">À l’échelle</span> Sept milliards' in page
    assert re.search(r'<details class="bible-details">\s*<summary>Diagnostic</summary>', page)
    assert '<div class="bible-marge" role="note">' in page


def test_extra_fence_is_a_warning(book):
    (warning,) = book.warnings("cloture")
    assert ":::" in warning and "deux-points" in warning


# Exercices


def test_exercise_shows_level_minutes_and_reference(book):
    page = book.page("exercice")
    assert book.warnings("exercice") == []
    assert re.search(
        r'<span class="bible-mot">À vous</span> · <span class="bible-niveau '
        r'bible-niveau-1">facile</span> · <span class="bible-duree">\d+ min</span>',
        page,
    )
    folded = re.search(r'<details class="bible-corrige.*?</details>', page, re.DOTALL).group()
    text = re.sub(r"<[^>]+>", "", folded).replace("&#39;", "'").replace("&quot;", '"')
    assert "Corrigé" in text and sources("ex-vecteurs-cosinus").strip() in text
    assert 'class="k">def' in folded or 'class="k">return' in folded  # colorié


@pytest.mark.parametrize(
    "name, reason",
    [
        ("exercice-inconnu", "ex-vecteurs-zzz absent du registre"),
        ("corrige-inconnu", "ex-vecteurs-yyy absent du registre"),
        ("corrige-seul", "n’a pas d’exercice dans la page"),
    ],
)
def test_exercise_faults(book, name, reason):
    (warning,) = book.warnings(name)
    assert reason in warning


# Quiz


def test_quiz_form(book):
    page = book.page("quiz")
    assert book.warnings("quiz") == []
    assert page.count("<fieldset") == page.count("<legend>") == 2
    assert page.count('type="radio"') == 2 and page.count('type="checkbox"') == 3
    assert len(set(re.findall(r'name="(quiz-[^"]+)"', page))) == 2
    assert re.findall(r'data-valeur="(\w+)"', page) == ["faux", "juste", "juste", "juste", "faux"]
    assert "[x]" not in page and "[ ]" not in page
    assert page.count("<summary>Explication") == 5  # lisibles sans JavaScript
    assert page.count('role="status"') == 3
    assert re.search(r'<legend>.*?<span class="math[^"]*">.*?<code', page, re.DOTALL)


def test_quiz_with_tasklist_extension(tmp_path):
    """L’extension « tasklist » de MyST fait d’abord des cases HTML de nos `[x]`."""
    conf = {"myst_enable_extensions": [*CONF["myst_enable_extensions"], "tasklist"]}
    done = build(tmp_path, {"quiz": PAGES["quiz"]}, conf=conf)
    page = done.page("quiz")
    assert done.log == ""
    assert re.findall(r'data-valeur="(\w+)"', page) == ["faux", "juste", "juste", "juste", "faux"]
    assert "task-list-item-checkbox" not in page


@pytest.mark.parametrize(
    "name, reason",
    [
        ("quiz-sans-juste", "question 1 : aucun choix juste"),
        ("quiz-sans-explication", "question 1, choix 2 : l’explication manque"),
        ("quiz-un-choix", "question 1 : 1 choix, il en faut au moins deux"),
        ("quiz-sans-case", "question 1, choix 1 : il manque [ ] ou [x]"),
        ("quiz-sans-liste", "attendu une seule liste numérotée"),
        ("quiz-sans-etiquette", "attendu :label: quiz-"),
        ("quiz-texte", "texte hors des questions"),
        ("quiz-b", "l’étiquette quiz-double sert déjà dans quiz-a"),
    ],
)
def test_quiz_faults(book, name, reason):
    assert any(reason in warning for warning in book.warnings(name))


# Figures à manipuler


def test_explorable(book):
    page = book.page("figure")
    assert book.warnings("figure") == []
    data = re.search(r'<script type="application/json">(.*?)</script>', page).group(1)
    assert json.loads(data) == {"texte": "</script><b>", "x": [1, 2]}
    assert re.search(r'<div class="bible-explorable-repli">\s*<p>Le repli\.</p>', page)
    assert 'data-module="rang"' in page
    assert re.search(r'<script type="module" src="_static/bible-explorable\.js', page)
    assert (book.output / "_static" / "explorables" / "rang.js").is_file()


@pytest.mark.parametrize(
    "name, reason",
    [
        ("figure-inconnue", "inconnu.js n’existe pas"),
        ("figure-sans-repli", "le repli statique manque"),
        ("figure-sans-donnees", "les données e.json n’existent pas"),
        ("figure-json", "n’est pas du JSON"),
    ],
)
def test_explorable_faults(book, name, reason):
    (warning,) = book.warnings(name)
    assert reason in warning


# Progression


def test_progression_lists_the_whole_book(book):
    page = book.page("progression")
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page).group(1))
    assert {
        "label": "quiz-bon",
        "title": "Quiz",
        "questions": 2,
        "page": "Page",
        "url": "quiz.html#quiz-bon",
    } in data["quiz"]
    assert [e["label"] for e in data["exercices"]] == ["ex-vecteurs-cosinus", *OTHERS]
    assert "python -m llmbook.exercise" in page  # le repli, sans JavaScript


def test_progression_follows_other_pages(tmp_path):
    pages = {"quiz": quiz(QUESTION), "progression": PAGES["progression"]}
    build(tmp_path, pages)
    pages["quiz"] = quiz(QUESTION, "quiz-nouveau")
    assert "quiz-nouveau" in build(tmp_path, pages, fresh=False).page("progression")


# Poids et PDF


def test_assets_only_where_they_are_used(book):
    used = {name: set(re.findall(r"bible-[a-z]+\.(?:css|js)", book.page(name))) for name in PAGES}
    assert used["prose"] == set()
    assert used["verifiee"] == {"bible-equations.css"}
    assert used["blocs"] == {"bible-blocs.css"}
    assert used["quiz"] == {"bible-quiz.css", "bible-quiz.js"}
    assert used["figure"] == {"bible-explorable.css", "bible-explorable.js"}
    assert used["exercice"] == {"bible-blocs.css", "bible-exercices.css"}
    assert used["progression"] == {"bible-progression.css", "bible-progression.js"}


def test_static_files_reach_no_other_host():
    for path in (ROOT / "tools" / "sphinx_ext" / "static").glob("bible-*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|//cdn|@import", text), path.name


def test_latex_keeps_everything(tmp_path):
    keep = (
        "verifiee",
        "citee",
        "ams",
        "blocs",
        "exercice",
        "quiz",
        "figure",
        "progression",
        "source",
    )
    scripts = tmp_path / "book" / "_explorables"
    write(scripts / "rang.js", "")
    write(scripts / "d.json", "{}")
    done = build(
        tmp_path,
        {name: PAGES[name] for name in keep},
        builder="latex",
        conf={"latex_documents": [("index", "livre.tex", "Livre", "", "manual")]},
    )
    tex = (done.output / "livre.tex").read_text(encoding="utf-8")
    assert done.log == ""
    for text in (
        "Vérification de l’équation",
        "La cause est cachée",
        "Une note.",
        "Diagnostic",
        "À vous",
        "facile",
        "Corrigé",
        "Que vaut",
        "Zéro est",
        "Réponses",
        "b. Juste.",
        "Le repli.",
    ):
        assert text in tex, text
    assert tex.index("Que vaut") < tex.index("Réponses") < tex.index("Zéro est")
