"""Les pages exécutables du livre et leurs deux fichiers : les trouver, les lire, les écrire."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from nbformat import NotebookNode

RUN = "llmbook_run"  # dans les métadonnées d’un carnet : ce qu’il retient de son exécution


class PageError(Exception):
    """Une page ne peut pas être traitée ; le message, en français, dit quoi faire."""


@dataclass(frozen=True)
class Page:
    """Une page exécutable, nommée par son chemin sans `book/` ni extension."""

    root: Path
    name: str

    @property
    def text_path(self) -> Path:
        return self.root / "book" / f"{self.name}.md"

    @property
    def notebook_path(self) -> Path:
        return self.root / "notebooks" / f"{self.name}.ipynb"

    @property
    def command(self) -> str:
        return f"python -m tools notebooks {self.name}"


def find_pages(root: Path) -> list[Page]:
    """Les pages exécutables : un texte avec kernelspec, ou un carnet, ou les deux."""
    names = set()
    for path in (root / "book").rglob("*.md"):
        if "kernelspec" in front_matter(path.read_text(encoding="utf-8")):
            names.add(path.relative_to(root / "book").with_suffix("").as_posix())
    for path in (root / "notebooks").rglob("*.ipynb"):
        if not any(part.startswith(".") for part in path.relative_to(root).parts):
            names.add(path.relative_to(root / "notebooks").with_suffix("").as_posix())
    return [Page(root, name) for name in sorted(names)]


def front_matter(text: str) -> dict:
    """Les métadonnées YAML en tête d’un texte ; {} si elles manquent ou sont illisibles."""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if not match:
        return {}
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}
    return data if isinstance(data, dict) else {}


def is_colab(cell: NotebookNode) -> bool:
    return "colab" in cell.metadata.get("tags", [])


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Les cellules de code écrites par les auteurs (sans celle de Colab)."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and not is_colab(cell)]


def digest(value: object) -> str:
    """Empreinte courte d’une valeur que JSON sait écrire."""
    dumped = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(dumped.encode()).hexdigest()[:16]


def read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def write(path: Path, content: str) -> bool:
    """Écrit d’un seul geste, ou pas du tout ; renvoie False si rien n’avait changé."""
    if read(path) == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(content, encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return True
