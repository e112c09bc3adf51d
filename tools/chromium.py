"""Un Chromium pour les tests dans un navigateur : le trouver, sinon l’installer, sinon le dire.

`LLMBOOK_CHROMIUM=/chemin` force le choix. Les tests reçoivent le chemin par la même variable.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.messages import Panne, say, step

# Pour un navigateur sans écran, dans un conteneur, qui ne demande rien à personne.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
WINDOWS = (
    r"Google\Chrome\Application\chrome.exe",
    r"Chromium\Application\chrome.exe",
    r"Microsoft\Edge\Application\msedge.exe",
)
PLAYWRIGHT = (
    ".cache/ms-playwright/chromium-*/chrome-linux*/chrome",
    "Library/Caches/ms-playwright/chromium-*/chrome-mac*/*/Contents/MacOS/*",
    "AppData/Local/ms-playwright/chromium-*/chrome-win*/chrome.exe",
)


def find():
    """Le chemin d’un Chromium installé, ou None."""
    forced = os.environ.get("LLMBOOK_CHROMIUM")
    if forced:
        return forced if Path(forced).exists() else None
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    places = [Path(path) for path in MAC] if sys.platform == "darwin" else []
    if os.name == "nt":
        roots = [
            os.environ.get(key) for key in ("ProgramFiles", "ProgramFiles(x86)", "LocalAppData")
        ]
        places = [Path(root) / tail for root in roots if root for tail in WINDOWS]
    for pattern in PLAYWRIGHT:
        places += sorted(Path.home().glob(pattern), reverse=True)
    return next((str(path) for path in places if path.exists()), None)


def is_debian():
    """Vrai pour Debian, pas pour Ubuntu, dont le paquet chromium n’est qu’un renvoi vers snap."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return False
    return "ID=debian" in text.splitlines()


def privileged():
    """Ce qui précède `apt-get` pour agir en administrateur sans mot de passe ; None sinon."""
    if not hasattr(os, "geteuid"):
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if asked.returncode == 0:
            return ["sudo", "-n"]
    return None


def apt_install(packages):
    """Installe des paquets Debian ; False si ce système ou ces droits ne le permettent pas."""
    prefix = privileged()
    if prefix is None or not shutil.which("apt-get"):
        return False
    env = ["env", "DEBIAN_FRONTEND=noninteractive"]
    install = [*prefix, *env, "apt-get", "install", "-y", "--no-install-recommends", *packages]
    if subprocess.run(install, capture_output=True, check=False).returncode == 0:
        return True
    subprocess.run([*prefix, "apt-get", "update"], capture_output=True, check=False)
    return subprocess.run(install, capture_output=True, check=False).returncode == 0


def how_to():
    if sys.platform == "darwin":
        return "brew install --cask chromium"
    if os.name == "nt":
        return "winget install Google.Chrome"
    if is_debian():
        return "sudo apt install chromium"
    return "installez Chromium ou Google Chrome, ou .venv/bin/playwright install chromium"


def obtain():
    """Le chemin d’un Chromium, installé au besoin ; None, avec l’explication, s’il n’y en a pas."""
    path = find()
    if path is None and not os.environ.get("LLMBOOK_CHROMIUM") and is_debian():
        step("Installation de Chromium (paquet Debian)")
        if apt_install(["chromium"]):
            path = find()
    if path:
        return path
    if os.environ.get("CI", "").lower() in ("true", "1"):
        raise Panne("Aucun Chromium : en CI, c’est un échec.", f"Pour l’avoir : {how_to()}.")
    say("  Aucun Chromium : les tests marqués « navigateur » sont laissés de côté.")
    say(f"  Pour les avoir : {how_to()}, ou LLMBOOK_CHROMIUM=/chemin/vers/chromium.")
    return None
