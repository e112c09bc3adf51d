"""Charger un modèle livré : le temps, et la mémoire que cela prend, dans un processus neuf."""

import subprocess
import sys
from pathlib import Path

from tools.bench import Contest, bench, measure

ROOT = Path(__file__).resolve().parents[2]
OURS = "from llmbook.model import LanguageModel as M; model = M.from_pretrained({path!r})"
THEIRS = (
    "import torch; from transformers import AutoModelForCausalLM as M; "
    "model = M.from_pretrained({path!r}, dtype=torch.float32)"
)
# Un modèle minuscule, construit sans mémoire : torch charge alors 150 Mo de code, une fois pour toutes.
OURS_READY = (
    "import torch; from llmbook.model import LanguageModel as M, ModelConfig\n"
    "with torch.device('meta'): M(ModelConfig(8, d_model=8, n_heads=2, n_kv_heads=1, d_ff=8))\n"
    "pass"
)
PEAK = "; from llmbook.runtime import peak_memory_mb; print(peak_memory_mb())"


def loaders(name):
    """Les deux façons de charger models/`name`, bibliothèques déjà importées."""
    import torch
    from transformers import AutoModelForCausalLM

    from llmbook.model import LanguageModel

    folder = ROOT / "models" / name

    def with_transformers():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()

    def with_ours():
        return LanguageModel.from_pretrained(folder).state_dict()

    def same(theirs, ours):
        return torch.equal(theirs["model.embed_tokens.weight"], ours["embed.weight"])

    return Contest(with_transformers, with_ours, same)


@bench("Charger models/nano (bf16, 11 Mo) en float32", "transformers", "llmbook.model")
def load_nano():
    return loaders("nano")


@bench("Charger models/petit (int8, 29 Mo) en float32", "transformers", "llmbook.model")
def load_petit():
    return loaders("petit")


@measure("Mémoire de pointe du chargement, au-delà des imports (transformers garde l’int8)")
def loading_memory():
    return " ; ".join(f"{name} {increase(name)}" for name in ("nano", "petit"))


def increase(name):
    """Pointe de mémoire résidente, avec le modèle moins sans lui."""
    path = str(ROOT / "models" / name)
    pairs = (
        ("llmbook", OURS, OURS_READY),
        ("transformers", THEIRS, "import torch; from transformers import LlamaForCausalLM"),
    )
    found = []
    for label, load, imports in pairs:
        grown = peak(load.format(path=path)) - peak(imports)
        found.append(f"{label} {grown:.0f} Mo")
    return ", ".join(found)


def peak(code):
    done = subprocess.run(
        [sys.executable, "-c", code + PEAK], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(done.stdout.split()[-1])
