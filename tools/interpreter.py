"""Trouve un Python de 3.11 à 3.13 et lui passe la main.

Ce fichier est lu par n’importe quel Python 3, avant que `.venv` existe : syntaxe ancienne voulue.
`LLMBOOK_PYTHON=/chemin/vers/python` force le choix.
"""

import glob
import os
import shutil
import subprocess
import sys

from tools.messages import Panne

OLDEST, NEWEST = (3, 11), (3, 13)
PREFERRED = ("3.12", "3.13", "3.11")


def suitable(version):
    return OLDEST <= tuple(version[:2]) <= NEWEST


def version_of(command):
    """(3, 12) pour une commande qui est un Python ; None si elle ne démarre pas."""
    try:
        out = subprocess.check_output(
            [*command, "-c", "import sys; print(*sys.version_info[:2])"],
            stderr=subprocess.DEVNULL,
            timeout=20,
        )
        return tuple(int(part) for part in out.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def candidates():
    """Les Python à essayer, du plus probable au moins probable."""
    for version in PREFERRED:
        name = "python" + version
        if shutil.which(name):
            yield [name]
        if os.name == "nt" and shutil.which("py"):
            yield ["py", "-" + version]
        for pattern in ("~/.pyenv/versions/{}.*/bin/python", "/opt/homebrew/bin/python{}"):
            for path in sorted(glob.glob(os.path.expanduser(pattern.format(version)))):
                yield [path]
    for name in ("python3", "python"):
        if shutil.which(name):
            yield [name]


def find_python():
    """La commande d’un Python convenable ; une panne qui dit comment en obtenir un sinon."""
    forced = os.environ.get("LLMBOOK_PYTHON")
    if forced:
        version = version_of([forced])
        if version and suitable(version):
            return [forced]
        seen = "Python {}.{}".format(*version) if version else "introuvable"
        raise unsuitable("LLMBOOK_PYTHON={} ne convient pas : {}.".format(forced, seen))
    if suitable(sys.version_info):
        return [sys.executable]
    for command in candidates():
        version = version_of(command)
        if version and suitable(version):
            return command
    raise unsuitable(
        "Python {}.{} ne convient pas : le livre demande Python 3.11, 3.12 ou 3.13.".format(
            *sys.version_info[:2]
        )
    )


def unsuitable(sentence):
    if sys.platform == "darwin":
        how = "brew install python@3.12, ou https://www.python.org/downloads/"
    elif os.name == "nt":
        how = "winget install Python.Python.3.12, ou https://www.python.org/downloads/"
    else:
        how = "sudo apt install python3 python3-venv, pyenv, ou conda env create -f environment.yml"
    return Panne(
        sentence,
        "Installez-en un ({}), ou désignez-le : LLMBOOK_PYTHON=/chemin/vers/python3.12.".format(
            how
        ),
    )


def hand_over(command, arguments):
    """Remplace ce processus par `command -m tools arguments` ; sous Windows, attend sa fin."""
    sys.stdout.flush()
    full = [*command, "-m", "tools", *arguments]
    if os.name == "nt":
        try:
            raise SystemExit(subprocess.call(full))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
    os.execvp(full[0], full)
