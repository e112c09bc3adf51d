"""La cible `lab` : JupyterLab en français, ouvert sur les notebooks du livre, sur 127.0.0.1."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tools.messages import say

ROOT = Path(__file__).resolve().parent.parent


def command(options):
    """Le lancement ; les options de la ligne de commande passent telles quelles à JupyterLab."""
    root = ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []  # un conteneur
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        *root,
        *options,
    ]


def speak_french():
    """Règle la langue par défaut, et le silence, là où JupyterLab les cherche dans `.venv`."""
    folder = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "overrides.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    settings["@jupyterlab/translation-extension:plugin"] = {"locale": "fr_FR"}
    settings["@jupyterlab/apputils-extension:notification"] = {
        "checkForUpdates": False,
        "fetchNews": "false",  # aucune requête vers l’extérieur
    }
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def main(options):
    speak_french()
    say("JupyterLab s’ouvre dans votre navigateur (Ctrl+C deux fois pour arrêter).")
    say("Après une modification : `make notebooks` la reporte dans book/.")
    try:
        code = subprocess.call(command(options), cwd=ROOT)
    except KeyboardInterrupt:
        code = 0
    say("JupyterLab est arrêté." if code in (0, 130) else "JupyterLab s’est arrêté sur une erreur.")
    return 0 if code == 130 else code
