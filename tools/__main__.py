"""`python -m tools CIBLE [options]` : les mêmes cibles que `make`, sur tout système.

Ce fichier est lu par n’importe quel Python 3, avant que `.venv` existe : syntaxe ancienne voulue.
Il choisit un Python convenable, complète `.venv`, s’y relance, puis appelle le module de la cible.
"""

import importlib
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from tools import interpreter, messages  # noqa: E402

# cible : (module, ce qu’il faut installer, une phrase)
TARGETS = {
    "livre": ("tools.serve", ("book",), "construit le livre et le sert sur votre machine"),
    "test": ("tools.tests", ("book", "notebooks", "dev", "torch", "triton"), "vérifie tout"),
    "test-rapide": (
        "tools.tests",
        ("book", "notebooks", "dev", "torch", "triton"),
        "la part des vérifications qui tient en deux minutes",
    ),
    "lab": ("tools.lab", ("notebooks", "torch"), "ouvre JupyterLab en français"),
    "notebooks": (
        "tools.notebooks",
        ("notebooks", "torch"),
        "accorde book/ et notebooks/, exécute ce qui est périmé",
    ),
    "bench": ("tools.bench", ("notebooks", "torch"), "mesure les vitesses, écrit MESURES.md"),
    "modele": (
        "tools.models",
        ("book", "notebooks", "dev", "torch"),
        "entraîne les modèles livrés dans models/",
    ),
    "corpus": ("tools.corpus", ("notebooks",), "regèle les extraits de llmbook/data"),
    "pdf": ("tools.pdf", ("book",), "compose le livre en PDF (xelatex)"),
    "etat": ("tools.etat", ("book",), "compte ce que contient le livre"),
    "nettoyer": ("tools.clean", (), "enlève ce qui se reconstruit"),
}


def usage():
    lines = ["Cibles : make CIBLE, ou partout (Windows compris) : python -m tools CIBLE", ""]
    lines += ["  {:<12} {}".format(name, what) for name, (_, _, what) in TARGETS.items()]
    lines += [
        "",
        "Options de livre : PORT=8001 (un autre port), SERVE=0 (construire sans servir).",
        "Sans make : python -m tools livre --port 8001, python -m tools livre --sans-servir.",
    ]
    return "\n".join(lines)


def main(argv):
    if not argv or argv[0] in ("-h", "--help", "aide"):
        messages.say(usage())
        return 0
    target, options = argv[0], argv[1:]
    if target not in TARGETS:
        raise messages.Panne(
            "La cible « {} » n’existe pas.".format(target),
            "Choisissez parmi : {}.".format(", ".join(TARGETS)),
            2,
        )
    os.chdir(ROOT)
    module, needed, _ = TARGETS[target]

    python = interpreter.find_python()
    if not interpreter.suitable(sys.version_info):
        interpreter.hand_over(python, argv)

    from tools import environment  # à partir d’ici, Python 3.11 au moins

    if needed:
        if target == "livre":
            from tools import serve

            serve.check_options(options)  # un port occupé se dit avant dix minutes d’attente
        environment.ensure(needed, python)
        if not environment.inside():
            interpreter.hand_over([str(environment.python())], argv)
    try:
        run = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise messages.Panne(
            "La cible « {} » n’est pas encore écrite.".format(target),
            "Les autres : {}.".format(", ".join(name for name in TARGETS if name != target)),
        ) from None
    if module == "tools.tests":
        options = [target, *options]
    return run(options)


if __name__ == "__main__":
    messages.prepare_streams()
    sys.exit(messages.guard(lambda: main(sys.argv[1:])))
