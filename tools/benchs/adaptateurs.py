"""Chapitre 13 : LoRA et QLoRA contre PEFT et bitsandbytes, sur models/nano de transformers.

Un pas : avant, arrière, AdamW, 4 suites de 128 tokens, float32. Les deux côtés partent des mêmes
adaptateurs et revoient le même lot : leurs pertes doivent être égales à un millième.

    python -m tools bench "LoRA"
"""

import functools
import tempfile
from pathlib import Path

from tools.bench import ROOT, Contest, bench, fr, measure, peak_bytes

NANO = ROOT / "models" / "nano"
B, T, RANK, RATE = 4, 128, 8, 1e-4


@functools.cache
def tokens():
    import torch

    return torch.randint(5, 4096, (B, T), generator=torch.Generator().manual_seed(0))


def base():
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)


def with_peft(model):
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=16, target_modules="all-linear"))


def with_ours(model):
    import torch

    from llmbook import lora

    torch.manual_seed(0)
    lora.inject(model, lora.LoraConfig(rank=RANK, alpha=16, targets="all-linear"))
    return model


def stepping(model):
    """Un pas d’AdamW à chaque appel ; renvoie la perte, d’avant le pas."""
    import torch

    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer, ids = torch.optim.AdamW(learned, lr=RATE, fused=True), tokens()

    def step():
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def near(slow, fast):
    return abs(slow - fast) < 1e-3 * slow


@bench("LoRA de rang 8 partout, un pas de models/nano", "peft", "llmbook.lora")
def _():
    return Contest(stepping(with_peft(base())), stepping(with_ours(base())), near)


@bench("QLoRA, un pas de models/nano en NF4", "bitsandbytes et peft", "NF4Linear et llmbook.lora")
def _():
    from llmbook.quantization_nf4 import quantize_linears

    ours = base()
    quantize_linears(ours)
    return Contest(stepping(with_peft(in_four_bits(base()))), stepping(with_ours(ours)), near)


def in_four_bits(model):
    """Les matrices des couches en Linear4bit, comme le fait BitsAndBytesConfig."""
    import bitsandbytes
    import torch
    from torch import nn

    for name, linear in list(model.named_modules()):
        if isinstance(linear, nn.Linear) and not name.endswith("lm_head"):
            layer = bitsandbytes.nn.Linear4bit(
                linear.in_features,
                linear.out_features,
                bias=False,
                compute_dtype=torch.float32,
                quant_type="nf4",
            )
            layer.weight = bitsandbytes.nn.Params4bit(
                linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
            )
            model.set_submodule(name, layer.to("cpu"))
    return model


def two_adapters():
    """Le même modèle à deux adaptateurs, chez PEFT et chez nous."""
    from peft import LoraConfig

    from llmbook import lora

    theirs, ours = with_peft(base()), with_ours(base())
    theirs.add_adapter("second", LoraConfig(r=RANK, lora_alpha=16, target_modules="all-linear"))
    lora.inject(ours, lora.LoraConfig(rank=RANK, alpha=16, targets="all-linear"), "second")
    return theirs, ours


@bench("LoRA, changer d’adaptateur deux fois", "peft, set_adapter", "llmbook.lora, set_adapter")
def _():
    from llmbook import lora

    theirs, ours = two_adapters()

    def switch(change):
        for name in ("default", "second"):
            change(name)

    return Contest(
        lambda: switch(theirs.set_adapter),
        lambda: switch(lambda name: lora.set_adapter(ours, name)),
        lambda slow, fast: theirs.active_adapter == lora.active_adapter(ours) == "second",
    )


@bench("LoRA, fondre dans les poids puis défaire", "peft", "llmbook.lora")
def _():
    from llmbook import lora

    theirs, ours = with_peft(base()), with_ours(base())

    def with_library():
        theirs.merge_adapter()
        theirs.unmerge_adapter()

    def by_hand():
        lora.merge(ours)
        lora.unmerge(ours)

    return Contest(with_library, by_hand, lambda slow, fast: True)


@bench("LoRA, un lot de 8 suites de 32 tokens, deux adaptateurs mêlés", "peft", "adapters_per_row")
def _():
    import torch

    from llmbook.lora_serving import adapters_per_row

    theirs, ours = two_adapters()
    theirs.eval(), ours.eval()
    ids, names = tokens().reshape(-1, 32)[:8], ["default", "second"] * 4

    def with_library():
        with torch.no_grad():
            return theirs(input_ids=ids, adapter_names=names).logits

    def by_hand():
        with torch.no_grad(), adapters_per_row(ours, names):
            return ours(input_ids=ids).logits

    return Contest(with_library, by_hand, lambda a, b: torch.allclose(a, b, atol=1e-3))


@measure(
    "Tenseurs au plus fort d’un pas, nano, 4 × 128 tokens, sans le modèle ni les moments d’AdamW"
)
def _():
    from llmbook.quantization_nf4 import memory_bytes, quantize_linears

    found = []
    for name in ("tout le modèle", "LoRA", "QLoRA"):
        model = base()
        if name == "QLoRA":
            quantize_linears(model)
        size = memory_bytes(model)
        step = stepping(model if name == "tout le modèle" else with_ours(model))
        step()  # les moments d’AdamW naissent au premier pas
        peak = fr(peak_bytes(step) / 1e6, 1)
        found.append(f"{name} {peak} Mo (modèle : {fr(size / 1e6, 1)} Mo)")
    return " ; ".join(found)


@measure("Sur le disque, models/nano : adaptateur de rang 8 partout, bfloat16")
def _():
    import torch

    from llmbook.lora_files import save_adapter

    with tempfile.TemporaryDirectory() as folder:
        save_adapter(with_ours(base()), folder, dtype=torch.bfloat16)
        size = (Path(folder) / "adapter_model.safetensors").stat().st_size
    whole = (NANO / "model.safetensors").stat().st_size
    return f"{size / 1e3:.0f} ko, contre {fr(whole / 1e6, 1)} Mo pour le modèle"
