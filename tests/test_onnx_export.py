"""Le graphe ONNX calcule ce que calcule LanguageModel : logits, tokens, cache, attention."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import onnx
import torch

from llmbook import hf_weights, onnx_export
from llmbook.generation import generate
from llmbook.layers import rope_frequencies
from llmbook.model import LanguageModel, ModelConfig
from llmbook.onnx_graph import Shape
from llmbook.onnx_graph import rope_frequencies as numpy_frequencies

ROOT = Path(__file__).resolve().parents[1]
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SMALL = ModelConfig(vocab_size=97, d_model=24, n_layers=2, n_heads=3, n_kv_heads=1, d_ff=40,
                    context=64, head_dim=16)  # fmt: skip
CONFIGS = {
    "llama": SMALL,
    "llama3": replace(SMALL, tie_embeddings=False, rope_scaling=LLAMA3, rope_theta=5e5),
    "qwen2": replace(SMALL, tie_embeddings=False, qkv_bias=True, n_kv_heads=3),
    "qwen3": replace(SMALL, qk_norm=True, norm_eps=1e-6),
    "mistral": replace(SMALL, window=5, tie_embeddings=False),
}


@pytest.fixture(params=CONFIGS)
def pair(request, tmp_path):
    """Un modèle aléatoire, normes et biais compris, et le dossier de ses graphes."""
    torch.manual_seed(0)
    model = LanguageModel(CONFIGS[request.param])
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model, onnx_export.export(model, tmp_path)


def test_graphs_are_valid_and_light(pair):
    _, folder = pair
    for name in (onnx_export.DECODER, onnx_export.ATTENTION):
        onnx.checker.check_model(str(folder / name), full_check=True)
        assert (folder / name).stat().st_size < 30_000  # les poids sont à côté
        used = onnx.load(folder / name, load_external_data=False)
        assert {node.domain for node in used.graph.node} == {""}  # rien hors du jeu standard


@torch.no_grad()
def test_same_logits_in_one_or_many_reads(pair):
    model, folder = pair
    tokens = torch.randint(97, (40,)).tolist()
    expected = model(torch.tensor([tokens]))[0]
    decoder = onnx_export.OnnxDecoder(folder)
    torch.testing.assert_close(decoder.start(tokens), expected[-1], atol=1e-4, rtol=0)
    for cuts in ([1] * 40, [13, 1, 7, 19]):
        read, got = 0, []
        for size in cuts:
            piece = tokens[read : read + size]
            got.append(decoder.start(piece) if read == 0 else decoder._read(piece))
            read += size
            torch.testing.assert_close(got[-1], expected[read - 1], atol=1e-4, rtol=0)


def test_same_greedy_tokens(pair):
    model, folder = pair
    options = dict(max_tokens=40, temperature=None)
    decoder = onnx_export.OnnxDecoder(folder)
    assert generate(model, [3, 1, 4], **options) == generate(
        model, [3, 1, 4], decoder=decoder, **options
    )


@torch.no_grad()
def test_attention_is_the_one_of_transformers(pair):
    model, folder = pair
    tokens = torch.randint(97, (1, 17))
    theirs = model.to_hf()
    theirs.set_attn_implementation("eager")
    expected = torch.cat(theirs(tokens, output_attentions=True).attentions)  # (L, H, T, T)
    session = onnx_export.open_session(folder / onnx_export.ATTENTION)
    (got,) = session.run(None, {"tokens": tokens.numpy()})
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


def test_same_frequencies_without_torch():
    for config in CONFIGS.values():
        got = numpy_frequencies(hf_weights.config_to_hf(config), config.head_dim)
        np.testing.assert_allclose(got, rope_frequencies(config).numpy(), rtol=1e-6)


def test_what_is_read_is_what_the_model_reads():
    """config.json décrit le même calcul aux deux lecteurs."""
    for config in CONFIGS.values():
        s = Shape.read(hf_weights.config_to_hf(config))
        again = hf_weights.config_from_hf(hf_weights.config_to_hf(config))
        assert (s.tied, s.qkv_bias, s.qk_norm) == (
            again.tie_embeddings, again.qkv_bias, again.qk_norm
        )  # fmt: skip
        assert (s.window, s.head_dim, s.n_kv_heads) == (
            again.window, again.head_dim, again.n_kv_heads
        )  # fmt: skip


def test_the_shipped_model_writes_the_same(tmp_path):
    model = LanguageModel.from_pretrained(ROOT / "models" / "nano")
    decoder = onnx_export.OnnxDecoder(onnx_export.export(model, tmp_path))
    for prompt in ([0], [0, 300, 301, 302], list(range(40, 60))):
        options = dict(max_tokens=64, temperature=None)
        expected = generate(model, prompt, **options)
        assert generate(model, prompt, decoder=decoder, **options) == expected


def test_clear_errors():
    described = hf_weights.config_to_hf(SMALL)
    with pytest.raises(ValueError, match="gpt2"):
        onnx_export.decoder_graph(described | {"model_type": "gpt2"}, {})
    with pytest.raises(ValueError, match="yarn"):
        onnx_export.decoder_graph(described | {"rope_parameters": {"rope_type": "yarn"}}, {})
    with pytest.raises(ValueError, match="tenseur absent : model.embed_tokens.weight"):
        onnx_export.decoder_graph(described, {})


def test_the_graph_needs_no_torch():
    """La construction du livre n’a pas torch : config.json et l’en-tête des poids suffisent."""
    raw = (ROOT / "models" / "nano" / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items() if "shape" in entry}
    described = json.loads((ROOT / "models" / "nano" / "config.json").read_text(encoding="utf-8"))
    graph = onnx_export.decoder_graph(described, shapes)
    kept = {tensor.name for tensor in graph.graph.initializer if tensor.data_location}
    assert kept == set(shapes)
