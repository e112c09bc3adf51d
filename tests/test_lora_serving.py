"""llmbook.lora_serving : chaque ligne reçoit ce qu’elle aurait reçu seule ; combiner est exact."""

import copy

import peft
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from llmbook.lora import LoraConfig, adapters_disabled, inject, merge, set_adapter
from llmbook.lora_serving import adapters_per_row, combine
from llmbook.model import LanguageModel

NAMES = ["fr", "sql", None, "fr"]


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def tokens():
    return torch.randint(61, (4, 7), generator=torch.Generator().manual_seed(2))


def two_adapters(model, **options):
    """« fr » partout, de rang 4 ; « sql » sur quelques couches, de rang 3 et d’une autre échelle."""
    is_book = isinstance(model, LanguageModel)
    targets = ["qkv", "down"] if is_book else ["q_proj", "down_proj"]
    inject(model, LoraConfig(4, 8, **options), "fr")
    inject(model, LoraConfig(3, 4, targets, rslora=True), "sql")
    torch.manual_seed(3)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if ".adapters." in key:
                p.add_(0.2 * torch.randn_like(p)) if p.ndim == 2 else p.mul_(1.2)
    return model.eval()


def one_by_one(model, tokens, names):
    rows = []
    for row, name in zip(tokens, names, strict=True):
        set_adapter(model, name)
        rows.append(model(row[None]))
    return torch.cat(rows)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dora", [False, True])
def test_each_row_as_if_alone(llama, tokens, dora):
    model = two_adapters(LanguageModel.from_hf(llama), dora=dora)
    expected = one_by_one(model, tokens, NAMES)
    same = one_by_one(model, tokens, ["fr"] * 4)
    assert (expected - same).abs().amax((1, 2))[1:3].min() > 0.05  # les adaptateurs diffèrent
    with adapters_per_row(model, NAMES):
        close(model(tokens), expected)
        with torch.no_grad():
            close(model(tokens), expected)
            close(model(tokens), expected)  # les matrices empilées resservent
        with adapters_disabled(model):
            close(model(tokens), one_by_one(model, tokens, [None] * 4))
        close(model(tokens), expected)
    close(model(tokens), same)  # l’adaptateur actif répond de nouveau


def test_each_row_teaches_its_adapter(llama, tokens):
    """Les gradients d’un lot mêlé sont ceux des lignes passées une à une."""
    model = two_adapters(LanguageModel.from_hf(llama))

    def gradients(forward):
        model.zero_grad()
        logits = forward()
        logits.square().sum().backward()
        found = {k: p.grad for k, p in model.named_parameters() if ".adapters." in k}
        return {k: g.clone() for k, g in found.items() if g is not None}

    def mixed():
        with adapters_per_row(model, NAMES):
            for key, p in model.named_parameters():
                p.requires_grad_(".adapters." in key)
            return model(tokens)

    expected = {}
    for row, name in zip(tokens, NAMES, strict=True):
        set_adapter(model, name)
        if name is not None:
            for key, grad in gradients(lambda row=row: model(row[None])).items():
                expected[key] = expected.get(key, 0) + grad
    found = gradients(mixed)
    assert found.keys() == expected.keys()
    for key, grad in expected.items():
        torch.testing.assert_close(found[key], grad, rtol=1e-4, atol=1e-4 * float(grad.abs().max()))


def test_equal_peft_mixed_batch(llama, tokens):
    theirs = peft.get_peft_model(copy.deepcopy(llama), peft.LoraConfig(r=4, lora_alpha=8), "fr")
    theirs.add_adapter("sql", peft.LoraConfig(r=3, lora_alpha=4))
    ours = copy.deepcopy(llama)
    inject(ours, LoraConfig(4, 8, ["q_proj", "v_proj"]), "fr")
    inject(ours, LoraConfig(3, 4, ["q_proj", "v_proj"]), "sql")
    torch.manual_seed(3)
    for name, layer in ours.named_modules():
        for key, adapter in getattr(layer, "adapters", {}).items():
            nn.init.normal_(adapter.B, std=0.2)
            other = theirs.base_model.model.get_submodule(name)
            other.lora_A[key].weight.data.copy_(adapter.A)
            other.lora_B[key].weight.data.copy_(adapter.B)
    theirs.eval()
    expected = theirs(tokens, adapter_names=["fr", "sql", "__base__", "fr"]).logits
    with adapters_per_row(ours, NAMES):
        close(ours(tokens).logits, expected)
    combine(ours, {"fr": 0.7, "sql": 0.3}, "mix")
    theirs.add_weighted_adapter(["fr", "sql"], [0.7, 0.3], "mix", combination_type="cat")
    theirs.set_adapter("mix")
    close(ours(tokens).logits, theirs(tokens).logits)


def test_generation_of_a_mixed_batch(llama, tokens):
    model = two_adapters(copy.deepcopy(llama))
    options = dict(max_new_tokens=5, do_sample=False, pad_token_id=0)
    alone = []
    for row, name in zip(tokens, NAMES, strict=True):
        set_adapter(model, name)
        alone.append(model.generate(row[None], **options)[0])
    with adapters_per_row(model, NAMES):
        assert torch.equal(model.generate(tokens, **options), torch.stack(alone))


def test_combination_is_exact(llama):
    """Sur une matrice : ΔW du mélange = 0,7 ΔW de « fr » - 0,3 ΔW de « sql »."""
    model = two_adapters(LanguageModel.from_hf(llama))
    combine(model, {"fr": 0.7, "sql": -0.3}, "mix")
    layer = model.blocks[1].attention.qkv
    delta = {key: a.scale * a.B @ a.A for key, a in layer.adapters.items()}
    close(delta["mix"], 0.7 * delta["fr"] - 0.3 * delta["sql"])
    assert layer.active == "mix" and layer.adapters["mix"].rank == 7
    assert model.blocks[1].attention.out.adapters["mix"].rank == 4  # sans « sql »


def test_bad_input(llama, tokens):
    model = two_adapters(LanguageModel.from_hf(llama), dora=True)
    with pytest.raises(ValueError, match="inconnu : 'de'"):
        adapters_per_row(model, ["fr", "de"]).__enter__()
    with adapters_per_row(model, ["fr"]), pytest.raises(ValueError, match="lot de 4 lignes"):
        model(tokens)
    for weights, message in (
        ({}, "vide"),
        ({"de": 1.0}, "inconnu"),
        ({"fr": 1.0, "sql": 1.0}, "'fr' est DoRA"),
    ):
        with pytest.raises(ValueError, match=message):
            combine(model, weights, "mix")
    with pytest.raises(ValueError, match="déjà posé"):
        combine(model, {"sql": 1.0}, "fr")
    assert {"fr", "sql"} == {key for m in model.modules() for key in getattr(m, "adapters", {})}
    merge(model, "sql")
    with pytest.raises(ValueError, match="unmerge"):
        adapters_per_row(model, ["fr"]).__enter__()
