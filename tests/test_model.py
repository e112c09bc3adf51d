"""LanguageModel, comparé aux modèles de transformers de mêmes poids : logits, fichiers, comptes."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from llmbook import hf_weights
from llmbook.model import LanguageModel, ModelConfig

V, T = 61, 19
CLOSE = dict(atol=1e-5, rtol=1e-5)
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
}  # fmt: skip
# Les proportions des vrais modèles : têtes, groupes, biais, normes ; seule la largeur est réduite.
FAMILIES = {
    "llama-2": dict(model_type="llama", hidden_size=64, num_attention_heads=8, intermediate_size=172),
    "llama-3.1-8b": dict(
        model_type="llama", hidden_size=64, num_attention_heads=32, num_key_value_heads=8,
        intermediate_size=224, rope_parameters=LLAMA3_ROPE,
    ),
    "llama-3.2-1b": dict(
        model_type="llama", hidden_size=64, num_attention_heads=32, num_key_value_heads=8,
        intermediate_size=256, rope_parameters=LLAMA3_ROPE | {"factor": 32.0},
        tie_word_embeddings=True,
    ),
    "mistral-7b": dict(
        model_type="mistral", hidden_size=64, num_attention_heads=32, num_key_value_heads=8,
        intermediate_size=224, sliding_window=6,
    ),
    "mistral-sans-fenêtre": dict(
        model_type="mistral", hidden_size=64, num_attention_heads=8, num_key_value_heads=2,
        intermediate_size=96, head_dim=16, sliding_window=None,
    ),
    "qwen2.5-0.5b": dict(
        model_type="qwen2", hidden_size=56, num_attention_heads=14, num_key_value_heads=2,
        intermediate_size=304, tie_word_embeddings=True, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    ),
    "qwen2.5-7b": dict(
        model_type="qwen2", hidden_size=56, num_attention_heads=28, num_key_value_heads=4,
        intermediate_size=296, rms_norm_eps=1e-6,
    ),
    "qwen3-0.6b": dict(
        model_type="qwen3", hidden_size=64, num_attention_heads=16, num_key_value_heads=8,
        intermediate_size=192, head_dim=8, tie_word_embeddings=True, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    ),
}  # fmt: skip


def hf_model(name="llama-3.1-8b", **changes):
    shape = dict(FAMILIES[name]) | dict(vocab_size=V, num_hidden_layers=2) | changes
    config = AutoConfig.for_model(shape.pop("model_type"), max_position_embeddings=64, **shape)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():  # des biais et des normes qui comptent
        for key, weight in model.named_parameters():
            weight.normal_(std=0.1)
            if key.endswith("norm.weight"):
                weight.add_(1)
    return model


def like(model):
    """La classe attendue au retour : Mistral sans fenêtre est un Llama."""
    is_mistral = model.config.model_type == "mistral"
    return LlamaForCausalLM if is_mistral and not model.config.sliding_window else type(model)


def tokens(B=2, T=T):
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))


def small(**changes):
    torch.manual_seed(0)
    shape = dict(d_model=24, n_layers=2, n_heads=3, n_kv_heads=1, d_ff=40, context=32)
    return LanguageModel(ModelConfig(V, **(shape | changes)))


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_and_gradients_equal_transformers(name):
    theirs = hf_model(name)
    ours = LanguageModel.from_hf(theirs)
    x = tokens()
    torch.testing.assert_close(ours(x), theirs(x).logits, **CLOSE)
    assert ours.n_parameters() == theirs.num_parameters()
    back = ours.to_hf()
    assert type(back) is like(theirs)
    torch.testing.assert_close(back(x).logits, theirs(x).logits, **CLOSE)

    ours(x).logsumexp(-1).mean().backward()
    theirs(x).logits.logsumexp(-1).mean().backward()
    gradients = {key: p.grad for key, p in theirs.named_parameters()}
    expected = hf_weights.from_hf_names(gradients, ours.config)
    for key, p in ours.named_parameters():
        torch.testing.assert_close(p.grad, expected[key], **CLOSE)


@pytest.mark.parametrize("name", FAMILIES)
def test_files_both_ways(name, tmp_path):
    """transformers -> disque -> livre -> disque -> transformers, sans qu’un bit change."""
    theirs = hf_model(name)
    theirs.save_pretrained(tmp_path / "a", max_shard_size="50KB")  # plusieurs fichiers
    assert len(list((tmp_path / "a").glob("*.safetensors"))) > 1
    ours = LanguageModel.from_pretrained(tmp_path / "a")
    ours.save_pretrained(tmp_path / "b", torch.float32, eos_token_id=3)
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    assert type(back) is like(theirs) and back.config.eos_token_id == 3
    for key, weight in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[key], weight), key
    x = tokens()
    torch.testing.assert_close(back(x).logits, theirs(x).logits, **CLOSE)
    assert LanguageModel.from_pretrained(tmp_path / "b").config == ours.config


@pytest.mark.parametrize("tied", [True, False])
def test_our_own_model_saved_in_bfloat16(tied, tmp_path):
    ours = small(tie_embeddings=tied).bfloat16()
    folder = ours.save_pretrained(tmp_path / "nano")
    theirs, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    assert theirs.dtype == torch.bfloat16
    again = LanguageModel.from_pretrained(folder, torch.bfloat16)
    x = tokens()
    assert torch.equal(again(x), ours(x))
    wide = LanguageModel.from_pretrained(folder)
    torch.testing.assert_close(wide(x), theirs.float()(x).logits, **CLOSE)
    assert (wide.lm_head.weight is wide.embed.weight) == tied
    assert all(p.requires_grad for p in wide.parameters())


def test_from_hf_shares_no_memory():
    theirs = hf_model("llama-2")
    ours, before = LanguageModel.from_hf(theirs), theirs(tokens()).logits
    with torch.no_grad():
        for p in ours.parameters():
            p.zero_()
    assert torch.equal(theirs(tokens()).logits, before)


@pytest.mark.parametrize("name", ["llama-3.2-1b", "mistral-7b", "qwen3-0.6b"])
def test_cache_gives_the_same_logits(name):
    model = LanguageModel.from_hf(hf_model(name))
    x, cache = tokens(), None
    whole = model(x)
    cache = model.new_cache(2, T)
    parts = [model(piece, cache) for piece in x.split((8, 1, 1, 6, 1, 1, 1), dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, **CLOSE)


def test_hidden_then_head_is_forward():
    model, x = small(), tokens()
    assert torch.equal(model.lm_head(model.hidden(x)), model(x))


def test_start_of_training():
    """Perte de départ log V, et un flux résiduel qui ne grandit pas avec la profondeur."""
    x = tokens(8, 32)
    deep, shallow = small(n_layers=24), small(n_layers=2)
    loss = torch.nn.functional.cross_entropy(deep(x).flatten(0, 1), x.roll(-1).flatten())
    assert abs(loss - torch.tensor(float(V)).log()) < 0.1

    def spread(model):
        seen = []
        model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].std()))
        model(x)
        return seen[0]

    assert spread(deep) < 1.5 * spread(shallow)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_counted_as_transformers_does(tied):
    ours = small(tie_embeddings=tied)
    theirs = ours.to_hf()
    assert ours.n_parameters() == theirs.num_parameters()
    assert ours.n_parameters(embeddings=False) == theirs.num_parameters(exclude_embeddings=True)


@pytest.mark.parametrize("T", [1, 16, 32])
@pytest.mark.parametrize(
    "changes", [{}, {"tie_embeddings": False}, {"n_kv_heads": 3}, {"qk_norm": True}]
)
def test_flops_counted_on_transformers(changes, T):
    """Le compteur de PyTorch, sur le modèle de transformers : avant et arrière.

    Il voit toute la matrice T × T, là où nous comptons sa moitié causale.
    """
    ours = small(**changes)
    theirs = ours.to_hf()
    theirs.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        theirs(tokens(1, T)).logits.sum().backward()
    c = ours.config
    hidden_half = 6 * c.n_layers * c.n_heads * c.head_dim * T
    assert counter.get_total_flops() == T * (ours.flops_per_token(T) + hidden_half)


def test_flops_of_a_window():
    """Le nombre moyen de clés vues, compté une à une, à une demi-clé près."""
    c = small().config
    free, narrow = small().flops_per_token(32), small(window=4).flops_per_token(32)
    seen = sum(min(i + 1, 4) for i in range(32)) / 32
    per_key = 12 * c.n_layers * c.n_heads * c.head_dim
    assert abs((free - narrow) / per_key - (16.5 - seen)) <= 0.5
    assert small(window=32).flops_per_token(32) == free


# --- mauvaises entrées ----------------------------------------------------------------------------


def test_bad_tokens():
    model = small()
    for bad, message in {
        "high": "le vocabulaire va de 0 à 60",
        "negative": "le vocabulaire va de 0 à 60",
        "long": "33 tokens ne tiennent pas dans 32",
        "flat": r"\(B, T\) est attendu",
        "empty": r"\(B, T\) est attendu",
        "float": "int64",
        "meta": "déplacez l’un des deux",
    }.items():
        x = tokens(1, 33 if bad == "long" else 5)
        if bad in ("high", "negative"):
            x[0, 2] = V if bad == "high" else -1
        x = {"flat": x[0], "empty": x[:, :0], "float": x.float(), "meta": x.to("meta")}.get(bad, x)
        with pytest.raises(ValueError, match=message):
            model(x)
    cache = model.new_cache(1, 6)
    model(tokens(1, 5), cache)
    with pytest.raises(ValueError, match="7 tokens ne tiennent pas dans 6"):
        model(tokens(1, 2), cache)
    with pytest.raises(ValueError, match="max_tokens=33 dépasse le contexte"):
        model.new_cache(1, 33)
    with pytest.raises(ValueError, match="T=0"):
        model.flops_per_token(0)


def test_truncated_and_foreign_files(tmp_path):
    folder = small().save_pretrained(tmp_path / "m")
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, described = weights.read_bytes(), json.loads(config.read_text("utf-8"))

    def refused(message):
        with pytest.raises(ValueError, match=message):
            LanguageModel.from_pretrained(folder)

    for size in (0, 5, 200, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:size])
        refused("tronqué ou altéré")
    weights.write_bytes(whole)
    for change, message in (
        ({"hidden_size": 48}, "ces poids sont ceux d’une autre configuration"),
        ({"vocab_size": 62}, r"embed.weight a la forme \(61, 24\), le modèle attend \(62, 24\)"),
        ({"num_hidden_layers": 3}, "tenseur absent : model.layers.2"),
        ({"num_hidden_layers": 1}, "tenseurs inconnus"),
        ({"model_type": "gpt2"}, "architecture 'gpt2'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "positions étirées par 'yarn'"),
        ({"hidden_act": "gelu"}, "hidden_act=gelu"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"mlp_bias": True}, "mlp_bias=True"),
        ({"vocab_size": None}, "ne donne pas vocab_size"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
    ):
        config.write_text(json.dumps(described | change), "utf-8")
        refused(message)
    config.write_text(json.dumps(described)[:40], "utf-8")
    refused("config.json est tronqué")
    config.write_text("[]", "utf-8")
    refused("un objet JSON")
    config.write_text(json.dumps(described), "utf-8")
    weights.unlink()
    refused("ne contient aucun model")
    config.unlink()
    refused("un dossier qui contient config.json")


def test_bad_device_and_dtype(tmp_path):
    folder = small().save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="dtype=torch.int8"):
        LanguageModel.from_pretrained(folder, torch.int8)
    with pytest.raises(ValueError, match="dtype=torch.int64"):
        small().save_pretrained(tmp_path / "n", torch.int64)
    with pytest.raises(ValueError, match="n’est pas utilisable ici"):
        LanguageModel.from_pretrained(folder, device="nulle-part")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device=cuda n’est pas utilisable ici"):
            LanguageModel.from_pretrained(folder, device="cuda")


def test_shapes_without_equivalent(tmp_path):
    for changes in (dict(qk_norm=True, qkv_bias=True), dict(window=4, qk_norm=True)):
        with pytest.raises(ValueError, match="transformers"):
            small(**changes).save_pretrained(tmp_path)
