"""La cible `corpus` : regèle l’extrait de français, tiré du texte du livre.

Les autres extraits viennent de la bibliothèque standard de CPython 3.11 ; une autre version les
changerait, et avec eux toutes les sorties enregistrées. Il faut les demander : `--tous`.
"""

from pathlib import Path

from tools.corpus_samples import freeze_samples
from tools.messages import say

ROOT = Path(__file__).resolve().parent.parent


def main(options):
    if set(options) - {"--tous"}:
        say("Une seule option : --tous (regèle aussi les extraits de la bibliothèque standard).")
        return 2
    sizes = freeze_samples(ROOT) if options else freeze_samples(ROOT, names=["francais"])
    listed = ", ".join(f"{name} {size / 1000:.0f} ko" for name, size in sizes.items())
    say(f"Extraits regelés dans llmbook/data : {listed}. Relancez make notebooks, puis make test.")
    return 0
