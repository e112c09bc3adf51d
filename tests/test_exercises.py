"""Chaque exercice du livre : sa solution passe, ses pièges échouent comme prévu, sa page existe."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import llmbook.exercises
from llmbook.exercise import LEVELS, Exercise, load_all, lookup, metadata
from llmbook.exercise_blank import has_hole, is_blank
from llmbook.exercise_judge import FAILED, PASSED, judge

# Une réponse qui charge torch pour la première fois peut dépasser la limite de 5 s quand la
# machine est prise : nous le chargeons avant.
pytest.importorskip("torch")

ROOT = Path(__file__).parents[1]
MODULES = sorted(Path(llmbook.exercises.__path__[0]).glob("[!_]*.py"))
EXERCISES = [exercise for exercise in load_all() if exercise.section()]
LABELS = [exercise.label for exercise in EXERCISES]
TRAPS = [(exercise, rank) for exercise in EXERCISES for rank in range(len(exercise.traps))]
VARIANTS = [(exercise, rank) for exercise in EXERCISES for rank in range(len(exercise.variants))]

every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=LABELS)


def name(value: object) -> str:
    return value.label if isinstance(value, Exercise) else str(value)


def answer_of(exercise: Exercise, function) -> object:
    return function if exercise.kind == "function" else function()


# --- Le registre


@every_exercise
def test_description(exercise):
    assert exercise.title and not exercise.title.endswith(".")
    assert exercise.level in LEVELS
    assert 0 < exercise.minutes <= 120
    assert all(hint.strip() for hint in exercise.hints)
    assert exercise.label.startswith(f"ex-{exercise.section()}-")
    assert lookup(exercise.label) is exercise
    assert "def " in metadata(exercise.label)["source"]


@every_exercise
def test_cases_are_the_same_every_time(exercise):
    first, again = exercise.arguments(), exercise.arguments()
    assert len(first) == len(again) > 0
    assert len(first) > 1 or exercise.kind == "value", "un seul cas se réussit par hasard"
    assert repr(first) == repr(again) or "0x" in repr(first)


@every_exercise
def test_reference_passes(exercise):
    verdict = judge(exercise, answer_of(exercise, exercise.solution))
    assert verdict.status == PASSED, "\n".join(verdict.details)


@every_exercise
def test_three_traps_with_their_own_messages(exercise):
    messages = [trap.message for trap in exercise.traps]
    assert len(messages) >= 3
    assert len(set(messages)) == len(messages)
    assert len(exercise.variants) >= 1


@pytest.mark.parametrize(("exercise", "rank"), TRAPS, ids=name)
def test_trap_fails_with_its_message(exercise, rank):
    trap = exercise.traps[rank]
    verdict = judge(exercise, answer_of(exercise, trap.function))
    text = "\n".join(verdict.details)
    assert verdict.status == FAILED, f"ce piège n’échoue pas : {trap.message}\n{text}"
    assert f"probablement faux :\n  {trap.message}" in text, f"attendu : {trap.message}\n{text}"


@pytest.mark.parametrize(("exercise", "rank"), VARIANTS, ids=name)
def test_variant_passes(exercise, rank):
    verdict = judge(exercise, answer_of(exercise, exercise.variants[rank]))
    assert verdict.status == PASSED, "\n".join(verdict.details)


def test_labels_are_unique():
    """Un second exercice du même nom effacerait le premier sans bruit."""
    calls = [
        node
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Exercise" and node.args
    ]
    labels = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    assert sorted(labels) == sorted(LABELS)


def test_registry_needs_no_torch():
    """La construction du livre importe le registre sans torch ni scipy ni matplotlib."""
    code = """
import sys
for heavy in ("torch", "scipy", "sklearn", "matplotlib"):
    sys.modules[heavy] = None
from llmbook.exercise import load_all, metadata
for exercise in load_all():
    metadata(exercise.label)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- Les pages


@cache
def pages() -> dict[str, str]:
    """Le texte de chaque page du livre, par chemin relatif."""
    texts = {file.relative_to(ROOT): file for file in sorted((ROOT / "book").glob("**/*.md"))}
    return {
        str(path): file.read_text("utf-8")
        for path, file in texts.items()
        if not any(part.startswith("_") for part in path.parts)
    }


def exercise_labels(text: str) -> list[str]:
    blocks = re.findall(r"^[`:]{3,}\{exercise\}[^\n]*\n((?::[^\n]*\n)*)", text, re.MULTILINE)
    return [found[1] for options in blocks if (found := re.search(r":label: *(\S+)", options))]


def cells(text: str) -> list[str]:
    """Le code des cellules d’une page, sans leurs options ni leurs commandes IPython."""
    found = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [re.sub(r"\A---\n.*?^---\n", "", cell, flags=re.MULTILINE | re.DOTALL)
             for cell in found]  # fmt: skip
    return [re.sub(r"^(:\w[^\n]*|[%!][^\n]*)$", "", cell, flags=re.MULTILINE) for cell in found]


def checked(text: str) -> dict[str, bool]:
    """Les étiquettes passées à `check` dans une page, et si leur réponse est encore à écrire."""
    found = {}
    for cell in cells(text):
        tree = ast.parse(cell)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check":
                label, answer = node.args[0].value, getattr(node.args[1], "id", None)
                found[label] = any(
                    has_hole(statement) or _empty(statement)
                    for statement in tree.body
                    if answer in _names(statement)
                )
    return found


def _names(statement: ast.stmt) -> set[str]:
    """Ce que cette instruction définit."""
    targets = getattr(statement, "targets", [])
    return {getattr(statement, "name", "")} | {getattr(target, "id", "") for target in targets}


def _empty(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return isinstance(statement.value, ast.Constant) and statement.value.value in (None, ...)
    space: dict = {}
    exec(compile(ast.Module([statement], []), "<page>", "exec"), space)
    return is_blank(space[statement.name])


PAGE_EXERCISES = [(page, label) for page, text in pages().items()
                  for label in exercise_labels(text)]  # fmt: skip


@pytest.mark.parametrize(("page", "label"), PAGE_EXERCISES, ids=name)
def test_exercise_in_a_page(page, label):
    text = pages()[page]
    assert label in LABELS, f"{page} : {label} n’est pas dans llmbook/exercises/"
    assert label in checked(text), f"{page} : aucune cellule n’appelle check({label!r}, …)"
    assert checked(text)[label], f"{page} : la réponse à {label} est déjà écrite"
    corrige = re.search(rf"^[`:]{{3,}}\{{corrige\}} +{label}\s*$", text, re.MULTILINE)
    assert corrige, f"{page} : il manque le bloc {{corrige}} {label}"


@every_exercise
def test_exercise_has_one_page(exercise):
    found = [page for page, label in PAGE_EXERCISES if label == exercise.label]
    assert len(found) == 1, f"{exercise.label} est dans {found or 'aucune page'}"


def test_checked_labels_are_exercises():
    """Un `check` sans énoncé est un oubli ou une faute de frappe."""
    unknown = {(page, label) for page, text in pages().items() for label in checked(text)
               if label not in exercise_labels(text)}  # fmt: skip
    assert not unknown
