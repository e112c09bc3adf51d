"""llmbook.lora, comparé à peft : sorties, gradients, un pas, poids fusionnés."""

import copy

import peft
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmbook.lora import (
    LoraConfig,
    LoraLinear,
    adapters_disabled,
    count_parameters,
    inject,
    lora_size,
    merge,
    merge_and_unload,
    set_adapter,
    trainable_parameters,
    unload,
    unmerge,
)
from llmbook.lora_layers import low_rank, row_norms
from llmbook.model import LanguageModel

VARIANTS = [
    {},
    {"rslora": True},
    {"dora": True},
    {"dropout": 0.3},
    {"dora": True, "dropout": 0.3},
    {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {r"layers\.1\.mlp\.down_proj": 3}},
]
VOCABULARY = 61


@pytest.fixture(scope="module")
def llama():
    """Un petit Llama, biais compris, aux poids assez grands pour qu’une erreur se voie."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=True,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=32)
    return GPT2LMHeadModel(config)


@pytest.fixture
def book(llama):
    torch.manual_seed(1)
    config = copy.deepcopy(llama.config)
    config.attention_bias = False
    return LanguageModel.from_hf(LlamaForCausalLM(config))


@pytest.fixture
def tokens():
    return torch.randint(VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(2))


def noise(model):
    """Des adaptateurs qui changent la sortie, comme après un entraînement."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in trainable_parameters(model):
            step = torch.randn(p.shape, generator=generator)
            p.add_(0.2 * step) if p.ndim == 2 else p.mul_(1 + 0.2 * step)


def twins(model, options, targets="all-linear"):
    """Le même modèle et les mêmes adaptateurs, par nous et par peft ; et leurs tenseurs appariés."""
    ours, theirs = copy.deepcopy(model), copy.deepcopy(model)
    names = inject(ours, LoraConfig(4, 6, targets, **options))
    renamed = dict(rslora="use_rslora", dora="use_dora", dropout="lora_dropout")
    options = {renamed.get(key, key): value for key, value in options.items()}
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets, **options)
    theirs = peft.get_peft_model(theirs, config)
    noise(ours)
    pairs = []
    for name in names:
        mine = ours.get_submodule(name).adapters["default"]
        layer = theirs.base_model.model.get_submodule(name)
        pairs.append((mine.A, layer.lora_A["default"].weight))
        pairs.append((mine.B, layer.lora_B["default"].weight))
        if mine.magnitude is not None:
            pairs.append((mine.magnitude, layer.lora_magnitude_vector["default"].weight))
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(mine)
    assert len(trainable_parameters(theirs)) == len(pairs)
    return ours, theirs, pairs


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", VARIANTS)
def test_equal_peft(llama, tokens, options):
    ours, theirs, pairs = twins(llama, options)
    optimizers = [torch.optim.AdamW(trainable_parameters(m), 1e-3) for m in (ours, theirs)]
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(4)  # le même dropout
        out = model.train()(input_ids=tokens, labels=tokens)
        out.loss.backward()
        losses.append(out.logits)
    close(*losses)
    assert all(mine.grad.abs().max() > 1e-4 for mine, _ in pairs)
    for mine, other in pairs:
        close(mine.grad, other.grad)
    for optimizer in optimizers:
        optimizer.step()
    for mine, other in pairs:
        close(mine, other)
    assert count_parameters(ours) == theirs.get_nb_trainable_parameters()
    merge_and_unload(ours)
    merged = theirs.merge_and_unload().state_dict()
    assert ours.state_dict().keys() == merged.keys()
    close(dict(ours.state_dict()), dict(merged))


def test_gpt2_equals_peft(gpt2, tokens):
    ours, theirs, _ = twins(gpt2, {})
    close(ours.eval()(tokens).logits, theirs.eval()(tokens).logits)
    with torch.no_grad():
        expected = ours(tokens).logits
        close(merge_and_unload(ours)(tokens).logits, expected)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], r".*\.1\.(mlp\.up|self_attn\.o)_proj"])
def test_targets_mean_what_they_mean_in_peft(llama, targets):
    twins(llama, {}, targets)  # elle apparie les couches une à une


def test_formulas():
    torch.manual_seed(0)
    x, A, B, W = torch.randn(2, 5, 16), torch.randn(3, 16), torch.randn(8, 3), torch.randn(8, 16)
    close(low_rank(x, A, B, 0.7), x @ (0.7 * B @ A).T)
    close(row_norms(W, A, B, 0.7), (W + 0.7 * B @ A).norm(dim=1))


@pytest.mark.parametrize("options", VARIANTS[:3])
def test_book_model(book, tokens, options):
    book.eval()
    before, weights = book(tokens), copy.deepcopy(book.state_dict())
    names = inject(book, LoraConfig(4, 6, ["qkv", "out", "gate_up", "down"], **options))
    assert names == inject(copy.deepcopy(book), LoraConfig(2), "all")  # tout sauf la tête
    close(book(tokens), before)  # B est nulle
    noise(book)
    adapted = book(tokens).detach()
    assert (adapted - before).abs().max() > 0.05
    with adapters_disabled(book):
        torch.testing.assert_close(book(tokens), before, rtol=0, atol=0)
    merge(book)
    close(book(tokens), adapted)
    unmerge(book)
    torch.testing.assert_close(book(tokens), adapted, rtol=0, atol=0)
    unload(book)
    assert book.state_dict().keys() == weights.keys()
    assert all(torch.equal(weights[key], w) for key, w in book.state_dict().items())
    assert all(p.requires_grad for p in book.parameters())


def test_merge_and_unload_gives_back_the_classes(book, tokens):
    kinds = [type(m) for m in book.modules()]
    book.embed.weight.requires_grad_(False)
    inject(book, LoraConfig(4))
    noise(book)
    adapted = book(tokens).detach()
    assert merge_and_unload(book) is book
    assert [type(m) for m in book.modules()] == kinds
    frozen = [name for name, p in book.named_parameters() if not p.requires_grad]
    assert frozen == ["embed.weight"]  # ce que le lecteur avait gelé le reste
    close(book(tokens), adapted)


def test_only_the_active_adapter_learns(book, tokens):
    inject(book, LoraConfig(2), "fr")
    noise(book)
    french = book(tokens).detach()
    inject(book, LoraConfig(3, 8, ["qkv"]), "sql")
    noise(book)
    sql = book(tokens).detach()
    F.cross_entropy(book(tokens).flatten(0, 1), tokens.flatten()).backward()
    learning = {name for name, p in book.named_parameters() if p.grad is not None}
    assert learning and all(".adapters.sql." in name for name in learning)
    set_adapter(book, "fr")
    close(book(tokens), french)
    assert not torch.allclose(french, sql)
    set_adapter(book, None)
    assert trainable_parameters(book) == []


def test_sizes(book):
    n_layers, c = book.config.n_layers, book.config
    inject(book, LoraConfig(4, targets=["down"], dora=True))
    trained, total = count_parameters(book)
    assert trained == n_layers * lora_size(c.d_model, c.d_ff, 4, dora=True)
    assert total == sum(p.numel() for p in book.parameters())
    m = n = 4096
    assert m * n / lora_size(m, n, 8) == 256


def test_generator_decides_the_start(book):
    def start():
        model = copy.deepcopy(book)
        inject(model, LoraConfig(4), generator=torch.Generator().manual_seed(5))
        return model.blocks[0].ffn.down.adapters["default"].A

    assert torch.equal(start(), start())
    bound = book.config.d_ff**-0.5  # kaiming, a = √5
    assert 0.9 * bound < start().abs().max() <= bound


# Types et bases


class Ternary(nn.Module):
    """Une base quantifiée : une matrice d’entiers, et une échelle."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("codes", (linear.weight * 10).round().clamp(-1, 1).to(torch.int8))
        self.bias = linear.bias

    def dequantize(self):
        return self.codes.float() / 10

    def forward(self, x):
        return F.linear(x, self.dequantize(), self.bias)


@pytest.mark.parametrize("dora", [False, True])
def test_quantized_base(dora):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(16, 8))
    quantized = nn.Sequential(Ternary(plain[0]))
    plain[0].weight.data = quantized[0].dequantize()
    x = torch.randn(5, 16)
    for model in (plain, quantized):
        torch.manual_seed(1)
        inject(model, LoraConfig(2, dora=dora))
        noise(model)
    close(quantized(x), plain(x))
    assert count_parameters(quantized) == count_parameters(plain)
    before = copy.deepcopy(quantized.state_dict())
    with pytest.raises(ValueError, match="Ternary est quantifiée"):
        merge(quantized)
    close(quantized.state_dict(), before)
    merge(plain)


def test_silent_base_refuses_dora():
    class Silent(nn.Module):
        in_features, out_features = 16, 8

        def forward(self, x):
            return x[..., :8]

    model = nn.Sequential(Silent())
    with pytest.raises(ValueError, match="dequantize"):
        inject(model, LoraConfig(2, dora=True))
    assert isinstance(model[0], Silent)
    assert inject(model, LoraConfig(2)) == ["0"]


@pytest.mark.parametrize("options", VARIANTS[:3])
def test_bfloat16(llama, tokens, options):
    ours, theirs, pairs = twins(copy.deepcopy(llama).bfloat16(), options)
    assert all(mine.dtype == torch.float32 for mine, _ in pairs)
    expected = theirs(tokens).logits
    assert ours(tokens).logits.dtype == torch.bfloat16
    torch.testing.assert_close(ours(tokens).logits, expected, rtol=0.05, atol=0.05)
    exact = copy.deepcopy(ours).float()
    with torch.autocast("cpu", torch.bfloat16):
        logits = exact(tokens).logits
        logits.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in trainable_parameters(exact))
    torch.testing.assert_close(logits.float(), expected.float(), rtol=0.1, atol=0.1)


def test_multihead_attention_is_left_alone():
    """Elle lit sa matrice de sortie sans appeler de forward : un adaptateur n’y servirait à rien."""
    layer = nn.TransformerEncoderLayer(16, 2, 32)
    assert inject(layer, LoraConfig(2)) == ["linear1", "linear2"]


# Mauvaises entrées : rien ne change


BAD_CONFIGS = [
    (dict(rank=0), "rank=0"),
    (dict(alpha=-1), "alpha=-1"),
    (dict(dropout=1.0), "dropout=1.0"),
    (dict(targets=[]), "au moins une fin de nom"),
    (dict(targets="*."), "motif illisible"),
]


@pytest.mark.parametrize(("options", "message"), BAD_CONFIGS)
def test_bad_config(options, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**options)


@pytest.mark.parametrize(
    ("config", "name", "message"),
    [
        (LoraConfig(targets=["q_proj"]), "b", "ce modèle offre qkv, out, gate_up, down"),
        (LoraConfig(rank=33), "b", "rank=33 dépasse la plus petite dimension de .*qkv, 32"),
        (LoraConfig(), "a", "'a' est déjà posé"),
        (LoraConfig(), "a.b", "sans point"),
        (LoraConfig(), "keys", "ne peut pas nommer"),
    ],
)
def test_bad_injection_changes_nothing(book, config, name, message):
    inject(book, LoraConfig(targets=["down"]), "a")
    before = {key: p.requires_grad for key, p in book.named_parameters()}
    with pytest.raises(ValueError, match=message):
        inject(book, config, name)
    assert {key: p.requires_grad for key, p in book.named_parameters()} == before
    assert sum(isinstance(m, LoraLinear) for m in book.modules()) == book.config.n_layers


def test_bad_merges_change_nothing(book):
    with pytest.raises(ValueError, match="aucun adaptateur actif"):
        merge(book)
    inject(book, LoraConfig(4, targets=["down", "lm_head"]), "tête")
    inject(book, LoraConfig(4), "a")
    noise(book)
    with pytest.raises(ValueError, match="rien n’est fondu"):
        unmerge(book)
    with pytest.raises(ValueError, match="inconnu : 'b' ; ce modèle a a, tête"):
        set_adapter(book, "b")
    merge(book)
    before = copy.deepcopy(book.state_dict())
    with pytest.raises(ValueError, match="'a' est fondu dans les poids"):
        merge(book)
    for forbidden in (
        lambda: inject(book, LoraConfig(), "b"),
        lambda: set_adapter(book, "tête"),
        lambda: merge_and_unload(book, "tête"),
        lambda: adapters_disabled(book).__enter__(),
    ):
        with pytest.raises(ValueError, match="appelez unmerge"):
            forbidden()
    assert all(torch.equal(before[key], w) for key, w in book.state_dict().items())
    unmerge(book)
    with torch.no_grad():
        book.blocks[1].ffn.down.adapters["a"].A[0, 0] = torch.nan
    weight = book.blocks[0].ffn.down.weight.clone()
    with pytest.raises(ValueError, match="NaN"):
        merge(book, "a")
    assert torch.equal(weight, book.blocks[0].ffn.down.weight)


def test_a_shared_head_is_not_merged(llama):
    config = copy.deepcopy(llama.config)
    config.tie_word_embeddings, config.attention_bias = True, False
    model = LanguageModel.from_hf(LlamaForCausalLM(config))
    inject(model, LoraConfig(4, targets=["lm_head"]))
    with pytest.raises(ValueError, match="lm_head : cette matrice sert aussi ailleurs"):
        merge(model)


def test_dora_survives_a_null_row():
    linear = nn.Linear(6, 4, bias=False)
    with torch.no_grad():
        linear.weight[2] = 0
    model = nn.Sequential(linear)
    inject(model, LoraConfig(rank=2, alpha=4, targets="all-linear", dora=True))
    x = torch.randn(3, 6)
    y = model(x)
    y.square().sum().backward()
    assert y.isfinite().all() and all(p.grad.isfinite().all() for p in trainable_parameters(model))
