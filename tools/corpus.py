"""La cible `corpus` : regèle les extraits de texte livrés dans `llmbook/data`."""

from pathlib import Path

from tools.corpus_samples import freeze_samples
from tools.messages import say

ROOT = Path(__file__).resolve().parent.parent


def main(_options):
    sizes = freeze_samples(ROOT)
    listed = ", ".join(f"{name} {size / 1000:.0f} ko" for name, size in sizes.items())
    say(f"Extraits regelés dans llmbook/data : {listed}. Relancez make notebooks, puis make test.")
    return 0
