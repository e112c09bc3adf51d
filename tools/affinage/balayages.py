"""Des balayages d’affinages, plusieurs graines chacun, plusieurs processus à la fois.

    python -m tools.affinage balayages                       tout, dix minutes sur une carte
    python -m tools.affinage balayages rang taux             quelques-uns
    python -m tools.affinage balayages --processus 2 --pas 60   en petit, sur deux cœurs

Ajoute ses lignes à book/_data/affinage.json, que lisent les pages des chapitres 11 à 13 ; une ligne
déjà faite n’est pas refaite.
"""

import argparse
import json
import multiprocessing
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

from tools.affinage.experience import ROOT, Experience, run, varied
from tools.affinage.resultats import write_rows

RESULTS = ROOT / "book" / "_data" / "affinage.json"
BASE = Experience()
ALL = BASE.targets
FULL = replace(BASE, method="full", learning_rate=1e-3)
SWEEPS = {
    "rang": varied(BASE, "rang", 3, rank=(1, 2, 4, 8, 16, 32, 64)),
    "alpha": varied(BASE, "alpha", 3, alpha=(2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)),
    "cibles": varied(
        BASE,
        "cibles",
        3,
        targets=(
            ("qkv",),
            ("out",),
            ("qkv", "out"),
            ("gate_up",),
            ("down",),
            ("gate_up", "down"),
            ALL,
        ),
    ),
    "taux-lora": varied(BASE, "taux-lora", 3, learning_rate=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    "taux-full": varied(FULL, "taux-full", 3, learning_rate=(3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
    "relecture": varied(FULL, "relecture", 3, replay=(0.0, 0.1, 0.3, 1.0))
    + varied(BASE, "relecture", 3, replay=(0.0, 0.1, 0.3, 1.0)),
    "donnees": varied(BASE, "donnees", 3, examples=(50, 200, 800, 3200), noise=(0.0, 0.25, 0.5)),
    "rslora": varied(BASE, "rslora", 3, rank=(4, 16, 64), alpha=(16.0,), rslora=(False, True)),
    "dora": varied(BASE, "dora", 3, rank=(2, 8), dora=(False, True)),
}


def main(options) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.affinage balayages", description=__doc__)
    parser.add_argument("balayages", nargs="*", choices=[[], *SWEEPS], help="tous par défaut")
    parser.add_argument("--processus", type=int, default=8)
    parser.add_argument("--pas", type=int, default=0, help="autre nombre de pas que 300")
    parser.add_argument("--secondes", type=float, default=3600, help="ne rien commencer après")
    parser.add_argument("--sortie", type=Path, default=RESULTS)
    chosen = parser.parse_args(options)
    wanted = [e for name in chosen.balayages or SWEEPS for e in SWEEPS[name]]
    wanted.sort(key=lambda e: e.seed)  # toutes les courbes d’abord, puis leurs barres d’erreur
    if chosen.pas:
        wanted = [replace(e, steps=chosen.pas) for e in wanted]
    sweep(wanted, chosen.processus, chosen.secondes, chosen.sortie)
    return 0


def sweep(wanted: list[Experience], processes: int, seconds: float, path: Path) -> None:
    """Fait les expériences qui manquent à `path`, et y écrit chacune dès qu’elle est faite."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"lignes": []}
    done = {key(row) for row in found["lignes"]}
    wanted = [e for e in wanted if key(asdict(e)) not in done]
    start = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=quiet, maxtasksperchild=None) as pool:
        jobs = [(e, start, seconds) for e in wanted]
        for number, row in enumerate(pool.imap_unordered(timed, jobs), start=1):
            if row is None:
                continue
            if "erreur" in row:
                print(row, flush=True)
                continue
            found["lignes"].append(row)
            found |= {"materiel": row.pop("materiel"), "torch": row.pop("torch")}
            found |= {
                "date": date.today().isoformat(),
                "commande": "python -m tools.affinage balayages",
            }
            write(path, found)
            print(
                f"{number}/{len(wanted)} {row['sweep']} r{row['rank']} {row['learning_rate']:g} "
                f"exact {row['exact']:.3f} val {row['validation_loss']:.3f} "
                f"bits {row['held_out_bits']:.3f} {time.perf_counter() - start:.0f} s",
                flush=True,
            )


def quiet() -> None:
    import torch

    torch.set_num_threads(1)


def timed(job) -> dict | None:
    """Une expérience, dans un processus du groupe ; une erreur est rendue et n’arrête pas les autres."""
    import torch

    from llmbook import runtime
    from tools.models.training import described

    experience, start, seconds = job
    if time.perf_counter() - start > seconds:
        return None
    try:
        row = run(experience)
    except Exception as error:  # une course qui diverge est un résultat, pas une panne
        return {"erreur": f"{type(error).__name__} : {error}", **asdict(experience)}
    return row | {"materiel": described(runtime.device()), "torch": torch.__version__}


def key(row: dict) -> str:
    """Les réglages d’une ligne, sans le nom du balayage : deux balayages partagent leurs points."""
    settings = {name: row[name] for name in sorted(asdict(BASE)) if name not in ("sweep", "extra")}
    return row["sweep"] + json.dumps(settings, sort_keys=True, default=list)


def write(path: Path, found: dict) -> None:
    rows = sorted(found["lignes"], key=key)
    head = {name: value for name, value in found.items() if name != "lignes"}
    write_rows(path, head, [rounded(row) for row in rows])


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
