"""Les pièces du modèle, comparées à celles de transformers et de PyTorch."""

import dataclasses

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama import modeling_llama as hf

from llmbook.layers import (
    Attention,
    Block,
    KVCache,
    ModelConfig,
    RMSNorm,
    SwiGLU,
    apply_rope,
    rms_norm,
    rope_frequencies,
    rope_tables,
)

CONFIG = ModelConfig(
    vocab_size=40, d_model=24, n_layers=2, n_heads=3, n_kv_heads=1, d_ff=40, context=64
)
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_rms_norm_equals_torch(eps):
    torch.manual_seed(0)
    ours, theirs = RMSNorm(8, eps), nn.RMSNorm(8, eps)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.normal_())
    x = torch.randn(2, 5, 8, requires_grad=True)
    weight = torch.randn(2, 5, 8)
    found = ours(x), *torch.autograd.grad((ours(x) * weight).sum(), (x, ours.weight))
    expected = theirs(x), *torch.autograd.grad((theirs(x) * weight).sum(), (x, theirs.weight))
    torch.testing.assert_close(found, expected)


def test_rms_norm_sums_squares_in_float32():
    """En float16, 300² déborde : la moyenne des carrés se fait en float32."""
    x = torch.full((1, 64), 300.0, dtype=torch.float16)
    torch.testing.assert_close(rms_norm(x, torch.ones(64, dtype=x.dtype)), torch.ones_like(x))


@pytest.mark.parametrize(
    ("head_dim", "theta", "scaling"),
    [
        (64, 10_000.0, None),
        (128, 1e6, None),
        (128, 500_000.0, LLAMA3),
        (64, 500_000.0, LLAMA3 | {"factor": 32.0}),
    ],
)
def test_rope_tables_equal_transformers(head_dim, theta, scaling):
    """Angles de Llama 2, de Qwen et de Llama 3.1 et 3.2, jusqu’à la position 9 000."""
    config = ModelConfig(
        40, n_heads=2, n_kv_heads=1, d_model=2 * head_dim, context=9_000,
        rope_theta=theta, rope_scaling=scaling,
    )  # fmt: skip
    rope = {"rope_type": "llama3" if scaling else "default", "rope_theta": theta} | (scaling or {})
    theirs = hf.LlamaRotaryEmbedding(
        LlamaConfig(
            hidden_size=2 * head_dim,
            num_attention_heads=2,
            rope_parameters=rope,
            max_position_embeddings=131_072,
        )  # fmt: skip
    )
    torch.testing.assert_close(rope_frequencies(config), theirs.inv_freq, atol=0, rtol=3e-7)
    cos, sin = rope_tables(config)
    expected = theirs(torch.zeros(1), torch.arange(9_000)[None])
    for ours, table in zip((cos, sin), expected, strict=True):
        torch.testing.assert_close(torch.cat([ours, ours], -1), table[0], atol=2e-3, rtol=0)
        near = slice(0, 512)
        torch.testing.assert_close(ours[near], table[0, near, : head_dim // 2], atol=1e-4, rtol=0)


def test_apply_rope_equals_transformers():
    torch.manual_seed(0)
    q, k = torch.randn(2, 3, 9, 8), torch.randn(2, 1, 9, 8)
    cos, sin = (table[:9] for table in rope_tables(CONFIG))
    double = (torch.cat([t, t], -1)[None] for t in (cos, sin))
    expected = hf.apply_rotary_pos_emb(q, k, *double)
    torch.testing.assert_close((apply_rope(q, cos, sin), apply_rope(k, cos, sin)), expected)


def test_rope_keeps_lengths_and_sees_distances_only():
    torch.manual_seed(0)
    q, k = torch.randn(2, 8, dtype=torch.double)
    cos, sin = (table.double() for table in rope_tables(CONFIG))

    def score(i, j):
        return (
            apply_rope(q[None], cos[i : i + 1], sin[i : i + 1])
            @ apply_rope(k[None], cos[j : j + 1], sin[j : j + 1]).T
        )

    torch.testing.assert_close(score(30, 22), score(10, 2), atol=1e-5, rtol=0)
    assert (score(30, 22) - score(30, 21)).abs() > 1e-3
    rotated = apply_rope(q[None], cos[40:41], sin[40:41])
    torch.testing.assert_close(rotated.norm(), q.norm(), atol=1e-6, rtol=0)


def test_swiglu_equals_transformers():
    torch.manual_seed(0)
    theirs = hf.LlamaMLP(LlamaConfig(hidden_size=24, num_attention_heads=3, intermediate_size=40))
    ours = SwiGLU(CONFIG)
    with torch.no_grad():
        ours.gate_up.weight.copy_(torch.cat([theirs.gate_proj.weight, theirs.up_proj.weight]))
        ours.down.weight.copy_(theirs.down_proj.weight)
    x = torch.randn(2, 5, 24)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"qk_norm": True}, {"qkv_bias": True}, {"window": 5}])
@pytest.mark.parametrize("cuts", [(1,) * 13, (7, 1, 1, 4), (4, 9)])
def test_a_cache_changes_nothing(changes, cuts):
    """Par morceaux avec le cache, ou d’un coup : mêmes sorties."""
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, **changes)
    layer = Attention(config, 1)
    x, (cos, sin) = torch.randn(2, 13, 24), rope_tables(config)
    whole = layer(x, cos[:13], sin[:13])
    cache, parts = KVCache(config, 2, 16), []
    for piece in x.split(cuts, dim=1):
        end = cache.length + piece.shape[1]
        span = slice(cache.length, end)
        parts.append(layer(piece, cos[span], sin[span], cache))
        cache.length = end
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_a_block_is_causal_and_residual():
    torch.manual_seed(0)
    block, (cos, sin) = Block(CONFIG, 0), rope_tables(CONFIG)
    x = torch.randn(1, 9, 24)
    changed = x.clone()
    changed[:, 6:] += 1
    before, after = (block(z, cos[:9], sin[:9]) for z in (x, changed))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])
    with torch.no_grad():
        for writer in (block.attention.out, block.ffn.down):
            writer.weight.zero_()
    assert torch.equal(block(x, cos[:9], sin[:9]), x)


def test_cache_crop_and_reorder():
    cache = KVCache(CONFIG, 3, 8)
    k, v = torch.randn(2, 3, 1, 5, 8)
    keys, values = cache.extend(0, k, v)
    cache.length = 5
    assert torch.equal(keys, k) and torch.equal(values, v)
    cache.reorder(torch.tensor([2, 0]))
    assert torch.equal(cache.k[0][:, :, :5], k[[2, 0]])
    cache.crop(2)
    more, _ = cache.extend(0, k[:2, :, :1], v[:2, :, :1])
    assert torch.equal(more[:, :, :2], k[[2, 0], :, :2]) and more.shape[2] == 3
    with pytest.raises(ValueError, match="length=9"):
        cache.crop(9)


@pytest.mark.parametrize("depth", range(1, 33))
def test_one_dial(depth):
    config = ModelConfig.sized(depth, 4096)
    assert config.n_layers == depth and config.head_dim == 64
    assert config.d_model == 64 * config.n_heads and config.n_heads % config.n_kv_heads == 0
    assert abs(config.d_ff / config.d_model - 8 / 3) < 0.4 and config.d_ff % 64 == 0
    if depth > 1:
        assert config.d_model >= ModelConfig.sized(depth - 1, 4096).d_model
    assert ModelConfig.sized(depth, 4096, tie_embeddings=False, d_ff=10).d_ff == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 25}, "d_model=25 n’est pas divisible par n_heads=3"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_heads=4 n’est pas divisible par n_kv_heads=3"),
        ({"head_dim": 7}, "head_dim=7"),
        ({"n_layers": 0}, "n_layers=0"),
        ({"vocab_size": -1}, "vocab_size=-1"),
        ({"context": 0}, "context=0"),
        ({"window": 0}, "window=0"),
        ({"rope_scaling": {"factor": 8.0}}, "rope_scaling sans high_freq_factor"),
    ],
)
def test_bad_config(changes, message):
    shape = dict(vocab_size=40, d_model=24, n_heads=3, n_kv_heads=1)
    with pytest.raises(ValueError, match=message):
        ModelConfig(**(shape | changes))


def test_bad_size_and_cache():
    with pytest.raises(ValueError, match="depth=0"):
        ModelConfig.sized(0, 4096)
    with pytest.raises(ValueError, match="max_tokens=65 dépasse le contexte"):
        KVCache(CONFIG, 1, 65)
    with pytest.raises(ValueError, match="au moins 1"):
        KVCache(CONFIG, 1, 0)
