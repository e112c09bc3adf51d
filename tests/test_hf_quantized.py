"""Charger en 4 bits un tenseur à la fois : le même modèle qu’en quantifiant après, moins de mémoire."""

import copy
from pathlib import Path

import pytest
import torch
from petits_modeles import tiny_llama
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from llmbook.hf_quantized import load_quantized
from llmbook.quantization_nf4 import memory_bytes, quantize_linears
from tools.bench import peak_bytes

ROOT = Path(__file__).resolve().parents[1]


# Le dossier


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loading_in_four_bits_equals_quantizing_after(tmp_path, tie, dtype):
    tiny_llama(tie).save_pretrained(tmp_path, max_shard_size="50KB")
    assert len([*tmp_path.glob("*.safetensors")]) > 3
    after = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    quantize_linears(after)
    loaded = load_quantized(tmp_path, dtype=dtype)
    state = loaded.state_dict()
    assert state.keys() == after.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in after.state_dict().items())
    tokens = torch.arange(20)[None]
    assert torch.equal(loaded(tokens).logits, after(tokens).logits)
    loaded.tie_weights()
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) == tie


def test_peak_memory_is_the_small_model_plus_one_tensor(tmp_path):
    config = copy.deepcopy(tiny_llama().config)
    config.update({"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6})
    model = LlamaForCausalLM(config)
    model.save_pretrained(
        tmp_path, max_shard_size="4MB"
    )  # un fichier projeté en mémoire compte ici entier
    full, largest = memory_bytes(model), max(p.nbytes for p in model.parameters())
    small = memory_bytes(load_quantized(tmp_path))
    room = 6e6  # l’espace de travail de quantize_nf4, fixe
    assert small < full / 7
    assert peak_bytes(lambda: load_quantized(tmp_path)) < small + largest + room < full / 3


def test_bad_folders(tmp_path):
    model = tiny_llama()
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="attention.qkv"):
        load_quantized(tmp_path, ["attention.qkv"])
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="tronqué"):
        load_quantized(tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match="aucun model"):
        load_quantized(tmp_path)
    from safetensors.torch import save_file

    state = {name: value.clone() for name, value in model.state_dict().items()}
    del state["lm_head.weight"]
    norm = state.pop("model.norm.weight")
    save_file(state, file)
    with pytest.raises(ValueError, match="absents.*model.norm.weight"):
        load_quantized(tmp_path)
    save_file(state | {"model.norm.weight": norm[:3].clone()}, file)
    with pytest.raises(ValueError, match="model.norm.weight est"):
        load_quantized(tmp_path)
    save_file(state | {"model.norm.weight": norm, "model.extra": norm.clone()}, file)
    with pytest.raises(ValueError, match="model.extra n’a pas de place"):
        load_quantized(tmp_path)
    with pytest.raises(ValueError, match="déjà quantifié"):
        load_quantized(ROOT / "models" / "petit")
