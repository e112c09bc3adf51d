"""Exécute des solutions, dans un processus à part : `python -m tools.instructions.taches_essais`.

Lit en JSON une liste de lots {"solutions": [[code, nom], …], "inputs": [[argument, …], …]} ; écrit,
pour chaque lot, un tableau : une ligne par solution, une colonne par entrée, l’écriture (`repr`) du
résultat ou null si la solution lève une erreur. Le code est le nôtre : ce processus borne le temps,
il n’isole pas (pour le code d’un modèle, voir llmbook.sandbox).
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def copied(args: list) -> list:
    return [list(x) if isinstance(x, list) else x for x in args]


def result(function, args: list) -> str | None:
    """L’écriture du résultat, ou None s’il y a une erreur ou si un argument a changé."""
    given = copied(args)
    try:
        shown = repr(function(*given))
    except Exception:
        return None
    return shown if given == args else None


def table(solutions: list[list[str]], inputs: list[list]) -> list[list[str | None]]:
    rows = []
    for code, name in solutions:
        scope: dict = {}
        exec(code, scope)
        rows.append([result(scope[name], args) for args in inputs])
    return rows


def outputs(batches: list[dict], timeout_s: float = 120) -> list[list[list[str | None]]]:
    """Les tableaux de tous les lots, calculés dans un processus borné en temps."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.instructions.taches_essais"],
        input=json.dumps(batches),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=timeout_s,
        check=True,
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    json.dump([table(**batch) for batch in json.load(sys.stdin)], sys.stdout)
