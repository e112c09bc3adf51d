"""Le dossier `.venv` : le créer, y installer ce qu’une cible demande, jamais à moitié.

Chaque extra installé laisse un sceau, l’empreinte de ce qu’il demandait : à jour, rien à faire.
Un fichier `en-cours` vit le temps d’une installation ; le retrouver au départ veut dire qu’elle
a été coupée : nous réparons alors les paquets incomplets avant de la reprendre.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.messages import FULL_DISK, FULL_DISK_REMEDY, Panne, say, step
from tools.relay import relay

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("LLMBOOK_VENV", ROOT / ".venv"))
LOG = ROOT / ".cache" / "installation.log"
STAMPS = VENV / "llmbook-sceaux.json"
UNFINISHED = VENV / "llmbook-en-cours"
NEEDED_MB = {"book": 500, "notebooks": 400, "dev": 400, "torch": 2200, "triton": 1100}

NETWORK = re.compile(
    r"NewConnectionError|Failed to establish a new connection|Name or service not known|"
    r"Temporary failure in name resolution|getaddrinfo failed|ConnectTimeout|ReadTimeout|"
    r"Network is unreachable|ProxyError|Connection refused|Connection reset|RemoteDisconnected|"
    r"SSLError"
)
NO_SPACE = re.compile(r"No space left on device|\[Errno 28\]|Disk quota exceeded")
NO_VERSION = re.compile(r"No matching distribution found for (\S+)")
CONFLICT = re.compile(r"ResolutionImpossible|conflicting dependencies")


def python():
    """Le Python de `.venv`."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def inside():
    """Vrai si ce processus est déjà celui de `.venv`."""
    return Path(sys.prefix).resolve() == VENV.resolve()


# --- ce qu’il faut installer -------------------------------------------------------------------


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(extras):
    """Les exigences de la base et des extras, renvois internes (`llmbook[torch]`) développés."""
    data = project()
    found = [*data["build-system"]["requires"], *data["project"]["dependencies"]]
    waiting, seen = list(extras), set()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for line in data["project"]["optional-dependencies"][extra]:
            inner = re.fullmatch(r"llmbook\[(.+)\]", line)
            if inner:
                waiting += inner.group(1).split(",")
            else:
                found.append(line)
    return sorted(set(found))


def fingerprint(extra):
    """L’empreinte de ce que l’installation de cet extra dépend."""
    config = (VENV / "pyvenv.cfg").read_text(encoding="utf-8") if VENV.exists() else ""
    version = re.search(r"^version(?:_info)?\s*=\s*(\S+)", config, re.MULTILINE)
    parts = [
        *requirements([extra]),
        (ROOT / "constraints.txt").read_text(encoding="utf-8"),
        project()["project"]["version"],
        version.group(1) if version else "",
        str(ROOT),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def stamps():
    try:
        return json.loads(STAMPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def missing(extras):
    """Ceux des extras dont le sceau manque ou n’est plus à jour."""
    if not python().exists() or not (VENV / "pyvenv.cfg").exists():
        return list(extras)
    if UNFINISHED.exists():
        return list(extras)
    known = stamps()
    return [extra for extra in extras if known.get(extra) != fingerprint(extra)]


# --- installer ---------------------------------------------------------------------------------


def ensure(extras, base_python):
    """Complète `.venv` pour ces extras ; sans effet, en quelques millisecondes, s’il l’est."""
    todo = missing(extras)
    if not todo:
        return
    check_space(todo)
    create(base_python)
    resumed = UNFINISHED.exists()
    UNFINISHED.write_text(" ".join(todo), encoding="utf-8")
    known = {name: seal for name, seal in stamps().items() if name not in todo}
    STAMPS.write_text(json.dumps(known, indent=1), encoding="utf-8")
    if resumed:
        repair()
    step(f"Installation ({', '.join(todo)}) dans {shown(VENV)}")
    pip_install(requirements(todo))
    pip_install(["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    known |= {extra: fingerprint(extra) for extra in todo}
    STAMPS.write_text(json.dumps(known, indent=1), encoding="utf-8")
    UNFINISHED.unlink()


def shown(path):
    """Un chemin relatif au dépôt quand il s’y trouve."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def check_space(extras):
    free_mb = shutil.disk_usage(ROOT).free / 1e6
    if "torch" in extras and torch_is_cuda():
        needed_mb = 9000
    else:
        needed_mb = sum(NEEDED_MB.get(extra, 500) for extra in extras)
    if python().exists() and not STAMPS.exists():
        needed_mb = 200  # un .venv fait à la main : presque tout est déjà là
    if free_mb < needed_mb:
        raise Panne(
            f"Il reste {free_mb:.0f} Mo sur le disque ; l’installation en demande {needed_mb}.",
            FULL_DISK_REMEDY,
        )


def torch_is_cuda():
    """Sous Linux, PyPI livre torch avec CUDA, sauf index CPU désigné ou roue déjà là."""
    return sys.platform == "linux" and not (
        os.environ.get("LLMBOOK_TORCH_INDEX") or os.environ.get("PIP_FIND_LINKS")
    )


def create(base_python):
    """Crée `.venv`, ou le refait si son Python ou son pip ne répond plus."""
    if python().exists():
        alive = subprocess.run(
            [str(python()), "-m", "pip", "--version"], capture_output=True, check=False
        )
        if alive.returncode == 0:
            return
    step(f"Création de {shown(VENV)}")
    LOG.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        [*base_python, "-m", "venv", "--clear", str(VENV)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    output = made.stdout + made.stderr
    if made.returncode == 0:
        return
    LOG.write_text(output, encoding="utf-8")
    if NO_SPACE.search(output):
        raise Panne(FULL_DISK, FULL_DISK_REMEDY)
    if "ensurepip" in output:
        raise Panne(
            "Ce Python n’a pas le module venv complet (Debian le met dans un paquet à part).",
            "sudo apt install python3-venv, puis relancez ; ou LLMBOOK_PYTHON=/chemin/vers/python.",
        )
    raise Panne(f"La création de {shown(VENV)} a échoué.", f"Le détail est dans {shown(LOG)}.")


def pip_install(arguments):
    """Un appel de pip, sa progression en une ligne, ses échecs en une phrase."""
    command = [str(python()), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "-c", str(ROOT / "constraints.txt")]
    index = os.environ.get("LLMBOOK_TORCH_INDEX")
    if index:
        command += ["--extra-index-url", index]
    LOG.parent.mkdir(parents=True, exist_ok=True)
    collected, lines = 0, []

    def on_line(line, progress):
        nonlocal collected
        lines.append(line)
        if line.lstrip().startswith("Collecting"):
            collected += 1
            progress.show(f"paquet {collected} : {line.split()[1]}")
        elif line.startswith("Installing collected packages"):
            progress.last = 0.0
            names = line.count(",") + 1
            progress.show(f"copie dans {shown(VENV)} (paquets : {names})")
        return line

    if relay([*command, *arguments], LOG, on_line, cwd=ROOT):
        raise pip_failure("".join(lines))


def pip_failure(output):
    """Ce que pip a dit → une phrase et un remède."""
    if NO_SPACE.search(output):
        return Panne(FULL_DISK, FULL_DISK_REMEDY)
    if NETWORK.search(output):
        return Panne(
            "Le registre des paquets Python ne répond pas.",
            "Vérifiez la connexion (derrière un mandataire : HTTPS_PROXY=…), puis relancez la même "
            "commande : elle reprend où elle s’est arrêtée.",
        )
    absent = NO_VERSION.search(output)
    if absent:
        return Panne(
            f"{absent.group(1)} n’existe pas pour ce Python ou ce système.",
            "Essayez un autre Python (LLMBOOK_PYTHON=/chemin/vers/python3.12), et signalez-le. "
            f"Le détail est dans {shown(LOG)}.",
        )
    if CONFLICT.search(output):
        return Panne(
            "pyproject.toml et constraints.txt se contredisent.",
            f"Accordez-les (CONTRIBUTING.md, « Changer une version ») ; détail dans {shown(LOG)}.",
        )
    last = next((li for li in reversed(output.splitlines()) if "ERROR" in li), "sans message")
    return Panne(f"L’installation a échoué ({last.strip()[:160]}).", f"Détail : {shown(LOG)}.")


# --- réparer -----------------------------------------------------------------------------------

# Exécuté par le Python de `.venv` : les paquets dont un fichier déclaré manque.
FIND_DAMAGED = """
import importlib.metadata as m
for d in m.distributions():
    name, files = d.metadata["Name"], d.files
    if name == "llmbook":
        continue
    if not name or files is None:
        print("?", d._path)
    elif any(f.suffix != ".pyc" and not f.locate().exists() for f in files):
        print("!", name + "==" + d.version)
"""


def damaged():
    """(paquets à réinstaller, dossiers de métadonnées tronquées à supprimer)."""
    out = subprocess.run(
        [str(python()), "-c", FIND_DAMAGED],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=True,
    ).stdout
    rows = [line.split(" ", 1) for line in out.splitlines()]
    return (
        [value for kind, value in rows if kind == "!"],
        [Path(value) for kind, value in rows if kind == "?"],
    )


def repair():
    """Après une installation coupée : remet en état les paquets incomplets."""
    step("La dernière installation a été coupée : vérification de ce qui est là")
    packages, truncated = damaged()
    for folder in truncated:
        shutil.rmtree(folder, ignore_errors=True)
    for leftover in VENV.glob("lib/python*/site-packages/~*"):  # restes d’un remplacement coupé
        with contextlib.suppress(OSError):
            shutil.rmtree(leftover)
    if packages:
        say(f"  à réinstaller : {', '.join(packages)}")
        pip_install(["--force-reinstall", "--no-deps", *packages])
