"""NF4Linear, égale à Linear4bit de bitsandbytes, et QLoRA, égal à bitsandbytes avec peft."""

import logging
from functools import partial
from pathlib import Path

import pytest
import torch
from petits_modeles import tiny_llama
from torch import nn
from transformers import AutoModelForCausalLM

from llmbook.lora import LoraConfig, inject
from llmbook.model import LanguageModel
from llmbook.quantization_blocks import nf4_levels, nf4_pairs
from llmbook.quantization_double import create_dynamic_map
from llmbook.quantization_nf4 import (
    NF4Linear,
    dequantize_nf4,
    memory_bytes,
    quantize_linears,
    quantize_nf4,
)
from tools.bench import peak_bytes

NANO = Path(__file__).resolve().parents[1] / "models" / "nano"
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # un noyau facultatif qu’il n’a pas
bnb = pytest.importorskip("bitsandbytes")


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# La couche


def their_linear(linear, double=True):
    layer = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        linear.bias is not None,
        quant_type="nf4",
        compress_statistics=double,
    )
    layer.load_state_dict(linear.state_dict())
    return layer.to("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_layer_equals_linear4bit(bias, double, dtype):
    torch.manual_seed(0)
    linear = nn.Linear(128, 96, bias=bias).to(dtype)
    x = random(2, 5, 128, dtype=dtype).requires_grad_()
    theirs = their_linear(linear, double)(x)
    ours = NF4Linear.from_linear(linear, double=double)(x)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs)
    dy = random(2, 5, 96, seed=1, dtype=dtype)
    torch.testing.assert_close(torch.autograd.grad(ours, x, dy), torch.autograd.grad(theirs, x, dy))


@pytest.mark.parametrize("rows", [None, 1, 7, 30, 1000])
def test_slices_of_rows_change_nothing(rows):
    torch.manual_seed(0)
    linear = nn.Linear(40, 90)  # 40 n’est pas un multiple du bloc : les tranches en tiennent compte
    layer = NF4Linear.from_linear(linear, rows=rows)
    plain = layer.to_linear()
    x = random(3, 40).requires_grad_()
    torch.testing.assert_close(layer(x), plain(x))
    dy = random(3, 90, seed=1)
    torch.testing.assert_close(
        torch.autograd.grad(layer(x), x, dy), torch.autograd.grad(plain(x), x, dy)
    )


def test_a_single_vector_goes_through_too():
    layer = NF4Linear.from_linear(nn.Linear(40, 90), rows=30)
    x = random(40).requires_grad_()
    torch.testing.assert_close(layer(x), layer(x[None])[0])
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.dequantize().sum(0))


def test_a_bias_can_be_trained():
    layer, x = NF4Linear.from_linear(nn.Linear(64, 32)), random(2, 3, 64)
    assert not layer.bias.requires_grad
    layer.bias.requires_grad_()
    layer(x).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((32,), 6.0))


def test_default_device_does_not_reach_the_tables():
    for table in (nf4_levels, nf4_pairs, create_dynamic_map):
        table.cache_clear()
    with torch.device("meta"):
        layer = NF4Linear(64, 64)
        assert layer.codes.is_meta
        packed = quantize_nf4(torch.ones(64, device="cpu"), double=False)
    assert dequantize_nf4(packed).tolist() == [1.0] * 64


def test_gradient_is_that_of_finite_differences():
    layer = NF4Linear.from_linear(nn.Linear(12, 70), block=8, rows=20).double()
    x = random(3, 12).double().requires_grad_()
    assert layer.absmax_scale.dtype == torch.float32
    assert torch.autograd.gradcheck(layer, x)


def test_weight_is_not_kept_between_the_passes():
    """Après la passe avant, un réseau de 8 couches ne détient que ses activations."""
    layers = nn.Sequential(*(NF4Linear.from_linear(nn.Linear(256, 256, False)) for _ in range(8)))
    x = random(1, 256).requires_grad_()
    plain = nn.Parameter(random(256, 256))
    assert peak_bytes(lambda: layers(x).sum().backward()) < 3 * plain.nbytes


def test_slices_bound_the_passing_memory():
    linear = nn.Linear(1024, 1024, bias=False)
    x = random(1, 1024)
    layers = [NF4Linear.from_linear(linear, rows=rows) for rows in (1024, 64)]
    whole, sliced = (peak_bytes(partial(layer, x)) for layer in layers)
    assert whole > linear.weight.nbytes > 3 * sliced


def test_types_follow_the_input_the_autocast_or_the_order():
    linear = nn.Linear(64, 32)
    x = random(2, 64)
    layer = NF4Linear.from_linear(linear)
    assert layer(x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == nn.Linear(64, 32)(x).dtype == torch.bfloat16
    ordered = NF4Linear.from_linear(linear, compute_dtype=torch.bfloat16)
    assert ordered(x).dtype == torch.float32
    torch.testing.assert_close(ordered(x), layer(x.bfloat16()).float())


def test_changing_the_type_of_a_model_keeps_the_scales():
    layer = NF4Linear.from_linear(nn.Linear(64, 32))
    before = layer.dequantize()
    layer.bfloat16()
    assert layer.bias.dtype == torch.bfloat16 and layer.absmax_scale.dtype == torch.float32
    assert torch.equal(layer.dequantize(), before)


@pytest.mark.parametrize("double", [False, True])
def test_state_goes_through_safetensors(tmp_path, double):
    from safetensors.torch import load_file, save_file

    layer = NF4Linear.from_linear(nn.Linear(96, 33), double=double)
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = NF4Linear(96, 33, double=double)
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    assert torch.equal(other.dequantize(), layer.dequantize())
    with pytest.raises(RuntimeError, match="absmax_scale"):
        NF4Linear(96, 33, double=not double).load_state_dict(layer.state_dict())


def test_to_linear_and_back_changes_nothing():
    layer = NF4Linear.from_linear(nn.Linear(64, 48), double=False)
    plain = layer.to_linear()
    again = NF4Linear.from_linear(plain, double=False)
    assert torch.equal(again.codes, layer.codes) and torch.equal(again.absmax, layer.absmax)


# Le modèle


@pytest.mark.parametrize("tie", [False, True])
def test_all_linear_leaves_the_head(tie):
    model = tiny_llama(tie)
    before = memory_bytes(model)
    names = quantize_linears(model)
    assert len(names) == 2 * 7
    assert type(model.lm_head) is nn.Linear and (
        (model.lm_head.weight is model.model.embed_tokens.weight) == tie
    )
    saved = sum(model.get_submodule(name).packed.shape.numel() for name in names) * (4 - 4.2 / 8)
    assert memory_bytes(model) < before - saved


def test_our_model_and_theirs_agree_in_four_bits():
    """q, k et v sont fondues chez nous ; leurs blocs de 64 sont les mêmes. Restent les moyennes."""
    ours, theirs = (
        LanguageModel.from_pretrained(NANO),
        AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32),
    )
    tokens = torch.randint(4096, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = ours(tokens)
        assert len(quantize_linears(ours, double=False)) == 6 * 4
        assert len(quantize_linears(theirs, double=False)) == 6 * 7
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)
        change = (ours(tokens).log_softmax(-1) - plain.log_softmax(-1)).abs().mean()
    assert 0.01 < change < 1


def test_targets_are_ends_of_names_or_a_pattern():
    assert quantize_linears(tiny_llama(), ["q_proj", "layers.1.mlp.up_proj"]) == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.up_proj",
    ]
    assert len(quantize_linears(tiny_llama(), r".*\.1\..*_proj")) == 7


@pytest.mark.parametrize("targets", ["lm_head", ["q_proj", "lm_head"], ["attention.qkv"], []])
def test_a_target_that_matches_nothing_leaves_the_model_intact(targets):
    model = tiny_llama()
    with pytest.raises(ValueError, match="ce modèle offre q_proj"):
        quantize_linears(model, targets)
    assert not any(isinstance(m, NF4Linear) for m in model.modules())


def test_a_bad_weight_leaves_the_model_intact():
    model = tiny_llama()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="layers.1.mlp.down_proj.*nan"):
        quantize_linears(model)
    assert not any(isinstance(m, NF4Linear) for m in model.modules())


def test_qlora_gradients_are_those_of_bitsandbytes_and_peft():
    import peft

    ours, theirs = tiny_llama(), tiny_llama()
    names = quantize_linears(ours)
    for name in names:
        theirs.set_submodule(name, their_linear(theirs.get_submodule(name)))
    inject(ours, LoraConfig(rank=4, alpha=8))
    theirs.is_loaded_in_4bit = True  # ce que transformers aurait dit à peft
    described = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    theirs = peft.get_peft_model(theirs, described)
    pairs = []
    for i, name in enumerate(names):
        adapter = ours.get_submodule(name).adapters["default"]
        layer = theirs.get_submodule(f"base_model.model.{name}")
        assert isinstance(layer, peft.tuners.lora.bnb.Linear4bit)
        for mine, their in (
            (adapter.A, layer.lora_A["default"].weight),
            (adapter.B, layer.lora_B["default"].weight),
        ):
            with torch.no_grad():
                mine.copy_(random(*mine.shape, seed=i) * 0.1)
                their.copy_(mine)
            pairs.append((mine, their))
    tokens = torch.randint(90, (2, 20), generator=torch.Generator().manual_seed(0))
    losses = [model.train()(tokens, labels=tokens).loss for model in (ours, theirs)]
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
    for loss in losses:
        loss.backward()
    assert all(mine.grad.abs().max() > 0 for mine, _ in pairs)
    for mine, their in pairs:
        torch.testing.assert_close(mine.grad, their.grad, atol=1e-5, rtol=1e-5)
    assert {p for p in ours.parameters() if p.requires_grad} == {mine for mine, _ in pairs}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NF4Linear(8, 8).store(quantize_nf4(random(9, 80))), "ne vont pas"),
        (lambda: NF4Linear(8, 8).store(quantize_nf4(random(8, 8), double=False)), "ne vont pas"),
        (lambda: quantize_linears(nn.Embedding(3, 4)), "aucune nn.Linear"),
        (lambda: quantize_linears(nn.Linear(3, 4)), "aucune nn.Linear"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
