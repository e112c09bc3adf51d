"""`python -m tools etat` : le livre en chiffres, comptés et non déclarés."""

import json
import re
from pathlib import Path

import yaml

from tools.messages import say

ROOT = Path(__file__).resolve().parent.parent


def documents(toc):
    """Pages de `_toc.yml`, dans l’ordre."""
    if isinstance(toc, dict):
        found = [toc[key] for key in ("root", "file") if key in toc]
        return found + [page for value in toc.values() for page in documents(value)]
    return [page for item in toc for page in documents(item)] if isinstance(toc, list) else []


def source(document):
    """Le texte MyST d’une page, exécutable ou non."""
    return (ROOT / "book" / document.partition("/")[2]).with_suffix(".md").read_text("utf-8")


def counts():
    """Ce que contient le livre, sous forme de couples (nom, nombre)."""
    from llmbook.corpus import prose
    from llmbook.exercise import load_all

    pages = documents(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8")))
    texts = [source(page) for page in pages]
    exercises = load_all()

    def tally(pattern):
        return sum(len(re.findall(pattern, text, re.M)) for text in texts)

    rows = [
        ("pages", len(pages)),
        ("pages exécutables", sum(page.startswith("notebooks/") for page in pages)),
        ("mots de prose", sum(len(prose(text).split()) for text in texts)),
        ("cellules de code", tally(r"^```\{code-cell\}")),
        ("figures légendées", tally(r"figure: \{caption|^ +caption:")),
        ("pannes à diagnostiquer", tally(r"^:{3,}\{panne\}")),
        ("exercices", len(exercises)),
        ("réponses fausses essayées", sum(len(exercise.traps) for exercise in exercises)),
        ("réponses justes écrites autrement", sum(len(e.variants) for e in exercises)),
        ("questions de quiz", sum(questions(text) for text in texts)),
        ("références", (ROOT / "book/references.bib").read_text("utf-8").count("\n@") + 1),
    ]
    equations = ROOT / "_build" / "html" / "_static" / "equations.json"
    if equations.exists():
        total = json.loads(equations.read_text("utf-8"))["total"]
        rows += [
            ("équations vérifiées", total["verified"]),
            ("équations posées comme définitions", total["definition"]),
            ("équations citées", total["cited"]),
        ]
    return rows


def questions(text):
    quizzes = re.findall(r"^:{3,}\{quiz\}\n(.*?)^:{3,}$", text, re.M | re.S)
    return sum(len(re.findall(r"^\d+\. ", quiz, re.M)) for quiz in quizzes)


def main(arguments):
    if arguments:
        say(f"Cette cible n’a pas d’option : {' '.join(arguments)}")
        return 2
    for name, number in counts():
        say(f"{number:>8,}  {name}".replace(",", " "))
    if not (ROOT / "_build" / "html").exists():
        say("Les équations se comptent sur le livre construit : make livre SERVE=0.")
    return 0
