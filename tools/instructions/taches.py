"""Des tâches de programmation vérifiables : `python -m tools.instructions taches`.

De petites fonctions sur les chaînes, les dates et les nombres, tirées de schémas écrits à la main
(taches_chaines, taches_dates, taches_nombres), et trente tâches libres (taches_libres). Chaque
tâche porte de quatre à six tests, choisis pour que la fonction identité, une constante et les
solutions de toutes les autres tâches du même genre échouent. Deux clés dont les fonctions ne se
distinguent sur aucune entrée n’en font qu’une : la première est gardée.
"""

import ast
import builtins
import inspect
import json
import keyword
import re
import unicodedata
from collections import Counter

import numpy as np

from tools.instructions import (
    taches_chaines,
    taches_dates,
    taches_entrees,
    taches_essais,
    taches_libres,
    taches_nombres,
)
from tools.instructions.files import write_records
from tools.instructions.taches_schema import (
    Schema,
    draw,
    fill,
    instruction_of,
    key_of,
    solution_of,
    with_imports,
)
from tools.messages import say

DOMAINS = {
    "chaines": taches_chaines.SCHEMAS,
    "dates": taches_dates.SCHEMAS,
    "nombres": taches_nombres.SCHEMAS,
}
TESTS = (4, 6)  # au moins, au plus
LONGEST = 110  # caractères de l’entrée ou du résultat attendu d’un test
RESERVED = {*keyword.kwlist, *dir(builtins)}


def identifier(text: str, key: str) -> str:
    """Un nom de fonction : minuscules sans accent. ValueError s’il ne peut pas servir."""
    plain = unicodedata.normalize("NFKD", text.replace("-", "moins_")).encode("ascii", "ignore")
    name = re.sub(r"\W+", "_", plain.decode()).strip("_").lower()
    if name[:1].isdigit():
        name = f"calcule_{name}"
    if not name.isidentifier() or name in RESERVED:
        raise ValueError(f"{key} : « {name} » ne peut pas être un nom de fonction")
    return name


def draft(domain: str, schema: Schema, params: dict) -> dict:
    """Une tâche sans ses tests."""
    key = key_of(domain, schema, params)
    args = taches_entrees.ARGS[schema.kind]
    name = identifier(fill(schema.names[draw(key, "nom", len(schema.names))], params), key)
    solution = solution_of(schema, name, args, params)
    used = {node.id for node in ast.walk(ast.parse(solution)) if isinstance(node, ast.Name)}
    if name in used or name in args.split(", "):
        raise ValueError(f"{key} : « {name} » est déjà un nom employé par la solution")
    return {
        "famille": domain,
        "cle": key,
        "schema": schema.name,
        "origine": "tache",
        "niveau": schema.level,
        "nouveau_schema": schema.new,
        "nom": name,
        "consigne": instruction_of(schema, key, f"{name}({args})", params),
        "solution": solution,
        "kind": schema.kind,
        "extra": [list(each) for each in schema.extra(params)],
    }


def drafts() -> list[dict]:
    """Toutes les tâches des schémas, au plus `limit` par schéma, les plus simples d’abord."""
    found = []
    for domain, schemas in DOMAINS.items():
        for schema in schemas:
            chosen = sorted(schema.params, key=lambda p: draw(key_of(domain, schema, p), "", 2**62))
            kept = {key_of(domain, schema, p) for p in chosen[: schema.limit]}
            tasks = [draft(domain, schema, p) for p in schema.params]
            found += {task["cle"]: task for task in tasks if task["cle"] in kept}.values()
    return found


def choose_tests(mine: np.ndarray, others: np.ndarray, allowed: list[int], cost: list[int]):
    """Les colonnes des tests : le moins possible pour que chaque autre ligne en manque une.

    mine : (N,) résultats de la tâche ; others : (M, N) ; allowed : colonnes permises.
    None si six tests ne suffisent pas, ou si la fonction semble constante.
    """
    alive = np.ones(len(others), bool)
    differs = others != mine
    picked: list[int] = []
    while alive.any() and len(picked) < TESTS[1]:
        best = max(allowed, key=lambda i: (differs[alive, i].sum() * 1000 - cost[i], -i))
        if not differs[alive, best].any():
            return None
        picked.append(best)
        alive &= ~differs[:, best]
    rest = sorted(
        set(allowed) - set(picked), key=lambda i: (cost[i] > 40, draw(str(i), "reste", 997))
    )
    while rest and (len(picked) < TESTS[0] or len({mine[i] for i in picked}) < 2):
        seen = Counter(mine[i] for i in picked)
        best = min(rest, key=lambda i: seen[mine[i]])
        rest.remove(best)
        picked.append(best)
    enough = not alive.any() and len({mine[i] for i in picked}) > 1 and len(picked) <= TESTS[1]
    return sorted(picked, key=lambda i: cost[i]) if enough else None


def coded(rows: list[list[str | None]], baselines: list[list[str]]) -> np.ndarray:
    """Un entier par résultat, les mêmes pour des résultats égaux (True vaut 1)."""
    codes = {None: -1, "True": 1, "False": 0, "1": 1, "0": 0}
    return np.array([[codes.setdefault(r, len(codes)) for r in row] for row in rows + baselines])


def with_tests(tasks: list[dict], dropped: list[str]) -> list[dict]:
    """Les tâches d’un même genre, avec leurs tests ; celles qu’on écarte vont dans `dropped`."""
    common = [list(each) for each in taches_entrees.inputs()[tasks[0]["kind"]]]
    extras = [each for task in tasks for each in task["extra"]]
    inputs = list({json.dumps(each): each for each in common + extras}.values())
    place = {json.dumps(each): i for i, each in enumerate(inputs)}
    batch = {"solutions": [[t["solution"], t["nom"]] for t in tasks], "inputs": inputs}
    rows = taches_essais.outputs([batch])[0]
    arity = range(len(inputs[0]))
    values = coded(rows, [[repr(each[i]) for each in inputs] for i in arity])
    shown = [", ".join(map(repr, each)) for each in inputs]
    cost = [len(text) for text in shown]
    allowed = []
    for task, row in zip(tasks, rows, strict=True):
        mine = {*range(len(common)), *(place[json.dumps(each)] for each in task["extra"])}
        allowed.append([i for i in sorted(mine) if row[i] and cost[i] + len(row[i]) <= 2 * LONGEST])
    kept: list[int] = []
    for i, task in enumerate(tasks):
        twins = [
            j
            for j in kept
            if (values[i, allowed[i]] == values[j, allowed[i]]).all()
            or (values[i, allowed[j]] == values[j, allowed[j]]).all()
        ]
        if twins:
            dropped.append(f"{task['cle']} = {tasks[twins[0]]['cle']}")
        else:
            kept.append(i)
    done = []
    for i in kept:
        rivals = [j for j in kept if j != i] + [len(tasks) + j for j in arity]
        picked = choose_tests(values[i], values[rivals], allowed[i], cost)
        if picked is None:
            dropped.append(f"{tasks[i]['cle']} : six tests ne suffisent pas")
            continue
        name = tasks[i]["nom"]
        tests = [f"assert {name}({shown[j]}) == {rows[i][j]}" for j in picked]
        done.append(tasks[i] | {"tests": tests})
    return done


def record(task: dict, number: int) -> dict:
    """L’enregistrement final, au format de llmbook.instructions."""
    kept = ("famille", "cle", "schema", "origine", "niveau", "nouveau_schema", "nom")
    forced = {"part": "test"} if task["nouveau_schema"] or task["origine"] == "ecrit" else {}
    answer = f"```python\n{task['solution']}\n```"
    return (
        {"id": f"tache-{number:06d}"}
        | {name: task[name] for name in kept}
        | forced
        | {
            "messages": [
                {"role": "user", "content": task["consigne"]},
                {"role": "assistant", "content": answer},
            ],
            "reponse": None,
            "retenu": False,
            "tests": task["tests"],
            "solution": task["solution"],
        }
    )


def free_tasks() -> list[dict]:
    """Les tâches écrites une à une, tests calculés sur leurs entrées."""
    tasks = []
    for function, instruction, inputs in taches_libres.TASKS:
        name, source = function.__name__, inspect.getsource(function)
        code = with_imports(source[source.index("\ndef ") + 1 :].rstrip())
        signature = f"{name}({', '.join(inspect.signature(function).parameters)})"
        row = taches_essais.outputs([{"solutions": [[code, name]], "inputs": inputs}])[0][0]
        if None in row or len(set(row)) < 2:
            raise ValueError(
                f"tâche libre {name} : une entrée échoue, ou tout donne le même résultat"
            )
        shown = [", ".join(map(repr, each)) for each in inputs]
        tasks.append(
            {
                "famille": "libres",
                "cle": f"libres.{name}",
                "schema": name,
                "origine": "ecrit",
                "niveau": 3,
                "nouveau_schema": True,
                "nom": name,
                "consigne": instruction.replace("{sig}", signature),
                "solution": code,
                "tests": [f"assert {name}({i}) == {o}" for i, o in zip(shown, row, strict=True)],
            }
        )
    return tasks


def build(dropped: list[str]) -> list[dict]:
    """Tous les enregistrements, dans un ordre qui ne dépend que des schémas."""
    tasks = drafts()
    tested = {}
    for kind in dict.fromkeys(task["kind"] for task in tasks):
        for task in with_tests([t for t in tasks if t["kind"] == kind], dropped):
            tested[task["cle"]] = task
    ordered = [tested[task["cle"]] for task in tasks if task["cle"] in tested] + free_tasks()
    seen = Counter(task["consigne"] for task in ordered)
    repeated = [text for text, count in seen.items() if count > 1]
    if repeated:
        raise ValueError(f"consignes répétées : {repeated[:5]}")
    return [record(task, number) for number, task in enumerate(ordered, 1)]


def main() -> int:
    """Écrit taches.jsonl.xz et son empreinte, et dit combien il y a de tâches."""
    dropped: list[str] = []
    records = build(dropped)
    write_records(records, "taches")
    for family, count in Counter(each["famille"] for each in records).items():
        say(f"{family:<10} {count:>5} tâches")
    new = sum("part" in each for each in records)
    say(
        f"total      {len(records):>5}, dont {new} seulement en test ; {len(dropped)} clés écartées"
    )
    return 0
