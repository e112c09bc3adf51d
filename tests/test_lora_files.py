"""llmbook.lora_files : des adaptateurs échangés avec peft, dans les deux sens."""

import copy
import json
import shutil
import warnings

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmbook.lora import (
    LoraConfig,
    LoraLinear,
    inject,
    merge,
    merge_and_unload,
    set_adapter,
    trainable_parameters,
)
from llmbook.lora_files import load_adapter, save_adapter
from llmbook.lora_fingerprint import fingerprint
from llmbook.model import LanguageModel

TOKENS = torch.randint(61, (2, 7), generator=torch.Generator().manual_seed(2))
VARIANTS = [{}, {"use_rslora": True}, {"use_dora": True}]
TARGETS = ["all-linear", ["q_proj", "v_proj"], r".*\.1\.(self_attn\.k_proj|mlp\.up_proj)"]


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
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def book(llama):
    return LanguageModel.from_hf(llama).eval()


@pytest.fixture
def folder(book, tmp_path):
    """Un adaptateur écrit par nous."""
    model = copy.deepcopy(book)
    inject(model, LoraConfig(4, 6))
    noise(model)
    return save_adapter(model, tmp_path / "fr")


def noise(model):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in trainable_parameters(model):
            step = torch.randn(p.shape, generator=generator)
            p.add_(0.2 * step) if p.ndim == 2 else p.mul_(1 + 0.2 * step)
    return model


def logits(model):
    out = model(TOKENS)
    return out if isinstance(out, torch.Tensor) else out.logits


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def by_peft(model, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # une clé absente y serait un avertissement
        return peft.PeftModel.from_pretrained(copy.deepcopy(model), folder).eval()


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("options", VARIANTS)
def test_from_peft_and_back(llama, book, tmp_path, options, targets):
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets, **options)
    theirs = noise(peft.get_peft_model(copy.deepcopy(llama), config)).eval()
    theirs.save_pretrained(tmp_path / "peft")
    expected = logits(theirs).detach()
    assert (expected - logits(llama)).abs().max() > 1e-3
    for number, model in enumerate((copy.deepcopy(llama), book)):
        assert load_adapter(model, tmp_path / "peft") == "default"
        close(logits(model), expected)
        again = save_adapter(model, tmp_path / f"{number}")
        close(logits(by_peft(llama, again)), expected)
        merge(model)
        close(logits(model), expected)


@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"dora": True}])
@pytest.mark.parametrize("targets", ["all-linear", ["qkv"], r".*\.1\.ffn\.\w+"])
def test_book_model_keeps_its_rank(llama, book, tmp_path, options, targets):
    """Ce que nous écrivons, peft le lit ; et nous le relisons bit à bit."""
    model = copy.deepcopy(book)
    inject(model, LoraConfig(4, 6, targets, **options), "fr")
    noise(model)
    folder = save_adapter(model, tmp_path, "fr", base_name="moi/nano")
    close(logits(by_peft(llama, folder)), logits(model))
    assert load_adapter(book, folder) == "fr"
    ours, again = model.state_dict(), book.state_dict()
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[key], again[key]) for key in ours)
    described = json.loads((folder / "adapter_config.json").read_text())
    assert (described["r"], described["lora_alpha"]) == (4, 6)
    assert described["base_model_name_or_path"] == "moi/nano"
    twin = copy.deepcopy(llama)
    load_adapter(twin, folder)
    close(logits(twin), logits(model))


def test_targets_are_short_when_they_can_be(book, tmp_path):
    def targets(wanted):
        model = copy.deepcopy(book)
        inject(model, LoraConfig(2, targets=wanted))
        folder = save_adapter(model, tmp_path)
        return json.loads((folder / "adapter_config.json").read_text())["target_modules"]

    assert targets(["qkv", "down"]) == ["down_proj", "k_proj", "q_proj", "v_proj"]
    assert targets(r".*\.1\..*down") == ["model.layers.1.mlp.down_proj"]


def test_ranks_and_alphas_that_vary(llama, book, tmp_path):
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules="all-linear",
        rank_pattern={"k_proj": 2, r"layers\.1\.mlp\.up_proj": 3},
        alpha_pattern={"v_proj": 5},
    )
    theirs = noise(peft.get_peft_model(copy.deepcopy(llama), config)).eval()
    theirs.save_pretrained(tmp_path)
    load_adapter(book, tmp_path)
    assert book.blocks[0].attention.qkv.adapters["default"].rank == 4 + 2 + 4
    close(logits(book), logits(theirs))
    folder = save_adapter(book, tmp_path / "nous")
    close(logits(by_peft(llama, folder)), logits(theirs))


def test_two_adapters_side_by_side(llama, book, tmp_path):
    expected = {}
    for rank, name in ((2, "fr"), (3, "sql")):
        theirs = peft.get_peft_model(
            copy.deepcopy(llama), peft.LoraConfig(r=rank, target_modules=["q_proj", "up_proj"])
        )
        noise(theirs).eval().save_pretrained(tmp_path / name)
        expected[name] = logits(theirs)
        load_adapter(book, tmp_path / name, name)
    for name in ("fr", "sql"):
        set_adapter(book, name)
        close(logits(book), expected[name])
        save_adapter(book, tmp_path / f"{name}-2", name)
        close(logits(by_peft(llama, tmp_path / f"{name}-2")), expected[name])


def test_gpt2(tmp_path):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=32)
    gpt2 = GPT2LMHeadModel(config).eval()
    ours = copy.deepcopy(gpt2)
    inject(ours, LoraConfig(4, targets=["c_attn", "mlp.c_proj"]))
    folder = save_adapter(noise(ours), tmp_path)
    close(logits(by_peft(gpt2, folder)), logits(ours))


def test_dtype(book, folder, tmp_path):
    load_adapter(book, folder)
    save_adapter(book, tmp_path, dtype=torch.bfloat16)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}


# L’empreinte


def test_fingerprint_sees_the_weights_and_nothing_else(llama, book):
    expected = fingerprint(llama)
    assert len(expected) == sum(1 for _ in llama.parameters())
    assert fingerprint(copy.deepcopy(llama).bfloat16()) == expected
    assert fingerprint(book) == expected
    inject(book, LoraConfig(2))
    noise(book)
    assert fingerprint(book) == expected
    merge_and_unload(book)
    changed = {name for name, value in fingerprint(book).items() if value != expected[name]}
    assert changed == {name for name in expected if "_proj" in name}


def unchanged(model, load, message):
    """`load` est refusé, et le modèle n’a pas bougé."""
    before = {key: (w.clone(), w.requires_grad) for key, w in model.named_parameters()}
    with pytest.raises(ValueError, match=message):
        load()
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(
        torch.equal(w, after[k]) and g == after[k].requires_grad for k, (w, g) in before.items()
    )
    assert not any(isinstance(m, LoraLinear) for m in model.modules())


def test_another_base(book, folder):
    with torch.no_grad():
        book.blocks[1].ffn.down.weight.mul_(1.01)
    unchanged(
        book, lambda: load_adapter(book, folder), "autre base .*: 1 sur 20, dont .*1.mlp.down_proj"
    )
    assert load_adapter(book, folder, check_base=False) == "default"


def test_base_name_without_fingerprint(llama, tmp_path):
    peft.get_peft_model(copy.deepcopy(llama), peft.LoraConfig()).save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    described = json.loads(file.read_text()) | {"base_model_name_or_path": "autre/base"}
    file.write_text(json.dumps(described))
    model = copy.deepcopy(llama)
    model.config._name_or_path = "moi/nano"
    with pytest.warns(UserWarning, match="entraîné sur 'autre/base', modèle 'moi/nano'"):
        load_adapter(model, tmp_path)


# Mauvaises entrées


def edited(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def retensored(folder, change):
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


DOWN = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"
DAMAGES = [
    (lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json est attendu"),
    (lambda f: (f / "adapter_config.json").write_text('{"r": '), "tronqué"),
    (lambda f: (f / "adapter_config.json").write_text("[]"), "seul LORA"),
    (lambda f: (f / "adapter_model.safetensors").unlink(), "ne contient pas"),
    (lambda f: (f / "adapter_model.safetensors").write_bytes(b"abc"), "tronqué"),
    (lambda f: edited(f, peft_type="IA3"), "'IA3', seul LORA"),
    (lambda f: edited(f, r=None), "ne donne pas r"),
    (lambda f: edited(f, r=5), "d’un autre rang"),
    (lambda f: edited(f, bias="all"), "bias='all'"),
    (lambda f: edited(f, modules_to_save=["lm_head"]), "modules_to_save"),
    (lambda f: edited(f, init_lora_weights="pissa"), "'pissa'"),
    (lambda f: edited(f, use_dora=True), "magnitude manque"),
    (lambda f: retensored(f, lambda t: t.pop(DOWN)), "A manque"),
    (lambda f: retensored(f, lambda t: t.update({DOWN: torch.ones(4, 9)})), "forme"),
    (
        lambda f: retensored(f, lambda t: t.update({"x.lora_A.weight": torch.ones(4, 9)})),
        "inconnue.*: x",
    ),
    (
        lambda f: retensored(f, lambda t: t.update({"x.lora_E": torch.ones(4)})),
        "tenseur inconnu : x",
    ),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damaged_folder(book, folder, damage, message):
    damage(folder)
    unchanged(book, lambda: load_adapter(book, folder), message)


def test_bad_calls(book, folder, tmp_path):
    unchanged(book, lambda: load_adapter(book, folder, "a.b"), "sans point")
    load_adapter(book, folder, "fr")
    with pytest.raises(ValueError, match="déjà posé"):
        load_adapter(book, folder, "fr")
    shutil.rmtree(folder)
    for name, dtype, message in (("de", None, "inconnu"), ("fr", torch.int8, "dtype")):
        with pytest.raises(ValueError, match=message):
            save_adapter(book, folder, name, dtype=dtype)
    merge(book)
    with pytest.raises(ValueError, match="appelez unmerge"):
        save_adapter(book, folder, "fr")
    assert not folder.exists()
