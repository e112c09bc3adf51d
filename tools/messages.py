"""Ce que les commandes disent : des étapes, une ligne finale, et des pannes avec leur remède.

Ce fichier est lu par n’importe quel Python 3, avant que `.venv` existe : syntaxe ancienne voulue.
"""

import contextlib
import errno
import os
import sys
import time


class Panne(Exception):
    """Un arrêt prévu : une phrase qui dit ce qui se passe, une autre qui dit quoi faire."""

    def __init__(self, sentence, remedy, code=1):
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy
        self.code = code


def prepare_streams():
    """Fait sortir les accents tels quels, même sur une console Windows en cp1252."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(encoding="utf-8", errors="replace")


def say(text):
    print(text, flush=True)


def step(text):
    """Annonce une étape."""
    say("— " + text)


def duration(seconds):
    """Une durée lisible : 0,4 s ; 12 s ; 1 min 05 s."""
    if seconds < 10:
        return "{:.1f} s".format(seconds).replace(".", ",")
    if seconds < 60:
        return "{:.0f} s".format(seconds)
    minutes, rest = divmod(int(round(seconds)), 60)
    return "{} min {:02d} s".format(minutes, rest)


class Progress:
    """Une ligne qui se réécrit dans un terminal ; ailleurs, une ligne toutes les dix secondes."""

    def __init__(self, every_s=10.0):
        self.tty = sys.stdout.isatty()
        self.every_s = 0.1 if self.tty else every_s
        self.last = time.monotonic()
        self.width = 0

    def show(self, text):
        now = time.monotonic()
        if now - self.last < self.every_s:
            return
        self.last = now
        if self.tty:
            text = text[:78]
            sys.stdout.write("\r  " + text + " " * max(0, self.width - len(text)))
            sys.stdout.flush()
            self.width = len(text)
        else:
            say("  " + text)

    def close(self):
        if self.tty and self.width:
            sys.stdout.write("\r" + " " * (self.width + 2) + "\r")
            sys.stdout.flush()


FULL_DISK = "Le disque est plein."
FULL_DISK_REMEDY = (
    "Libérez de la place (`make nettoyer` enlève ce qui se reconstruit), puis relancez la même "
    "commande : elle reprend où elle s’est arrêtée."
)


def translate(error):
    """Une exception du système → une panne qui se lit, ou None si nous ne la connaissons pas."""
    if isinstance(error, Panne):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Panne("Interrompu.", "Relancez la même commande pour reprendre.", 130)
    if not isinstance(error, OSError):
        return None
    where = " ({})".format(error.filename) if error.filename else ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        return Panne(FULL_DISK, FULL_DISK_REMEDY)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Panne(
            "Écriture ou lecture refusée{}.".format(where),
            "Placez le dépôt dans un dossier qui vous appartient, ou rendez-le modifiable.",
        )
    if isinstance(error, FileNotFoundError):
        return Panne(
            "Introuvable{}.".format(where),
            "Vérifiez que le dépôt est complet (`git status`), puis relancez.",
        )
    return None


def complain(panne):
    """Écrit la panne et son remède sur la sortie d’erreur."""
    sys.stdout.flush()
    sys.stderr.write("Arrêt : {}\n  → {}\n".format(panne.sentence, panne.remedy))
    sys.stderr.flush()


def guard(function):
    """Exécute `function()` et renvoie un code de sortie ; jamais de trace brute.

    Une erreur inconnue est un défaut de nos outils : sa trace va dans `.cache/erreur.txt`.
    """
    try:
        code = function() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # le lecteur de notre sortie (head, less) est parti
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        panne = translate(error)
        if panne is None:
            panne = Panne(
                "Défaut des outils du livre : {}: {}".format(type(error).__name__, error),
                "Signalez-le en joignant {}.".format(keep_traceback()),
            )
        complain(panne)
        return panne.code


def keep_traceback():
    import traceback

    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ".cache")
    path = os.path.join(folder, "erreur.txt")
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            traceback.print_exc(file=out)
    return path
