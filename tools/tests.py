"""Les cibles `test` et `test-rapide` : style, construction du livre, puis un seul appel de pytest.

L’appel unique couvre tests/ et les notebooks (nbval) : la sortie se ferme sur un seul résumé.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from llmbook import sandbox
from tools import build, chromium, node
from tools.kernels import THREAD_VARIABLES
from tools.messages import Panne, say, step
from tools.node import NPM

ROOT = Path(__file__).resolve().parent.parent
SLOW = ("lent", "notebooks", "gpu", "pdf")
BUDGETS = "3"  # les carnets partagent les cœurs avec Chromium et l’autre processus
MINUTES = "la part rapide ; `make test` fait tout"


def in_ci():
    return os.environ.get("CI", "").lower() in ("true", "1")


def main(arguments):
    target, *options = arguments
    quick = target == "test-rapide"
    left_out = set(SLOW if quick else ("gpu",))
    # un fil par processus : deux processus de deux fils se disputeraient les deux cœurs
    env = dict.fromkeys(THREAD_VARIABLES, "1") | {"LLMBOOK_BUDGET_FACTOR": BUDGETS} | os.environ
    env |= {"HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}

    check_style()
    say("  " + build.build() + ".")
    browser = chromium.find() if quick else chromium.obtain()
    if browser:
        env["LLMBOOK_CHROMIUM"] = browser
    if quick or not browser:
        left_out.add("navigateur")
    if not quick:
        npm_packages()
        sandbox_tools()
        if not shutil.which("xelatex"):
            left_out.add("pdf")
            say("  Sans xelatex, les tests marqués « pdf » sont laissés de côté (make pdf).")

    step(f"Tests ({MINUTES})" if quick else "Tests et notebooks")
    return subprocess.call(pytest_command(left_out, quick, options), cwd=ROOT, env=env)


def check_style():
    step("Style (ruff)")
    ruff = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format", "concise", "."]
    checked = subprocess.run(ruff, cwd=ROOT, check=False)
    if checked.returncode:
        raise Panne(
            "ruff signale les lignes ci-dessus.",
            ".venv/bin/ruff check --fix . en corrige une partie ; le reste est à la main.",
        )


def pytest_command(left_out, quick, options):
    """L’appel de pytest ; `--dist loadscope` garde chaque notebook dans un seul noyau."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadscope", "-q"]
    command += ["-m", " and ".join(f"not {mark}" for mark in sorted(left_out)), "tests"]
    if not quick and any((ROOT / "notebooks").rglob("*.ipynb")):
        command += ["notebooks", "--nbval"]  # conftest.py règle le reste de nbval
    return [*command, *options]


def npm_packages():
    """axe-core, pour les tests d’accessibilité, et le moteur du modèle dans la page."""
    reason = node.install(NPM)
    if reason and in_ci():
        raise Panne(
            f"axe-core manque ({reason}) : en CI, c’est un échec.", "Installez Node.js et npm."
        )
    if reason:
        say(f"  axe-core manque ({reason}) : les tests d’accessibilité sont laissés de côté.")


def sandbox_tools():
    """bubblewrap : les tests et les pages qui exécutent ce qu’un modèle a écrit en ont besoin."""
    reason = sandbox.available()
    if reason and sys.platform.startswith("linux") and not shutil.which("bwrap"):
        step("Installation de bubblewrap")
        if chromium.apt_install(["bubblewrap"]):
            reason = sandbox.available()
    if reason and in_ci():
        raise Panne(
            f"Pas d’enceinte pour exécuter du code ({reason}) : en CI, c’est un échec.",
            "Installez bubblewrap (apt install bubblewrap), et permettez les espaces de noms.",
        )
    if reason:
        say("  Sans enceinte, les tests qui exécutent du code de modèle sont laissés de côté :")
        say(f"  {reason}.")
