"""La cible `bench` : des rapports de vitesse, à nombre de fils fixé, écrits dans MESURES.md.

Un banc compare deux façons d’obtenir le même résultat. Les deux sont chronométrées tour à tour
dans le même processus, le résultat est vérifié égal avant tout chronomètre, et nous donnons la
médiane et l’étendue : une machine occupée se voit à l’étendue.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tools.messages import Panne, Progress, say

ROOT = Path(__file__).resolve().parent.parent
MEASURES = ROOT / "MESURES.md"
START, END = "<!-- bancs:début -->", "<!-- bancs:fin -->"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Contest:
    """Deux façons d’obtenir le même résultat, et de quoi vérifier qu’il est le même."""

    slow: Callable[[], object]
    fast: Callable[[], object]
    same: Callable[[object, object], bool]


@dataclass(frozen=True)
class Bench:
    title: str
    slow_name: str
    fast_name: str
    prepare: Callable[[], Contest]
    threads: int = 1


@dataclass(frozen=True)
class Result:
    """Secondes de chaque tour, dans l’ordre des tours."""

    bench: Bench
    slow_s: list[float]
    fast_s: list[float]

    @property
    def ratio(self):
        return statistics.median(
            slow / fast for slow, fast in zip(self.slow_s, self.fast_s, strict=True)
        )


REGISTRY: list[Bench] = []
MEASURES_ALONE: list[tuple[str, Callable[[], str]]] = []  # ce qui n’est pas un rapport de durées


def bench(title, slow, fast, threads=1):
    """Inscrit une fonction qui prépare un `Contest` ; `slow` et `fast` nomment les concurrents."""

    def register(prepare):
        REGISTRY.append(Bench(title, slow, fast, prepare, threads))
        return prepare

    return register


def measure(title):
    """Inscrit une fonction qui renvoie un texte, écrit sous la table : mémoire, taille, FLOPs…"""

    def register(read):
        MEASURES_ALONE.append((title, read))
        return read

    return register


def peak_bytes(function):
    """Octets de tenseurs torch (CPU) que `function` détient au plus en même temps.

    Compte les allocations une à une : ni la durée ni les autres programmes n’y changent rien.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        function()
    events = watched.profiler.kineto_results.events()
    moves = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    live = peak = 0
    for _, size in sorted(moves, key=lambda move: move[0]):
        live += size
        peak = max(peak, live)
    return peak


def load():
    """Importe tous les modules de `tools/benchs`."""
    from tools import benchs

    for module in pkgutil.iter_modules(benchs.__path__):
        importlib.import_module(f"tools.benchs.{module.name}")


def run(entry, rounds):
    """Vérifie l’égalité (ce qui chauffe aussi les deux côtés), puis chronomètre en alternance."""
    contest = entry.prepare()
    if not contest.same(contest.slow(), contest.fast()):
        raise Panne(
            f"Banc « {entry.title} » : les deux résultats diffèrent.",
            "Un rapport de vitesse n’aurait pas de sens : corrigez d’abord le résultat.",
        )
    slow_s, fast_s = [], []
    for _ in range(rounds):
        slow_s.append(seconds(contest.slow))
        fast_s.append(seconds(contest.fast))
    return Result(entry, slow_s, fast_s)


def seconds(function):
    """Le temps d’un appel ; les appels très courts sont répétés jusqu’à 20 ms."""
    repeats = 0
    start = time.perf_counter()
    while True:
        function()
        repeats += 1
        elapsed = time.perf_counter() - start
        if elapsed > 0.02:
            return elapsed / repeats


# --- écrire -------------------------------------------------------------------------------------


def fr(value, digits=2):
    """Trois chiffres significatifs au plus, virgule décimale."""
    digits = digits if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}".replace(".", ",")


def span(values_s):
    """« 3,20 ms (3,10 à 4,00) » : médiane et étendue."""
    middle = statistics.median(values_s)
    scale, unit = (1, "s") if middle >= 1 else (1e3, "ms") if middle >= 1e-3 else (1e6, "µs")
    low, high = fr(min(values_s) * scale), fr(max(values_s) * scale)
    return f"{fr(middle * scale)} {unit} ({low} à {high})"


def machine():
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cœurs"


def row(result, threads):
    """La ligne du tableau."""
    entry = result.bench
    slow = f"{entry.slow_name} : {span(result.slow_s)}"
    fast = f"{entry.fast_name} : {span(result.fast_s)}"
    return f"| {entry.title} | {threads} | {slow} | {fast} | {fr(result.ratio)} × |"


def render(rows, rounds, alone=()):
    """Le tableau, et sous lui ce qui n’est pas un rapport de durées."""
    lines = [
        f"{date.today().isoformat()} · {machine()} · Python {platform.python_version()} · "
        f"{rounds} tours en alternance.",
        "Médiane (étendue) ; le rapport est la médiane des rapports de chaque tour.",
        "",
        "| banc | fils | le lent | le rapide | rapport |",
        "|---|---|---|---|---|",
        *rows,
    ]
    if alone:
        lines += ["", *(f"- {title} : {text}" for title, text in alone)]
    return "\n".join(lines)


def insert(table, text):
    """`text` où la partie entre les deux repères est devenue `table`."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise Panne(
            "MESURES.md a perdu ses repères de bancs d’essai.", f"Remettez {START} puis {END}."
        )
    return f"{before}{START}\n{table}\n{END}{after}"


def main(options):
    parser = argparse.ArgumentParser(prog="python -m tools bench", description=__doc__)
    parser.add_argument(
        "mots", nargs="*", help="ne garder que les bancs dont le titre en contient un"
    )
    parser.add_argument("--fils", type=int, help="imposer ce nombre de fils, sans rien écrire")
    parser.add_argument("--tours", type=int, default=7, help="nombre de tours (7)")
    parser.add_argument(
        "--sans-ecrire", action="store_true", help="afficher sans écrire MESURES.md"
    )
    parser.add_argument("--vers", type=Path, help=argparse.SUPPRESS)  # d’un processus à l’autre
    parser.add_argument("--parmi", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(options)
    load()
    kept = [entry for entry in REGISTRY if wanted(entry.title, chosen.mots)]
    if chosen.vers:
        measured = [entry for entry in kept if chosen.parmi in (None, entry.threads)]
        report(measured, chosen)
        return 0
    rows = [
        line
        for threads in ([chosen.fils] if chosen.fils else sorted({e.threads for e in kept}))
        for line in apart(threads, chosen)
    ]
    alone = [(title, read()) for title, read in MEASURES_ALONE if wanted(title, chosen.mots)]
    table = render(rows, chosen.tours, alone)
    say(table)
    whole = not (chosen.mots or chosen.sans_ecrire or chosen.fils)
    if whole:
        MEASURES.write_text(insert(table, MEASURES.read_text(encoding="utf-8")), encoding="utf-8")
    say(f"{len(rows)} bancs mesurés{', écrits dans MESURES.md' if whole else ''}.")
    return 0


def wanted(title, words):
    return not words or any(word.lower() in title.lower() for word in words)


def apart(threads, chosen):
    """Les lignes mesurées à `threads` fils, dans un processus à eux.

    Les bibliothèques lisent le nombre de fils à leur chargement : il leur faut un processus neuf.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lignes.json"
        command = [sys.executable, "-m", "tools", "bench", *chosen.mots, "--vers", str(path)]
        command += ["--fils", str(threads), "--tours", str(chosen.tours)]
        command += [] if chosen.fils else ["--parmi", str(threads)]
        env = os.environ | dict.fromkeys(THREADS, str(threads))
        if subprocess.call(command, cwd=ROOT, env=env):
            raise Panne(f"Les bancs à {threads} fil(s) ont échoué.", "Le message est ci-dessus.")
        return json.loads(path.read_text(encoding="utf-8"))


def report(kept, chosen):
    """Mesure ces bancs ici, et écrit leurs lignes dans le fichier attendu."""
    progress, rows = Progress(every_s=0.0), []
    for number, entry in enumerate(kept, 1):
        progress.show(f"{number}/{len(kept)} {entry.title}")
        rows.append(row(run(entry, chosen.tours), chosen.fils))
    progress.close()
    chosen.vers.write_text(json.dumps(rows), encoding="utf-8")
