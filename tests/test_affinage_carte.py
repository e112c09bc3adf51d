"""L’affinage sur une carte : mêmes octets, mêmes gradients que sur le processeur."""

import numpy as np
import pytest
import torch

from llmbook import lora
from llmbook.batches_sft import Example, SupervisedBatches
from llmbook.finetuning import FinetuneConfig, finetune
from llmbook.layers import ModelConfig
from llmbook.model import LanguageModel
from llmbook.quantization_nf4 import (
    NF4Linear,
    dequantize_nf4,
    memory_bytes,
    quantize_linears,
    quantize_nf4,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="pas de carte CUDA ici"),
]
CONFIG = ModelConfig(97, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=64, context=64)
TARGETS = ("qkv", "out", "gate_up", "down")


def batches(packing: bool = False) -> SupervisedBatches:
    rng = np.random.default_rng(0)
    examples = [
        Example(rng.integers(4, 97, size), np.arange(size) >= size // 2)
        for size in rng.integers(8, 40, 24)
    ]
    return SupervisedBatches(examples, 4, 64, packing=packing)


def test_nf4_gives_the_same_bytes():
    weight = torch.randn(48, 80, generator=torch.Generator().manual_seed(0))
    here, there = quantize_nf4(weight), quantize_nf4(weight.cuda())
    assert torch.equal(dequantize_nf4(here), dequantize_nf4(there).cpu())


def test_qlora_layer_gives_the_same_gradients():
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 48, bias=False)
    x = torch.randn(5, 64)
    found = []
    for device in ("cpu", "cuda"):
        model = torch.nn.Sequential(NF4Linear.from_linear(linear).to(device))
        lora.inject(
            model,
            lora.LoraConfig(rank=4, alpha=8, targets="all-linear"),
            generator=torch.Generator().manual_seed(1),
        )
        with torch.no_grad():
            for parameter in lora.trainable_parameters(model):
                parameter.add_(0.01)
        y = x.to(device, copy=True).requires_grad_()
        model(y).square().mean().backward()
        found.append([y.grad.cpu(), *(p.grad.cpu() for p in lora.trainable_parameters(model))])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(there, here, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("transformers", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_finetuning_follows_the_cpu(packing, transformers, checkpointing):
    losses = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = LanguageModel(CONFIG)
        model = (model.to_hf() if transformers else model).to(device)
        targets = "all-linear" if transformers else TARGETS
        lora.inject(
            model,
            lora.LoraConfig(rank=4, alpha=8, targets=targets),
            generator=torch.Generator().manual_seed(0),
        )
        config = FinetuneConfig(steps=4, learning_rate=1e-2, gradient_checkpointing=checkpointing)
        losses[device] = [step.loss for step in finetune(model, batches(packing), config)]
    assert losses["cuda"] == pytest.approx(losses["cpu"], abs=2e-3)


def test_a_4_bit_model_is_small_and_learns():
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig.sized(4, 512)).to_hf().cuda().bfloat16()
    before = memory_bytes(model)
    quantize_linears(model)
    assert memory_bytes(model) < 0.5 * before
    lora.inject(model, lora.LoraConfig(rank=4, alpha=8, targets="all-linear"))
    config = FinetuneConfig(steps=12, learning_rate=1e-2, precision="bfloat16")
    steps = list(finetune(model, batches(), config))
    assert steps[-1].loss < steps[0].loss
