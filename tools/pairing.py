"""Une page, deux formes : le texte `book/X.md` et le carnet `notebooks/X.ipynb`.

Le texte ne porte aucune sortie ; le carnet les porte toutes, avec une cellule d’installation pour
Colab. Ici : lire les deux formes, dire laquelle a changé, produire l’une à partir de l’autre.
"""

import copy
import difflib
import re
from functools import cached_property
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode, v4

from tools.pages import RUN, Page, PageError, code_cells, digest, front_matter, is_colab, read

CELL_KEYS = ("tags", "mystnb", "jupyter")  # les mêmes que dans jupytext.toml
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
TEXT_FORM = {"text_representation": {"extension": ".md", "format_name": "myst"}}
FENCE = re.compile(r"^(`{3,}|~{3,})\{code-cell\}[^\n]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)


# --- Lire -------------------------------------------------------------------------------------


def tidy(cell: NotebookNode) -> NotebookNode:
    """La même cellule, réduite à ce que le texte sait porter."""
    source = cell.source.strip("\n") if cell.cell_type == "code" else cell.source.strip()
    metadata = {key: cell.metadata[key] for key in CELL_KEYS if cell.metadata.get(key)}
    new = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}
    return new[cell.cell_type](source, metadata=nbformat.from_dict(copy.deepcopy(metadata)))


def parse_text(text: str) -> NotebookNode:
    """Le carnet nu (sans sorties) que décrit un texte MyST."""
    parsed = jupytext.reads(text, fmt="md:myst")
    cells = [tidy(cell) for cell in parsed.cells if not is_colab(cell)]
    metadata = {"kernelspec": KERNELSPEC, "jupytext": TEXT_FORM}
    if "llmbook" in parsed.metadata:
        metadata["llmbook"] = parsed.metadata["llmbook"]
    return v4.new_notebook(cells=cells, metadata=nbformat.from_dict(copy.deepcopy(metadata)))


def fingerprint(notebook: NotebookNode) -> str:
    """Empreinte du texte d’une page : cellules, étiquettes, métadonnées ; jamais les sorties."""
    cells = [(cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells]
    return digest([notebook.metadata.get("llmbook", {}), cells])


# --- Comparer ---------------------------------------------------------------------------------


class Pair:
    """Les deux formes d’une page telles qu’elles sont sur le disque."""

    def __init__(self, page: Page):
        self.page = page
        self.text = read(page.text_path)
        if self.text is not None and "kernelspec" not in front_matter(self.text):
            self.text = None  # devenue une page de prose
        raw = read(page.notebook_path)
        try:
            self.notebook = None if raw is None else nbformat.reads(raw, as_version=4)
        except Exception as error:
            raise PageError(
                f"{page.name} : notebooks/{page.name}.ipynb n’est pas un carnet lisible.\n"
                f"  {error}\n  Supprimez-le et refaites-le : {page.command}"
            ) from error

    @cached_property
    def from_text(self) -> NotebookNode:
        return parse_text(self.text)

    @cached_property
    def from_notebook(self) -> NotebookNode:
        return parse_text(render_text(self.notebook))

    @cached_property
    def state(self) -> str:
        """« égale », « texte » ou « carnet » (la forme qui a changé), « conflit », « orphelin »."""
        if self.notebook is None:
            return "texte"
        synced = self.notebook.metadata.get(RUN, {}).get("text")
        if self.text is None:
            return "orphelin" if synced else "carnet"
        text, notebook = fingerprint(self.from_text), fingerprint(self.from_notebook)
        if text == notebook:
            return "égale"
        return {notebook: "texte", text: "carnet"}.get(synced, "conflit")


# --- Écrire -----------------------------------------------------------------------------------


def render_text(notebook: NotebookNode, previous: str | None = None) -> str:
    """Le texte MyST d’un carnet. L’écriture des passages inchangés de `previous` est gardée."""
    cells = [tidy(cell) for cell in notebook.cells if not is_colab(cell)]
    bare = v4.new_notebook(cells=cells)
    body = re.sub(r"\A---\n.*?\n---\n", "", jupytext.writes(bare, fmt="md:myst"), flags=re.DOTALL)
    if previous is not None:
        kept = {fence_key(match[0]): match[0] for match in FENCE.finditer(previous)}
        body = FENCE.sub(lambda match: kept.get(fence_key(match[0]), match[0]), body)
    return header(notebook.metadata.get("llmbook"), previous) + "\n" + body.strip("\n") + "\n"


def without_colab(text: str) -> str:
    """L’extension jupytext recopie la cellule de Colab dans le texte : elle n’y a pas sa place."""
    if "remove-cell" not in text:
        return text
    if not any(is_colab(cell) for cell in jupytext.reads(text, fmt="md:myst").cells):
        return text
    return render_text(parse_text(text), text)


def fence_key(fence: str) -> str:
    cells = [tidy(cell) for cell in jupytext.reads(fence, fmt="md:myst").cells]
    return digest([(cell.source, cell.metadata) for cell in cells])


def header(llmbook: dict | None, previous: str | None) -> str:
    """L’en-tête : celui de `previous` s’il dit la même chose, sinon un neuf."""
    data = front_matter(previous or "")
    if data and data.get("llmbook") == llmbook:
        return re.match(r"---\n.*?\n---\n", previous, re.DOTALL)[0]

    def flow(value: object) -> str:
        dumped = yaml.safe_dump(
            value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000
        )
        return dumped.removesuffix("\n").removesuffix("\n...")

    lines = ["---", "jupytext:"]
    lines += [f"  {key}: {flow(value)}" for key, value in TEXT_FORM.items()]
    lines += [f"kernelspec: {flow(KERNELSPEC)}"]
    if llmbook:
        lines += ["llmbook:"] + [f"  {key}: {flow(value)}" for key, value in llmbook.items()]
    return "\n".join([*lines, "---", ""])


def assemble(bare: NotebookNode, old: NotebookNode | None, colab_source: str) -> NotebookNode:
    """Le carnet complet : cellule de Colab, identifiants stables, sorties encore valables.

    Une sortie est gardée tant que le code et les étiquettes de sa cellule n’ont pas changé ;
    savoir si elle est encore fraîche est l’affaire de `tools.freshness`.
    """
    notebook = copy.deepcopy(bare)
    if old is not None:
        carry_outputs(notebook, old)
        if RUN in old.metadata:
            notebook.metadata[RUN] = copy.deepcopy(old.metadata[RUN])
    notebook.metadata["language_info"] = {"name": "python"}
    first = next((i for i, c in enumerate(notebook.cells) if c.cell_type == "code"), None)
    if first is not None:
        metadata = {"tags": ["colab", "remove-cell"], "jupyter": {"source_hidden": True}}
        colab = v4.new_code_cell(colab_source, metadata=nbformat.from_dict(metadata))
        colab.execution_count = 1
        notebook.cells.insert(first, colab)
    number_cells(notebook)
    name_cells(notebook)
    return notebook


def carry_outputs(notebook: NotebookNode, old: NotebookNode) -> None:
    new_cells, old_cells = code_cells(notebook), code_cells(old)

    def key(cell: NotebookNode) -> str:
        return digest([cell.source.strip("\n"), cell.metadata.get("tags", [])])

    matcher = difflib.SequenceMatcher(
        None, [key(cell) for cell in old_cells], [key(cell) for cell in new_cells], autojunk=False
    )
    for block in matcher.get_matching_blocks():
        for k in range(block.size):
            source, target = old_cells[block.a + k], new_cells[block.b + k]
            target.outputs = copy.deepcopy(source.outputs)
            target.execution_count = source.execution_count


def number_cells(notebook: NotebookNode) -> None:
    """Numérote de 1 à n les cellules exécutées."""
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.execution_count is not None:
            cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count


def name_cells(notebook: NotebookNode) -> None:
    """Identifiants tirés du contenu : ils ne changent qu’avec la cellule qui les porte."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = digest([cell.cell_type, cell.source])[:12]
        if is_colab(cell):
            name = "colab"
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"


COLAB = "/content/bible-llm"  # où Colab range le dépôt


def colab_cell(root: Path) -> str:
    """La cellule d’installation, construite avec l’adresse publique de `_config.yml`."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]
    url, branch = repository["url"].rstrip("/"), repository.get("branch", "main")
    return (
        "# Sur Colab seulement : apporte le dépôt (le paquet et models/). Ailleurs, ne fait rien.\n"
        "import sys\n\n"
        'if "google.colab" in sys.modules:\n'
        f"    !git clone --quiet --depth 1 --branch {branch} {url} {COLAB}\n"
        f"    %pip install --quiet {COLAB}\n"
        f'    sys.path.insert(0, "{COLAB}")'
    )


def serialize(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"
