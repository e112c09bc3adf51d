"""Remettre une page à jour : décider, exécuter si besoin, écrire, publier ses mesures."""

import contextlib
import copy
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from tools import freshness, hygiene, pairing
from tools.pages import RUN, Page, PageError, code_cells, find_pages, read, write
from tools.pairing import Pair

CONFLICT = """{name} : book/{name}.md et notebooks/{name}.ipynb ont changé chacun de leur côté.
  Rien n’a été écrit. Choisissez celui à garder :
    python -m tools notebooks {name} --depuis book
    python -m tools notebooks {name} --depuis notebooks"""
ORPHAN = """{name} : notebooks/{name}.ipynb n’a plus de texte exécutable book/{name}.md.
  Page retirée : supprimez notebooks/{name}.ipynb
  Texte perdu : python -m tools notebooks {name} --depuis notebooks"""

CHANGED = """{name} : notebooks/{name}.ipynb a été enregistré pendant l’exécution ; rien n’y a été écrit.
  Relancez : python -m tools notebooks {name}"""


@dataclass
class Plan:
    """Ce qu’il faut faire pour une page."""

    page: Page
    notebook: NotebookNode  # le carnet complet, avec les sorties encore valables
    old: NotebookNode | None
    text: str | None = None  # nouveau texte, si c’est le carnet qui a changé
    reasons: list[str] = field(default_factory=list)  # pourquoi exécuter

    @property
    def serialized_differs(self) -> bool:
        content = pairing.serialize(self.notebook)
        return read(self.page.notebook_path) != content


def plan(page: Page, source: str | None = None, force: bool = False) -> Plan:
    """Compare les deux formes d’une page. Lève PageError si une personne doit choisir.

    source : « book » ou « notebooks » quand la personne a choisi.
    """
    pair = Pair(page)
    state = pair.state
    if source and state != "égale":
        if (pair.text if source == "book" else pair.notebook) is None:
            raise PageError(f"{page.name} : rien à reprendre depuis {source}/.")
        state = {"book": "texte", "notebooks": "carnet"}[source]
    if state == "conflit":
        raise PageError(CONFLICT.format(name=page.name))
    if state == "orphelin":
        raise PageError(ORPHAN.format(name=page.name))
    text = pairing.render_text(pair.notebook, pair.text) if state == "carnet" else pair.text
    text = pairing.without_colab(text)
    bare = pairing.parse_text(text)
    notebook = pairing.assemble(bare, pair.notebook, pairing.colab_cell(page.root))
    reasons = freshness.reasons(notebook, page.root)
    if force and not reasons:
        reasons = ["demandée par --forcer"]
    if not reasons:
        notebook.metadata[RUN]["text"] = pairing.fingerprint(bare)
    return Plan(page, notebook, pair.notebook, text if text != pair.text else None, reasons)


def save(todo: Plan) -> bool:
    """Écrit le texte s’il a changé, puis le carnet ; renvoie True si quelque chose a été écrit."""
    wrote = todo.text is not None and write(todo.page.text_path, todo.text)
    if not write(todo.page.notebook_path, pairing.serialize(todo.notebook)):
        return wrote
    with contextlib.suppress(OSError):
        # l’extension jupytext refuse d’ouvrir un carnet plus récent que son texte
        os.utime(todo.page.text_path)
    return True


def run(todo: Plan) -> list[str]:
    """Exécute une page, écrit son carnet, renvoie les remarques d’hygiène."""
    from tools.execution import execute

    if todo.text is not None and todo.old is not None:
        # le texte vient du carnet : le sauver d’abord, pour ne perdre aucune modification
        kept = copy.deepcopy(todo.notebook)
        kept.metadata.setdefault(RUN, {})["text"] = freshness.text_hash(kept)
        save(Plan(todo.page, kept, todo.old, todo.text))
    notebook = copy.deepcopy(todo.notebook)
    on_disk = read(todo.page.notebook_path)
    measure = execute(todo.page, notebook)
    if read(todo.page.notebook_path) != on_disk:
        raise PageError(CHANGED.format(name=todo.page.name))
    before = (todo.old.metadata.get(RUN, {}) if todo.old else {}) or {}
    notebook.metadata[RUN] = freshness.record(
        notebook,
        todo.page.root,
        steady(before.get("seconds"), measure.seconds, step=1, spread=0.3),
        steady(before.get("memory_mb"), measure.memory_mb, step=10, spread=0.1),
    )
    save(Plan(todo.page, notebook, todo.old))
    remarks = hygiene.problems(notebook)
    limits = hygiene.budget(notebook) or {}
    if measure.seconds > limits.get("seconds", measure.seconds):
        remarks.append(f"budget dépassé : {measure.seconds:.0f} s pour {limits['seconds']} s")
    if measure.memory_mb > limits.get("memory_mb", measure.memory_mb):
        remarks.append(f"budget dépassé : {measure.memory_mb:.0f} Mo pour {limits['memory_mb']} Mo")
    return remarks


def steady(before: float | None, now: float, *, step: int, spread: float) -> int:
    """Arrondit vers le haut, et garde l’ancienne mesure si la nouvelle en est proche.

    Sans cela, chaque exécution changerait le fichier des temps publiés.
    """
    if before and abs(now - before) <= max(2 * step, spread * before):
        return before
    return max(step, -int(-now // step) * step)


# --- Le fichier des mesures -------------------------------------------------------------------


def measures(root: Path) -> dict:
    """Ce que la page publique des temps affiche, relu dans les carnets."""
    table = {}
    for page in find_pages(root):
        try:
            notebook = Pair(page).notebook
        except PageError:
            continue  # déjà signalée
        if notebook is None or "seconds" not in notebook.metadata.get(RUN, {}):
            continue
        table[page.name] = {
            "seconds": notebook.metadata[RUN]["seconds"],
            "memory_mb": notebook.metadata[RUN]["memory_mb"],
            "code_cells": len(code_cells(notebook)),
            "budget": hygiene.budget(notebook) or {},
        }
    return table


def measures_text(root: Path) -> str:
    return json.dumps(measures(root), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def write_measures(root: Path) -> None:
    path = root / "book" / "_data" / "notebooks.json"
    for _ in range(3):  # une autre commande a pu finir une page entre-temps
        if not write(path, measures_text(root)):
            return
