"""Les tâches vérifiables de llmbook/data/instructions : justes, distinctes, bien réparties."""

import ast
import builtins
import json
import lzma
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from llmbook.chat_template import render
from llmbook.instructions import FOLDER, contamination, load, split_of
from llmbook.tokenizer import Tokenizer
from tools.instructions import taches, taches_essais
from tools.instructions.taches_schema import Schema, fill, grid, with_imports

TOKENS = 250
# Exécute des programmes lus en JSON, et écrit pour chacun s’il va au bout sans erreur.
RUNNER = """
import json, sys
def passes(program):
    try:
        exec(program, {})
    except Exception:
        return False
    return True
print(json.dumps([passes(each) for each in json.load(sys.stdin)]))
"""


def part(record: dict) -> str:
    return record.get("part") or split_of(record["cle"])


@pytest.fixture(scope="module")
def tasks() -> list[dict]:
    text = lzma.decompress((FOLDER / "taches.jsonl.xz").read_bytes()).decode("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def run(programs: list[str]) -> list[bool]:
    """Le sort de chaque programme, dans un processus à part, borné en temps."""
    done = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", RUNNER],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


def program(code: str, task: dict) -> str:
    return "\n".join([code, *task["tests"]])


def arguments(task: dict) -> str:
    return re.search(rf"`{task['nom']}\((.*?)\)`", task["messages"][0]["content"])[1]


def test_every_solution_passes_its_tests(tasks):
    results = run([program(task["solution"], task) for task in tasks])
    assert [t["cle"] for t, passed in zip(tasks, results, strict=True) if not passed] == []


def test_lazy_answers_fail(tasks):
    """« pass », chaque argument tel quel, chaque valeur attendue prise pour une constante."""
    programs = []
    for task in tasks:
        names = arguments(task)
        expected = [test.split(" == ", 1)[1] for test in task["tests"]]
        bodies = ["pass", *(f"return {x}" for x in [*names.split(", "), *expected])]
        programs += [program(f"def {task['nom']}({names}):\n    {body}", task) for body in bodies]
    assert not any(run(programs))


def test_the_solution_of_another_task_fails(tasks):
    """Sept autres solutions du domaine, avec autant d’arguments, des voisines aux lointaines."""
    groups: dict[tuple, list[dict]] = {}
    for task in tasks:
        if task["origine"] == "tache":  # les tâches libres n’ont pas de domaine
            groups.setdefault((task["famille"], arguments(task).count(",")), []).append(task)
    programs = []
    for group in groups.values():
        for i, task in enumerate(group):
            for step in (1, 2, 5, 12, 40, 97, 211):
                other = group[(i + step) % len(group)]
                if other is not task:
                    alias = f"{other['solution']}\n\n\n{task['nom']} = {other['nom']}"
                    programs.append(program(alias, task))
    assert len(programs) > 6 * len(tasks)
    assert not any(run(programs))


def test_no_key_is_on_both_sides(tasks):
    assert max(Counter(task["cle"] for task in tasks).values()) == 1
    sides = {name: load("taches", name) for name in ("train", "validation", "test")}
    assert {name: len(side) for name, side in sides.items()} == Counter(map(part, tasks))
    new = {(t["famille"], t["schema"]) for t in tasks if t["nouveau_schema"]}
    learnt = {(t["famille"], t["schema"]) for t in sides["train"] + sides["validation"]}
    assert not new & learnt and all(part(t) == "test" for t in tasks if t["nouveau_schema"])
    same = [o for o in contamination(sides["train"], sides["test"]) if o.reason != "fenetre"]
    assert same == []


def test_instructions_are_unique_and_name_the_function(tasks):
    texts = [task["messages"][0]["content"] for task in tasks]
    assert len(set(texts)) == len(texts)
    for task, text in zip(tasks, texts, strict=True):
        assert task["messages"][1]["content"] == f"```python\n{task['solution']}\n```"
        assert re.fullmatch(r"[a-z][a-z0-9_]*", task["nom"]) and not hasattr(builtins, task["nom"])
        function = ast.parse(task["solution"]).body[-1]
        assert function.name == task["nom"]
        assert ", ".join(a.arg for a in function.args.args) == arguments(task)
        assert "{" not in re.sub(r"« [{}] »", "", text) and "'" not in text


def test_enough_tasks_of_every_kind(tasks):
    assert 1200 <= len(tasks) <= 1800
    assert Counter(t["origine"] for t in tasks)["ecrit"] == 30
    assert {t["niveau"] for t in tasks} == {1, 2, 3}
    assert all(4 <= len(t["tests"]) <= 6 for t in tasks if t["origine"] == "tache")
    assert min(Counter(t["famille"] for t in tasks if t["origine"] == "tache").values()) > 300


def test_a_task_fits_the_context(tasks):
    tokenizer = Tokenizer.from_pretrained(FOLDER.parents[2] / "models" / "nano")
    texts = [render(task["messages"]) for task in tasks]
    assert max(len(tokenizer.encode(text)) for text in texts) <= TOKENS


def test_functions_that_agree_everywhere_are_one_key():
    schemas = [
        Schema("double", "n", 1, ("double",), ("le double de n",), "2 * n"),
        Schema("somme", "n", 1, ("somme",), ("n plus n",), "n + n"),
        Schema("fois", "n", 1, ("fois_{k}",), ("{k} fois n",), "{k} * n", grid(k=(3, 4))),
    ]
    drafts = [taches.draft("essai", s, params) for s in schemas for params in s.params]
    dropped: list[str] = []
    kept = taches.with_tests(drafts, dropped)
    assert [task["nom"] for task in kept] == ["double", "fois_3", "fois_4"]
    assert dropped == ["essai.somme() = essai.double()"]


def test_too_many_rivals_leave_no_tests():
    mine, others = np.zeros(7, int), np.eye(7, dtype=int)  # chaque test n’en écarte qu’une
    assert taches.choose_tests(mine, others, list(range(7)), [1] * 7) is None
    mine = np.arange(7)
    assert len(taches.choose_tests(mine, others, list(range(7)), [1] * 7)) == 4


def test_a_solution_that_fails_or_changes_its_argument_gives_nothing():
    codes = [["def f(x):\n    x.append(1)\n    return x", "f"], ["def g(x):\n    return x[0]", "g"]]
    assert taches_essais.table(codes, [[[]], [[2]]]) == [[None, None], [None, "2"]]


def test_filling_a_template():
    text = '{k} {k__mot} {k__ieme} {c__code} {autre} f"{n // 60}"'
    assert fill(text, {"k": 3, "c": "é"}) == '3 trois troisième "é" {autre} f"{n // 60}"'
    code = with_imports("def f(jour):\n    return date(2024, 1, 1) + timedelta(days=1)")
    assert code.startswith("from datetime import date, timedelta\n\n\ndef f")
    with pytest.raises(ValueError, match="nom de fonction"):
        taches.identifier("max", "essai")
