"""Ce que le livre prend à npm : onnxruntime-web pour ses pages, axe-core pour ses tests."""

import shutil
import subprocess
from pathlib import Path

from tools.messages import step

NPM = Path(__file__).resolve().parent / "npm"
COMMAND = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
PATIENCE = ["--fetch-retries=1", "--fetch-timeout=60000"]  # hors ligne, échouer vite
LIMIT_S = 300


def install(folder=NPM):
    """Installe ce que dit le verrou, s’il a changé. None, ou la raison de l’échec en français."""
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".sceau"
    if not lock.exists():
        return None
    seal = lock.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == seal:
        return None
    npm = shutil.which("npm")
    if not npm:
        return "npm n’est pas installé"
    step("Paquets npm (onnxruntime-web, axe-core)")
    try:
        done = subprocess.run(
            [npm, *COMMAND, *PATIENCE],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return "le registre npm est trop lent"
    if done.returncode:
        return "le registre npm ne répond pas ou refuse"
    stamp.write_text(seal, encoding="utf-8")
    return None
