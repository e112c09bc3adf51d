"""`make pdf` : le livre en un PDF A4, par LaTeX (xelatex).

Trois temps : vérifier que TeX est là (et l’installer où l’on peut), faire écrire le LaTeX par
Sphinx dans `_build/latex`, le composer avec latexmk. Le PDF n’est rendu que si le journal de
composition est propre : ni glyphe absent, ni renvoi sans cible, ni numéro différent du site.
"""

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from tools import chromium
from tools.build import COLOR, PROGRESS, STAGES, TROUBLE
from tools.messages import FULL_DISK, FULL_DISK_REMEDY, Panne, Progress, duration, say, step
from tools.sphinx_ext.latex import edition_time

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
LATEX = BUILD / "latex"
DOCTREES = BUILD / ".doctrees-latex"  # pas ceux du site : chacun garde ses avertissements
PDF = BUILD / "pdf" / "bible-llm.pdf"
SPHINX_LOG = BUILD / "journal-latex.txt"
NAME = "bible-llm"

SILENCE_S = 180  # sans une ligne de xelatex pendant ce temps, nous arrêtons
TOTAL_S = 30 * 60

# ce qu’il faut : (programme ou fichier cherché par kpsewhich, paquet Debian)
PROGRAMS = {"xelatex": "texlive-xetex", "latexmk": "latexmk", "xindy": "xindy"}
FILES = {
    "fontspec.sty": "texlive-latex-recommended",
    "unicode-math.sty": "texlive-latex-recommended",
    "tcolorbox.sty": "texlive-latex-extra",
    "newunicodechar.sty": "texlive-latex-extra",
    "french.ldf": "texlive-lang-french",
    "pzdr.tfm": "texlive-fonts-recommended",
    "texgyrepagella-regular.otf": "fonts-texgyre",
    "texgyrepagella-math.otf": "fonts-texgyre-math",
    "DejaVuSansMono.ttf": "fonts-dejavu-core",
    "DejaVuSansMono-Oblique.ttf": "fonts-dejavu-extra",
}


def main(argv):
    if argv:
        raise Panne(f"Option inconnue : {argv[0]}.", "make pdf n’en a pas.", 2)
    started = time.monotonic()
    obtain_tex()
    obtain_converter()
    step("Écriture du LaTeX")
    write_latex()
    step("Composition (xelatex)")
    compose()
    log = (LATEX / f"{NAME}.log").read_text(encoding="utf-8", errors="replace")
    check(log)
    PDF.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(LATEX / f"{NAME}.pdf", PDF)
    megabytes = f"{PDF.stat().st_size / 1e6:.1f}".replace(".", ",")
    say(
        f"PDF composé en {duration(time.monotonic() - started)} : {pages(log)} pages, "
        f"{megabytes} Mo, {PDF.relative_to(ROOT)}"
    )
    return 0


# --- ce qu’il faut avoir -----------------------------------------------------------------------


def missing_packages():
    """Les paquets Debian de ce qui manque, dans l’ordre ; [] si tout est là."""
    packages = [package for name, package in PROGRAMS.items() if not shutil.which(name)]
    if shutil.which("kpsewhich"):
        for name, package in FILES.items():
            asked = subprocess.run(["kpsewhich", name], capture_output=True, check=False)
            if asked.returncode:
                packages.append(package)
    else:
        packages += FILES.values()
    return list(dict.fromkeys(packages))


def obtain_tex():
    """Vérifie TeX et ses paquets ; les installe par apt-get si les droits le permettent."""
    packages = missing_packages()
    if not packages:
        return
    if shutil.which("apt-get") and chromium.privileged() is not None:
        step(f"Installation de TeX ({', '.join(packages)}) : quelques minutes")
        chromium.apt_install(packages)
        packages = missing_packages()
    if packages:
        raise missing_tex(packages)


def missing_tex(packages):
    what = "xelatex n’est pas installé" if "texlive-xetex" in packages else "TeX est incomplet"
    if sys.platform == "darwin":
        remedy = "Installez MacTeX (brew install --cask mactex), puis relancez make pdf."
    elif os.name == "nt":
        remedy = (
            "Installez TeX Live (winget install TeXLive.TeXLive) et les polices DejaVu, puis "
            "relancez : python -m tools pdf."
        )
    elif shutil.which("apt-get"):
        remedy = f"sudo apt install --no-install-recommends {' '.join(packages)}, puis make pdf."
    else:
        remedy = f"Installez TeX Live avec l’équivalent de : {' '.join(packages)}."
    return Panne(f"{what} ({', '.join(packages)}) : le PDF ne peut pas être composé.", remedy)


def uses_svg():
    """Vrai si une page du livre montre un dessin SVG."""
    if next((ROOT / "book").rglob("*.svg"), None):
        return True
    notebooks = (ROOT / "notebooks").rglob("*.ipynb")
    return any('"image/svg+xml"' in path.read_text(encoding="utf-8") for path in notebooks)


def obtain_converter():
    """Les dessins SVG demandent rsvg-convert ; rien à faire s’il n’y en a pas."""
    if shutil.which("rsvg-convert") or not uses_svg():
        return
    if not chromium.apt_install(["librsvg2-bin"]):
        raise Panne(
            "rsvg-convert manque : il convertit les dessins SVG du livre.",
            "sudo apt install librsvg2-bin (macOS : brew install librsvg), puis make pdf.",
        )


# --- Sphinx ------------------------------------------------------------------------------------

CRASHED = re.compile(r"^(?:Exception occurred:|Traceback )")
SPHINX = """
import sys
from jupyter_book.sphinx import build_sphinx
result = build_sphinx(
    {root!r}, {out!r}, use_external_toc=True, path_config={config!r}, noconfig=True,
    doctreedir={doctrees!r}, builder="latex", warningiserror=True, keep_going=True,
    confoverrides=dict(nitpicky=True, latex_individualpages=False))
sys.exit(result if isinstance(result, int) else 1)
"""


def write_latex():
    """Le LaTeX du livre dans `_build/latex` ; un avertissement est une erreur."""
    BUILD.mkdir(exist_ok=True)
    # Sphinx réécrit tout, et ne redit pas les avertissements des pages qu’il ne relit pas.
    shutil.rmtree(DOCTREES, ignore_errors=True)
    for old in (*LATEX.glob("*.tex"), *LATEX.glob("*.sty"), LATEX / "numeros.json"):
        old.unlink(missing_ok=True)
    script = SPHINX.format(
        root=str(ROOT), out=str(LATEX), config=str(ROOT / "_config.yml"), doctrees=str(DOCTREES)
    )
    env = os.environ | {"PYTHONUTF8": "1", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    progress, lines = Progress(), []

    def on_line(line):
        line = COLOR.sub("", line).rstrip()
        lines.append(line)
        found = PROGRESS.search(line)
        if found:
            stage, percent, page = found.groups()
            progress.show(f"{STAGES[stage]} {percent} % {page}")

    try:
        code = stream([sys.executable, "-c", script], ROOT, env, on_line)
    finally:
        progress.close()
        SPHINX_LOG.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if code or not (LATEX / f"{NAME}.tex").is_file():
        raise sphinx_failure(lines)


def sphinx_failure(lines):
    text = "\n".join(lines)
    if "No space left on device" in text or "[Errno 28]" in text:
        return Panne(FULL_DISK, FULL_DISK_REMEDY)
    found = list(dict.fromkeys(line for line in lines if TROUBLE.search(line)))
    crash = next((i for i, line in enumerate(lines) if CRASHED.search(line)), None)
    if crash is not None:
        found = lines[crash : crash + 8]
    for line in (found or lines[-10:])[:40]:
        say("  " + line.replace(str(ROOT) + os.sep, ""))
    plural = "s" if len(found) > 1 else ""
    faulty = found and crash is None
    what = f"Le livre a {len(found)} défaut{plural}" if faulty else "Sphinx s’est arrêté"
    return Panne(
        f"{what} : le LaTeX n’a pas été écrit.",
        f"Corrigez les lignes ci-dessus, puis relancez ; journal : {SPHINX_LOG.relative_to(ROOT)}.",
    )


# --- xelatex -----------------------------------------------------------------------------------

RUN = re.compile(r"Run number (\d+) of rule '([^']+)'")
PAGE = re.compile(r"\[(\d+)")
STEPS = {"xelatex": "xelatex", "makeindex": "index", "xdvipdfmx": "écriture du PDF"}


def compose():
    """latexmk jusqu’à ce que les renvois soient stables."""
    command = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-file-line-error"]
    command += ["-halt-on-error", "-f-", f"{NAME}.tex"]
    env = os.environ | {"LATEXOPTS": "", "XINDYOPTS": "-L french -C utf8 -M sphinx.xdy"}
    env |= {"max_print_line": "2000", "LC_ALL": "C.UTF-8"}
    env |= {"SOURCE_DATE_EPOCH": str(edition_time(ROOT)), "FORCE_SOURCE_DATE": "1"}
    progress, output, state = Progress(), [], {"rule": "xelatex", "run": "1"}

    def on_line(line):
        output.append(line)
        found = RUN.search(line)
        if found:
            state["run"], rule = found.groups()
            state["rule"] = STEPS.get(rule.split()[0], rule.split()[0])
        reached = PAGE.findall(line)
        if found or reached:
            page = f", page {reached[-1]}" if reached else ""
            progress.show(f"{state['rule']}, passe {state['run']}{page}")

    try:
        code = stream(command, LATEX, env, on_line)
    finally:
        progress.close()
    log = LATEX / f"{NAME}.log"
    if code or not (LATEX / f"{NAME}.pdf").is_file():
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        for suffix in ("aux", "toc", "out", "fdb_latexmk"):  # à demi écrits : nuisibles ensuite
            (LATEX / f"{NAME}.{suffix}").unlink(missing_ok=True)
        raise latex_failure(text, "".join(output))


def stream(command, folder, env, on_line, total_s=TOTAL_S, silence_s=SILENCE_S):
    """Exécute et passe chaque ligne à `on_line` ; arrête un programme muet ou trop long."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + total_s
    try:
        while True:
            wait_s = min(silence_s, deadline - time.monotonic())
            try:
                line = lines.get(timeout=max(0.01, wait_s))
            except queue.Empty:
                raise Panne(
                    f"{Path(command[0]).name} ne répond plus depuis {duration(wait_s)}.",
                    "Relancez ; si cela recommence, joignez le dossier _build/latex à un rapport.",
                ) from None
            if line is None:
                return process.wait()
            on_line(line)
    except BaseException:
        process.kill()
        process.wait()
        raise


# --- ce que dit le journal ---------------------------------------------------------------------

ERROR = re.compile(r"^(?:! (?P<bare>.*)|(?P<file>[^\s:]+\.\w+):(?P<line>\d+): (?P<what>.*))$")
NO_FILE = re.compile(r"File `([^']+)' not found|cannot find|not loadable")
MISSING = re.compile(
    r"^Missing character: There is no (.+?) (?:\((U\+[0-9A-F]+)\) )?in font (.+?)!"
)
UNDEFINED = re.compile(r"(?:Reference|Citation|Hyper reference) [`'](.+?)' on page (\d+) undefined")
OVERFULL = re.compile(r"^Overfull \\hbox \(([\d.]+)pt too wide\)")
OUTPUT = re.compile(r"^Output written on .+? \((\d+) pages?", re.MULTILINE)


def first_error(log):
    """(phrase, endroit, page atteinte, extrait du journal) de la première vraie erreur, ou None."""
    lines = log.splitlines()
    page = 0
    for i, line in enumerate(lines):
        found = ERROR.match(line)
        if found:
            what = found["bare"] or found["what"]
            file, line = found["file"], found["line"]
            place = f"{file.removeprefix('./')}, ligne {line}" if file else ""
            return what.strip(), place, page + 1, excerpt(lines[i : i + 8])
        for number in re.findall(r"(?:^|\s|\))\[(\d+)(?=[\s\]{]|$)", line):
            page = int(number)
    return None


def excerpt(lines):
    """L’extrait, arrêté au bilan que TeX écrit en s’arrêtant."""
    end = next((i for i, li in enumerate(lines) if li.startswith("Here is how much")), len(lines))
    return [line.rstrip() for line in lines[:end] if line.strip()]


def latex_failure(log, output):
    """Le journal d’une composition manquée → une phrase, la page, l’extrait et un remède."""
    if "No space left on device" in log + output:
        return Panne(FULL_DISK, FULL_DISK_REMEDY)
    where = f"le journal entier est dans {os.path.relpath(LATEX / NAME, ROOT)}.log."
    found = first_error(log)
    if found is None:
        for line in [line for line in output.splitlines() if line.strip()][-8:]:
            say("  | " + line)
        return Panne("La composition s’est arrêtée sans erreur de LaTeX.", where.capitalize())
    what, place, page, shown = found
    for line in shown:
        say("  | " + line)
    absent = NO_FILE.search(what)
    if absent and absent.group(1):
        return Panne(
            f"LaTeX ne trouve pas {absent.group(1)}.",
            f"Il manque un paquet de TeX Live (apt-file search {absent.group(1)}) ; {where}",
        )
    return Panne(
        f"LaTeX s’arrête vers la page {page} : {what}",
        f"{f'Voyez {place}' if place else 'L’extrait ci-dessus donne l’endroit'} ; {where}",
    )


def missing_characters(log):
    """{caractère: police} pour chaque glyphe que les polices du livre n’ont pas."""
    return {
        f"{found[1]} {found[2] or ''}".strip(): found[3].split(":")[0].strip('"[]')
        for found in map(MISSING.match, log.splitlines())
        if found
    }


def undefined(log):
    """Les renvois et citations sans cible : [(nom, page)]."""
    return sorted(set(UNDEFINED.findall(log)))


def overfull(log, more_than_pt=15.0):
    """Les largeurs, en points, des lignes qui dépassent nettement la marge."""
    widths = [float(found[1]) for found in map(OVERFULL.match, log.splitlines()) if found]
    return [width for width in widths if width > more_than_pt]


def pages(log):
    found = OUTPUT.search(log)
    return int(found[1]) if found else 0


def printed_numbers(aux):
    """{étiquette: numéro imprimé} d’après le fichier .aux."""
    return dict(re.findall(r"\\newlabel\{\\detokenize\{(.+?)\}\}\{\{([^{}]*)\}", aux)) | dict(
        re.findall(r"\\newlabel\{([^{}\\]+)\}\{\{([^{}]*)\}", aux)
    )


def wrong_numbers(expected, aux):
    """[(étiquette, numéro du site, numéro imprimé)] de ce qui diffère."""
    printed = printed_numbers(aux)
    return [
        (label, number, printed[label])
        for label, number in expected.items()
        if label in printed and printed[label] != number
    ]


def check(log):
    """Panne si le PDF a un défaut qu’un lecteur verrait ; dit ce qui n’est que laid."""
    faults = [
        f"glyphe absent : {character} dans {font}"
        for character, font in missing_characters(log).items()
    ]
    faults += [f"renvoi sans cible : {name}, page {page}" for name, page in undefined(log)]
    expected, aux = LATEX / "numeros.json", LATEX / f"{NAME}.aux"
    if expected.is_file() and aux.is_file():
        found = wrong_numbers(json.loads(expected.read_text()), aux.read_text(encoding="utf-8"))
        faults += [f"{label} : {site} sur le site, {pdf} dans le PDF" for label, site, pdf in found]
    for line in faults[:40]:
        say("  " + line)
    if faults:
        raise Panne(
            f"Le PDF a {len(faults)} défaut{'s' if len(faults) > 1 else ''}.",
            "Corrigez les lignes ci-dessus (un glyphe : \\newunicodechar dans "
            "tools/latex/bible.sty), puis relancez make pdf.",
        )
    wide = overfull(log)
    if wide:
        say(f"  À surveiller : {len(wide)} ligne(s) dépassent la marge, au plus {max(wide):.0f} pt")
