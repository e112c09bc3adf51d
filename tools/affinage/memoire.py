"""La mémoire et la vitesse d’un pas d’affinage, de 5 M à 7 milliards de paramètres, sur une carte.

    python -m tools.affinage memoire                 tout ce qui tient
    python -m tools.affinage memoire --plafond 24    l’allocateur refuse au-delà de 24 Go

Les poids sont tirés au hasard : la mémoire et le temps d’un pas n’en dépendent pas. Chaque mesure
est comparée au compte de `llmbook.finetuning_memory`. Écrit book/_data/memoire_affinage.json.
"""

import argparse
import gc
import json
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

from tools.affinage.experience import ROOT
from tools.affinage.resultats import write_rows

RESULTS = ROOT / "book" / "_data" / "memoire_affinage.json"
RANK, STEPS = 16, 4
SHAPES = {  # nom : V, C, couches, têtes, têtes de clés, F, tête partagée
    "5 M": (4096, 256, 6, 4, 2, 704, True),
    "135 M": (32_000, 768, 12, 12, 4, 2048, False),
    "1,1 G": (32_000, 2048, 22, 32, 4, 5632, False),
    "3 G": (32_000, 3200, 26, 32, 32, 8640, False),
    "7 G": (32_000, 4096, 32, 32, 32, 11_008, False),
}


def main(options) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.affinage memoire", description=__doc__)
    parser.add_argument("tailles", nargs="*", help="5 M, 135 M… ; toutes par défaut")
    parser.add_argument("--plafond", type=float, help="Go que l’allocateur peut prendre")
    parser.add_argument("--methodes", default="full,lora,qlora")
    parser.add_argument("--sortie", type=Path, default=RESULTS)
    chosen = parser.parse_args(options)
    import torch

    torch.set_float32_matmul_precision("high")
    total = torch.cuda.get_device_properties(0).total_memory
    if chosen.plafond:
        torch.cuda.set_per_process_memory_fraction(chosen.plafond * 1e9 / total)
    rows = []
    for name in chosen.tailles or SHAPES:
        for method in chosen.methodes.split(","):
            for checkpointing in (True, False):
                for batch_size, context in ((1, 512), (4, 512)) if checkpointing else ((1, 512),):
                    row = attempt(name, method, checkpointing, batch_size, context)
                    row["plafond_go"] = chosen.plafond
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    found = json.loads(chosen.sortie.read_text("utf-8")) if chosen.sortie.exists() else {}
    old = [row for row in found.get("lignes", []) if key(row) not in {key(r) for r in rows}]
    found |= {
        "materiel": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "commande": "python -m tools.affinage memoire",
    }
    head = {k: v for k, v in found.items() if k != "lignes"}
    write_rows(chosen.sortie, head, [*old, *rows])
    return 0


def key(row: dict) -> tuple:
    names = ("taille", "methode", "recalcul", "lot", "contexte", "plafond_go")
    return tuple(row[name] for name in names)


def attempt(name, method, checkpointing, batch_size, context) -> dict:
    """Une mesure ; « erreur » dit pourquoi elle n’a pas pu se faire (mémoire)."""
    import torch

    from llmbook.finetuning_memory import training_memory

    config = config_of(name)
    counted = training_memory(
        config,
        method,
        batch_size=batch_size,
        context=context,
        rank=RANK,
        checkpointing=checkpointing,
    )
    row = {
        "taille": name,
        "methode": method,
        "recalcul": checkpointing,
        "lot": batch_size,
        "contexte": context,
        "compte": {k: round(v) for k, v in asdict(counted).items()},
        "compte_pointe": round(counted.peak),
    }
    try:
        row |= measured(config, method, checkpointing, batch_size, context)
    except torch.cuda.OutOfMemoryError:
        row["erreur"] = "mémoire"
    gc.collect()
    torch.cuda.empty_cache()
    return row


def config_of(name: str):
    from llmbook.layers import ModelConfig

    vocab, width, layers, heads, keys, ff, tied = SHAPES[name]
    return ModelConfig(
        vocab,
        d_model=width,
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=keys,
        d_ff=ff,
        context=2048,
        tie_embeddings=tied,
    )


def build(config, dtype, device="cuda"):
    """Un `LlamaForCausalLM` aux poids tirés au hasard, directement sur place."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from llmbook import hf_weights

    described = hf_weights.config_to_hf(config)
    settings = AutoConfig.for_model(described.pop("model_type"), **described)
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(settings, dtype=dtype, attn_implementation="sdpa")


def measured(config, method, checkpointing, batch_size, context) -> dict:
    import numpy as np
    import torch

    from llmbook import lora
    from llmbook.batches_sft import Example, SupervisedBatches
    from llmbook.finetuning import FinetuneConfig, finetune
    from llmbook.quantization_nf4 import quantize_linears

    def used() -> int:
        return torch.cuda.memory_allocated()

    torch.cuda.reset_peak_memory_stats()
    before = used()
    model = build(config, torch.float32 if method == "full" else torch.bfloat16)
    if method == "qlora":
        quantize_linears(model)
    gc.collect()
    torch.cuda.empty_cache()
    weights = used() - before
    if method != "full":
        lora.inject(model, lora.LoraConfig(rank=RANK, alpha=2 * RANK, targets="all-linear"))
    trained, total = lora.count_parameters(model)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, config.vocab_size, (8 * batch_size, context + 1))
    mask = np.ones(context + 1, dtype=bool)
    examples = [Example(row, mask) for row in ids]
    batches = SupervisedBatches(examples, batch_size, context + 1, group_by_length=False)
    settings = FinetuneConfig(
        steps=STEPS,
        precision="bfloat16",
        learning_rate=1e-5,
        gradient_checkpointing=checkpointing,
    )
    times, peaks, clock = [], [], time.perf_counter()
    for _ in finetune(model, batches, settings):
        torch.cuda.synchronize()
        times.append(time.perf_counter() - clock)
        peaks.append(torch.cuda.max_memory_allocated() - before)
        torch.cuda.reset_peak_memory_stats()
        clock = time.perf_counter()
    resident = used() - before
    return {
        "parametres": total,
        "entraines": trained,
        "poids_octets": weights,
        "entre_deux_pas_octets": resident,
        "pointe_octets": max(peaks[1:]),
        "secondes_par_pas": round(sorted(times[1:])[len(times[1:]) // 2], 5),
        "tokens_par_seconde": round(batch_size * context / sorted(times[1:])[len(times[1:]) // 2]),
    }
