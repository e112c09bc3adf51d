"""llmbook.finetuning_memory : paramètres comptés comme transformers, octets comme mesurés."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from llmbook import hf_weights, lora
from llmbook.batches_sft import Example, SupervisedBatches
from llmbook.finetuning import FinetuneConfig, finetune
from llmbook.finetuning_memory import (
    METHODS,
    NF4_BITS,
    activation_bytes,
    adapter_count,
    matrices,
    parameter_count,
    training_memory,
)
from llmbook.layers import ModelConfig
from llmbook.quantization_nf4 import memory_bytes, quantize_linears, quantize_nf4
from tools.affinage.memoire import config_of
from tools.bench import peak_bytes

MEASURES = Path(__file__).resolve().parents[1] / "book" / "_data" / "memoire_affinage.json"
SMALL = ModelConfig(512, d_model=64, n_layers=3, n_heads=4, n_kv_heads=2, d_ff=192, context=256)
LLAMA_7B = ModelConfig(32_000, 4096, 32, 32, 32, 11_008, context=4096, tie_embeddings=False)
LLAMA_70B = ModelConfig(32_000, 8192, 80, 64, 8, 28_672, context=4096, tie_embeddings=False)


def built(config, device="cpu"):
    described = hf_weights.config_to_hf(config)
    settings = AutoConfig.for_model(described.pop("model_type"), **described)
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(settings, attn_implementation="sdpa")


def prepared(config, method, rank=4):
    model = built(config)
    if method == "qlora":
        quantize_linears(model)
    if method != "full":
        lora.inject(model, lora.LoraConfig(rank=rank, alpha=8, targets="all-linear"))
    return model


# Paramètres


def test_llama_2_has_the_published_number_of_parameters():
    assert parameter_count(LLAMA_7B)[0] == 6_738_415_616
    assert parameter_count(LLAMA_70B)[0] == 68_976_648_192


@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, tie_embeddings=False), LLAMA_7B, replace(LLAMA_70B, n_layers=4)],
)
def test_parameters_equal_transformers(config):
    model = built(config, "meta")
    total, layers = parameter_count(config)
    assert total == sum(p.numel() for p in model.parameters())
    assert layers == sum(p.numel() for p in model.model.layers.parameters() if p.ndim == 2)
    block = dict(model.model.layers[0].named_parameters())
    shapes = {name.split(".")[-2]: tuple(p.shape) for name, p in block.items() if p.ndim == 2}
    assert matrices(config) == shapes


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("down_proj",)])
def test_adapter_equals_injected(targets):
    model = built(SMALL)
    lora.inject(model, lora.LoraConfig(rank=4, alpha=8, targets=targets))
    assert adapter_count(SMALL, 4, targets) == lora.count_parameters(model)[0]
    assert adapter_count(SMALL, 4) == adapter_count(SMALL, 1) * 4


def test_bits_of_nf4_are_those_stored():
    stored = quantize_nf4(torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0)))
    assert stored.bits_per_weight() == pytest.approx(NF4_BITS, abs=1e-4)


# Octets


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_those_of_a_real_model(method):
    counted = training_memory(SMALL, method, rank=4, width=4)
    assert counted.weights + counted.adapters == pytest.approx(
        memory_bytes(prepared(SMALL, method)), rel=2e-3
    )


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_peak_is_that_of_a_real_step(method, checkpointing):
    """Sur processeur, en float32 : mêmes postes, d’autres tailles de tranches."""
    model, batch_size, context = prepared(SMALL, method), 8, 128
    ids = np.random.default_rng(0).integers(5, SMALL.vocab_size, (16, context + 1))
    examples = [Example(row, np.ones(context + 1, dtype=bool)) for row in ids]
    batches = SupervisedBatches(examples, batch_size, context + 1, group_by_length=False)
    config = FinetuneConfig(steps=2, learning_rate=1e-5, gradient_checkpointing=checkpointing)
    steps = finetune(model, batches, config)
    next(steps)  # crée les moments
    counted = training_memory(
        SMALL,
        method,
        batch_size=batch_size,
        context=context,
        rank=4,
        checkpointing=checkpointing,
        width=4,
        at_once=2**21,
        decoded=2**18,
    )
    measured = peak_bytes(lambda: next(steps))
    assert max(counted.instants.values()) == pytest.approx(measured, rel=0.12)


@pytest.mark.parametrize(
    "size, margin", [("135 M", 0.06), ("1,1 G", 0.04), ("3 G", 0.03), ("7 G", 0.01)]
)
def test_count_is_what_the_card_measured(size, margin):
    rows = json.loads(MEASURES.read_text("utf-8"))["lignes"]
    rows = [row for row in rows if row["taille"] == size and row["plafond_go"] is None]
    assert len(rows) == 9
    for row in rows:
        counted = training_memory(
            config_of(size),
            row["methode"],
            batch_size=row["lot"],
            context=row["contexte"],
            checkpointing=row["recalcul"],
        )
        assert row["pointe_octets"] == pytest.approx(counted.peak, rel=margin), row
        resident = counted.weights + counted.adapters  # les moments sont jetés avec la boucle
        assert row["entre_deux_pas_octets"] == pytest.approx(resident, rel=0.03), row
        assert row["compte"] == {name: round(value) for name, value in asdict(counted).items()}
        assert row["compte_pointe"] == round(counted.peak)


def test_more_of_anything_takes_more():
    before = training_memory(LLAMA_7B, "qlora").peak
    for change in ({"context": 4096}, {"batch_size": 8}, {"rank": 64}, {"checkpointing": False}):
        assert training_memory(LLAMA_7B, "qlora", **change).peak > before
    peaks = [training_memory(LLAMA_7B, method).peak for method in METHODS]
    assert peaks == sorted(peaks, reverse=True)


def test_logits_of_a_large_batch_come_in_slices():
    two, eight = (training_memory(LLAMA_7B, context=8192, batch_size=n) for n in (2, 8))
    assert two.logits == eight.logits == 8 * 2**28
    assert activation_bytes(LLAMA_7B, 8) == 8 * activation_bytes(LLAMA_7B, 1)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"method": "dora"}, "choisir full, lora, qlora"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"context": -1}, "context=-1"),
        ({"rank": 0}, "rank=0"),
        ({"decoded": 0}, "decoded=0"),
        ({"width": 1}, "16 bits"),
        ({"method": "lora", "targets": ("qkv",)}, "cibles inconnues : qkv ; choisir parmi q_proj"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        training_memory(SMALL, **change)
