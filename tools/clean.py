"""La cible `nettoyer` : enlève ce qui se reconstruit, jamais ce qui s’écrit à la main.

Sans option, `.venv` reste (le refaire prend du temps) ; `--tout` l’enlève aussi.
"""

import argparse
import shutil
import sys
from pathlib import Path

from tools.messages import Panne, say

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("_build", ".cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "llmbook.egg-info")
HIDDEN = {".git", ".venv", "node_modules"}


def generated(everything=False):
    """Les dossiers à enlever, présents sur le disque."""
    names = [*FOLDERS, "tools/npm/node_modules"] + ([".venv"] if everything else [])
    yield from (ROOT / name for name in names if (ROOT / name).exists())
    for pattern in ("__pycache__", ".ipynb_checkpoints"):
        for path in ROOT.rglob(pattern):
            if not HIDDEN & set(path.relative_to(ROOT).parts):
                yield path


def main(options):
    parser = argparse.ArgumentParser(prog="python -m tools nettoyer", description=__doc__)
    parser.add_argument("--tout", action="store_true", help="enlève aussi .venv")
    chosen = parser.parse_args(options)
    if chosen.tout and Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():
        raise Panne(
            "Cette commande tourne dans le .venv qu’elle doit enlever.",
            "Quittez-le (deactivate), puis relancez avec le Python du système.",
        )
    freed = count = 0
    for path in list(generated(chosen.tout)):
        freed += sum(
            f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.is_symlink()
        )
        shutil.rmtree(path, ignore_errors=True)
        count += 1
    say(f"{count} dossiers enlevés, {freed / 1e6:.0f} Mo libérés. Votre progression est gardée.")
    return 0
