"""Construit le HTML avec jupyter-book ; un avertissement est une erreur."""

import hashlib
import os
import re
import shutil
import sys
import time
from pathlib import Path

from tools.messages import FULL_DISK, FULL_DISK_REMEDY, Panne, duration, say, step
from tools.relay import relay

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
HTML = BUILD / "html"
LOG = BUILD / "journal.txt"
SEAL = BUILD / "sceau.txt"

# Ce dont toutes les pages dépendent, et que Sphinx ne surveille pas : un changement refait tout.
SHARED = ("_toc.yml", "_config.yml", "book/_data", "book/references.bib", "book/glossaire.md")
SHARED += ("tools/sphinx_ext", "tools/theme", "llmbook/exercise.py", "llmbook/exercises")

ENTRY = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
SPHINX = [sys.executable, "-c", ENTRY, "build", ".", "-W", "-n", "--keep-going"]

NOTE = "Modèle dans la page : "  # ce que tools/sphinx_ext/web_model.py dit sans faire échouer

STAGES = {"reading sources": "lecture", "writing output": "écriture", "copying images": "images"}
PROGRESS = re.compile(r"(reading sources|writing output|copying images)\.\.\. ?\[ *(\d+)%\] ?(\S*)")
COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
TROUBLE = re.compile(r"WARNING:|ERROR:|CRITICAL:|SEVERE:")
CRASH = re.compile(
    r"Error:|Exception:"
)  # jupyter-book en écrit aussi après de simples avertissements


def shared_fingerprint():
    digest = hashlib.sha256(sys.version.encode())
    digest.update((ROOT / "constraints.txt").read_bytes())
    for name in SHARED:
        path = ROOT / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def forget():
    """Efface ce que Sphinx croit savoir : la prochaine construction relit toutes les pages."""
    SEAL.unlink(missing_ok=True)
    shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
    shutil.rmtree(HTML, ignore_errors=True)


def build():
    """Construit, ou complète, le livre ; renvoie la phrase finale. Panne s’il reste un défaut."""
    started = time.monotonic()
    BUILD.mkdir(exist_ok=True)
    seal = shared_fingerprint()
    if not SEAL.exists() or SEAL.read_text() != seal:
        forget()
    # Absent tant que la construction n’a pas réussi : coupée ou fautive, elle repart du début,
    # car Sphinx ne redit pas les avertissements des pages qu’il ne relit pas.
    SEAL.unlink(missing_ok=True)
    step("Construction du livre")
    code, output = run_sphinx()
    for line in output:
        if line.startswith(NOTE):
            say(f"  {line}")
    if code:
        explain_failure(output)
    pages = sum(1 for page in HTML.rglob("*.html") if "_static" not in page.parts)
    SEAL.write_text(seal)
    return f"Livre construit en {duration(time.monotonic() - started)} : {pages} pages"


def run_sphinx():
    env = os.environ | {"PYTHONUTF8": "1", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    lines = []

    def on_line(raw, progress):
        line = COLOR.sub("", raw)
        lines.append(line.rstrip())
        found = PROGRESS.search(line)
        if found:
            stage, percent, page = found.groups()
            progress.show(f"{STAGES[stage]} {percent} % {page}")
        return line

    return relay(SPHINX, LOG, on_line, cwd=ROOT, env=env), lines


def explain_failure(lines):
    text = "\n".join(lines)
    if "No space left on device" in text or "[Errno 28]" in text:
        raise Panne(FULL_DISK, FULL_DISK_REMEDY)
    found = list(dict.fromkeys(line for line in lines if TROUBLE.search(line)))
    found = found or [line for line in lines if CRASH.search(line)]
    for line in found[:40]:
        say("  " + line.replace(str(ROOT) + os.sep, ""))
    if len(found) > 40:
        say(f"  … et {len(found) - 40} autres")
    log = LOG.relative_to(ROOT)
    if not found:
        raise Panne("La construction s’est arrêtée.", f"Le détail est dans {log}.")
    plural = "s" if len(found) > 1 else ""
    raise Panne(
        f"Le livre a {len(found)} défaut{plural} : un avertissement en est un.",
        f"Corrigez les lignes ci-dessus, puis relancez ; le journal entier est dans {log}.",
    )
