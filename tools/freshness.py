"""Une sortie est-elle plus vieille que ce qui l’a produite ?

À l’exécution, le carnet reçoit dans ses métadonnées (`llmbook_run`) l’empreinte de chaque cellule
et de celles qui la précèdent, celle des parties de llmbook que la page importe, et celle des
sorties obtenues. Il est périmé dès qu’une de ces empreintes ne correspond plus.
"""

import ast
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from nbformat import NotebookNode

from tools.pages import RUN, code_cells, digest
from tools.pairing import fingerprint

LABEL = re.compile(r"""["']ex-([a-z0-9]+(?:-[a-z0-9]+)*)["']""")
DATA = {  # les données qu’un module lit
    "llmbook.corpus": "llmbook/data",
    "llmbook.instructions": "llmbook/data/instructions",
}
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


def record(notebook: NotebookNode, root: Path, seconds: float, memory_mb: float) -> dict:
    """Ce que le carnet retient d’une exécution."""
    return {
        "text": text_hash(notebook),
        "cells": prefixes(notebook),
        "parts": parts(notebook, root),
        "outputs": outputs_hash(notebook),
        "seconds": seconds,
        "memory_mb": memory_mb,
    }


def reasons(notebook: NotebookNode, root: Path) -> list[str]:
    """Pourquoi le carnet est périmé, en français ; liste vide s’il est frais."""
    run = notebook.metadata.get(RUN)
    if not run or "cells" not in run:
        return ["jamais exécutée"]
    then, now = run["cells"], prefixes(notebook)
    if then != now:
        same = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), None)
        if same is not None:
            return [f"cellule de code {same + 1} modifiée"]
        return ["cellule de code ajoutée à la fin" if len(now) > len(then) else "cellule supprimée"]
    found = []
    then, now = run.get("parts", {}), parts(notebook, root)
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            found.append(f"{name} modifié")
    if not found and run.get("outputs") != outputs_hash(notebook):
        found.append("sorties modifiées hors de la commande")
    return found


def text_hash(notebook: NotebookNode) -> str:
    """Empreinte du texte d’un carnet complet (sans sa cellule de Colab)."""
    bare = notebook.copy()
    bare.cells = [c for c in notebook.cells if "colab" not in c.metadata.get("tags", [])]
    return fingerprint(bare)


def prefixes(notebook: NotebookNode) -> list[str]:
    """Pour chaque cellule de code, empreinte de son code, de ses étiquettes, de ce qui précède."""
    hashes, previous = [], ""
    for cell in code_cells(notebook):
        previous = digest([previous, cell.source, sorted(cell.metadata.get("tags", []))])
        hashes.append(previous[:12])
    return hashes


def outputs_hash(notebook: NotebookNode) -> str:
    return digest([[cell.outputs, cell.execution_count] for cell in code_cells(notebook)])


# --- Les parties de llmbook -------------------------------------------------------------------


def parts(notebook: NotebookNode, root: Path) -> dict[str, str]:
    """Empreinte de chaque module de llmbook dont dépend la page, directement ou non."""
    waiting: set[str] = set()
    for cell in code_cells(notebook):
        waiting |= imported(MAGIC.sub(r"\1pass", cell.source), "", root)
        labels = LABEL.findall(cell.source)
        waiting |= {m for label in labels if (m := exercise_module(label, root))}
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = module_path(name, root)
        content = path.read_text(encoding="utf-8")
        found[name] = digest(content)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting |= imported(content, package, root)
    for module, folder in DATA.items():
        if module in found:
            found[folder] = data_hash(root / folder)
    return dict(sorted(found.items()))


@lru_cache(maxsize=512)
def imported(source: str, package: str, root: Path) -> frozenset[str]:
    """Les modules de llmbook que nomme un source Python (imports différés compris)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # une cellule fausse échouera à l’exécution, avec un meilleur message
        names = re.findall(r"^\s*(?:from|import)\s+(llmbook[\w.]*)", source, re.MULTILINE)
        return frozenset(name for name in names if module_path(name, root))
    wanted = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            wanted |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    modules = set()
    for name in wanted:
        if name.split(".")[0] == "llmbook":
            pieces = name.split(".")
            # `llmbook` lui-même ne porte que la version : la changer ne périme aucune page
            ancestors = (".".join(pieces[:k]) for k in range(2, len(pieces) + 1))
            modules |= {module for module in ancestors if module_path(module, root)}
    return frozenset(modules)


def module_path(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def exercise_module(label: str, root: Path) -> str | None:
    """`vecteurs-cosinus` → `llmbook.exercises.vecteurs`, la section la plus longue qui existe."""
    pieces = label.split("-")
    for size in range(len(pieces) - 1, 0, -1):
        name = "llmbook.exercises." + "_".join(pieces[:size])
        if module_path(name, root):
            return name
    return None


def data_hash(folder: Path) -> str:
    """Empreinte des fichiers d’un dossier de données ; ses sous-dossiers déclarés en ont une autre."""
    if not folder.is_dir():
        return ""
    apart = {Path(other).name for other in DATA.values()} - {folder.name}
    files = sorted(
        p
        for p in folder.rglob("*")
        if p.is_file()
        and p.suffix not in {".md", ".pyc"}
        and p.relative_to(folder).parts[0] not in apart
    )
    return digest(
        [
            (p.relative_to(folder).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest())
            for p in files
        ]
    )
