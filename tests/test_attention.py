"""Les trois attentions, entre elles, contre PyTorch et contre transformers : valeurs et gradients."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from llmbook.attention import alibi_bias, alibi_slopes, attention, attention_tiled, sdpa

TOLERANCE = dict(atol=1e-5, rtol=1e-5)


def tensors(B=2, H=4, Hk=4, T=37, S=37, D=8, **options):
    torch.manual_seed(0)
    shapes = (B, H, T, D), (B, Hk, S, D), (B, Hk, S, D)
    return [torch.randn(shape, requires_grad=True, **options) for shape in shapes]


def with_gradients(out, inputs, seed=1):
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
    return out, *torch.autograd.grad((out * weight.to(out)).sum(), inputs)


def by_torch(q, k, v, *, causal=True, mask=None, bias=None, alibi=None, window=None, scale=None):
    """SDPA avec un masque écrit en entier, indépendant de llmbook.attention_masks."""
    T, S = q.shape[2], k.shape[2]
    i, j = torch.arange(S - T, S)[:, None], torch.arange(S)[None, :]
    seen = torch.ones(T, S, dtype=torch.bool)
    if causal:
        seen = seen & (j <= i)
    if window:
        seen = seen & (i - j < window)
    if mask is not None:
        seen = seen & mask
    added = torch.zeros(T, S, dtype=q.dtype)
    if bias is not None:
        added = added + bias
    if alibi is not None:
        added = added - alibi[:, None, None] * (i - j).abs()
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    added = added.masked_fill(~seen, -torch.inf)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=scale)


def all_ways(*qkv, **options):
    yield attention(*qkv, **options)
    yield sdpa(*qkv, **options)
    for block in (1, 8, 32, 128):
        yield attention_tiled(*qkv, block=block, **options)


SHAPES = [(1, 1), (37, 37), (64, 64), (65, 65), (5, 70), (1, 33)]


@pytest.mark.parametrize(("T", "S"), SHAPES)
@pytest.mark.parametrize("Hk", [4, 2, 1])
def test_equal_torch(T, S, Hk):
    qkv = tensors(T=T, S=S, Hk=Hk)
    for causal, window in ((True, None), (False, None), (True, 1), (True, 6), (True, 40)):
        expected = with_gradients(by_torch(*qkv, causal=causal, window=window), qkv)
        for out in all_ways(*qkv, causal=causal, window=window):
            torch.testing.assert_close(with_gradients(out, qkv), expected, **TOLERANCE)


@pytest.mark.parametrize(
    ("B", "H", "T", "S"), list(itertools.product([1, 2], [1, 4], [1, 9], [1, 21]))
)
def test_masks_of_every_shape(B, H, T, S):
    """Un masque diffusé selon n’importe lesquelles de ses quatre dimensions ; aucune ligne vide."""
    qkv = tensors(B=2, H=4, Hk=2, T=9, S=21)
    mask = torch.rand(B, H, T, S, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[..., 0] = True
    bias = torch.randn(B, H, T, S, requires_grad=True)
    for causal, window in ((False, None), (True, None)):
        options = dict(causal=causal, window=window, mask=mask, bias=bias, scale=0.3)
        expected = with_gradients(by_torch(*qkv, **options), [*qkv, bias])
        for out in all_ways(*qkv, **options):
            torch.testing.assert_close(with_gradients(out, [*qkv, bias]), expected, **TOLERANCE)


def test_blind_queries_give_zero():
    """Remplissage à gauche : les requêtes de remplissage ne voient rien."""
    qkv = tensors(T=19, S=19, Hk=2)
    mask = torch.ones(2, 1, 1, 19, dtype=torch.bool)
    mask[0, ..., :7] = False  # le premier texte commence à 7
    mask[1] = False  # le second est tout entier du remplissage
    expected = with_gradients(by_torch(*qkv, mask=mask), qkv)
    for out in all_ways(*qkv, mask=mask):
        assert not out[0, :, :7].any() and not out[1].any() and out[0, :, 7:].all()
        found = with_gradients(out, qkv)
        torch.testing.assert_close(found, expected, **TOLERANCE)
        assert not any(gradient[1].any() for gradient in found[1:])


@pytest.mark.parametrize("n_heads", [1, 2, 3, 8, 12, 16, 20])
def test_alibi_equals_bloom(n_heads):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    T = 13
    theirs = build_alibi_tensor(torch.ones(1, T, dtype=torch.long), n_heads, torch.float32)
    # Bloom ajoute pente × position : la même chose, à une constante par ligne près
    q, k, v = qkv = tensors(B=1, H=n_heads, Hk=n_heads, T=T, S=T)
    slopes = alibi_slopes(n_heads)
    expected = with_gradients(by_torch(q, k, v, bias=theirs.view(1, n_heads, 1, T)), qkv)
    for out in all_ways(*qkv, alibi=slopes):
        torch.testing.assert_close(with_gradients(out, qkv), expected, **TOLERANCE)
    for out in all_ways(*qkv, bias=alibi_bias(n_heads, T)):
        torch.testing.assert_close(with_gradients(out, qkv), expected, **TOLERANCE)


def test_alibi_with_a_cache_a_window_and_padding():
    qkv = tensors(T=5, S=23, H=4, Hk=2)
    mask = torch.ones(2, 1, 1, 23, dtype=torch.bool)
    mask[0, ..., :15] = False
    options = dict(alibi=alibi_slopes(4), window=11, mask=mask)
    expected = with_gradients(by_torch(*qkv, **options), qkv)
    for out in all_ways(*qkv, **options):
        torch.testing.assert_close(with_gradients(out, qkv), expected, **TOLERANCE)


@pytest.mark.parametrize("window", [None, 5])
def test_equal_transformers_with_rope_groups_and_window(window):
    """La couche d’attention de Mistral, rotation, groupes et fenêtre compris."""
    from transformers import MistralConfig
    from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
    from transformers.models.mistral.modeling_mistral import (
        MistralAttention,
        MistralRotaryEmbedding,
        apply_rotary_pos_emb,
    )

    config = MistralConfig(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=2, sliding_window=window,
        attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    layer, T = MistralAttention(config, 0), 17
    x = torch.randn(2, T, 32, requires_grad=True)
    positions = torch.arange(T)[None]
    cos, sin = MistralRotaryEmbedding(config)(x, positions)
    build = create_sliding_window_causal_mask if window else create_causal_mask
    hf_mask = build(
        config=config, inputs_embeds=x, attention_mask=None, past_key_values=None,
        position_ids=positions,
    )  # fmt: skip
    theirs, _ = layer(x, (cos, sin), hf_mask)
    expected = with_gradients(theirs, [x])

    def heads(projection):
        return projection(x).view(2, T, -1, 8).transpose(1, 2)

    q, k = apply_rotary_pos_emb(heads(layer.q_proj), heads(layer.k_proj), cos, sin)
    for out in all_ways(q, k, heads(layer.v_proj), window=window):
        ours = layer.o_proj(out.transpose(1, 2).reshape(2, T, -1))
        torch.testing.assert_close(
            (ours, torch.autograd.grad((ours * weight_like(ours)).sum(), x, retain_graph=True)[0]),
            expected,
            **TOLERANCE,
        )


def weight_like(out):
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("way", [attention, sdpa, attention_tiled])
def test_the_future_changes_nothing(way):
    q, k, v = tensors(T=31, S=31)
    before = way(q, k, v)
    with torch.no_grad():
        k[:, :, 20:] += 1
        v[:, :, 20:] -= 3
    after = way(q, k, v)
    assert torch.equal(before[:, :, :20], after[:, :, :20])
    assert not torch.equal(before[:, :, 20:], after[:, :, 20:])


def test_tiled_gradient_by_finite_differences():
    q, k, v = tensors(B=1, H=2, Hk=1, T=3, S=5, D=2, dtype=torch.double)
    bias = torch.randn(1, 2, 1, 5, dtype=torch.double, requires_grad=True)

    def tiled(q, k, v, bias):
        return attention_tiled(q, k, v, bias=bias, window=4, block=2)

    assert torch.autograd.gradcheck(tiled, (q, k, v, bias))


def test_tiled_with_scores_that_overflow():
    """Des scores de ± 10⁴, croissants le long des clés : le maximum courant change à chaque tuile."""
    q, k, v = tensors(B=1, T=40, S=40, dtype=torch.double)  # float32 arrondirait ces scores
    with torch.no_grad():
        k *= torch.linspace(1, 3000, 40)[:, None]
    expected = with_gradients(by_torch(q, k, v, causal=False), [v])
    out = attention_tiled(q, k, v, causal=False, block=4)
    torch.testing.assert_close(with_gradients(out, [v]), expected, **TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_in_float32(dtype):
    q, k, v = qkv = tensors(T=65, S=65, Hk=2, dtype=dtype)
    wide = [x.detach().float().requires_grad_() for x in qkv]
    expected = with_gradients(by_torch(*wide), wide)
    for way in (attention, attention_tiled):
        found = with_gradients(way(q, k, v), qkv)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.dtype == dtype
            torch.testing.assert_close(mine, theirs.to(dtype), atol=2e-2, rtol=2e-2)


def test_tiled_under_autocast_keeps_float32():
    qkv = tensors()
    expected = attention_tiled(*qkv)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(attention_tiled(*qkv), expected, atol=0, rtol=0)


def test_values_of_another_width():
    q, k, _ = tensors(Hk=2)
    v = torch.randn(2, 2, 37, 5, requires_grad=True)
    expected = with_gradients(by_torch(q, k, v), [q, k, v])
    for out in all_ways(q, k, v):
        torch.testing.assert_close(with_gradients(out, [q, k, v]), expected, **TOLERANCE)


def test_tiled_memory_grows_as_T():
    """Octets détenus au plus : la formule quadruple quand T double, les tuiles doublent."""
    from tools.bench import peak_bytes

    def peak(way, T):
        qkv = tensors(B=1, H=2, Hk=2, T=T, S=T)
        return peak_bytes(lambda: with_gradients(way(*qkv), qkv))

    def tiled(*qkv):
        return attention_tiled(*qkv, block=16)

    assert peak(attention, 1024) > 3.5 * peak(attention, 512)
    assert peak(tiled, 1024) < 2.2 * peak(tiled, 512)
    assert peak(tiled, 1024) < peak(attention, 1024) / 20


def bad(message, change=None, *, ways=(attention, sdpa, attention_tiled), **options):
    return pytest.param(message, change, options, ways, id=message)


@pytest.mark.parametrize(
    ("message", "change", "options", "ways"),
    [
        bad("quatre dimensions", lambda q, k, v: (q[0], k, v)),
        bad("une dimension est vide", lambda q, k, v: (q[:, :, :0], k, v)),
        bad("q et k partagent B et D", lambda q, k, v: (q[:1], k, v)),
        bad("k et v partagent B", lambda q, k, v: (q, k, v[:, :, 1:])),
        bad("groupes égaux", lambda q, k, v: (q, k[:, :3], v[:, :3])),
        bad("un même type à virgule", lambda q, k, v: (q, k.double(), v)),
        bad("un même type à virgule", lambda q, k, v: (q.long(), k.long(), v.long())),
        bad("un seul périphérique", lambda q, k, v: (q, k.to("meta"), v)),
        bad("mask sur meta", mask=torch.ones(1, 1, 1, 37, dtype=torch.bool, device="meta")),
        bad("T ≤ S", lambda q, k, v: (q, k[:, :, 1:], v[:, :, 1:])),
        bad("window sans causal", window=3, causal=False),
        bad("au moins une clé visible", window=0),
        bad("ajoutez alibi_bias", alibi=alibi_slopes(4), bias=torch.zeros(1, 1, 1, 1)),
        bad("un masque booléen", mask=torch.ones(1, 1, 37, 37)),
        bad("masque de remplissage", mask=torch.ones(2, 37, dtype=torch.bool)),
        bad("égales à 1 ou à", mask=torch.ones(2, 1, 1, 36, dtype=torch.bool)),
        bad("nombres à virgule", bias=torch.zeros(1, 1, 1, 1, dtype=torch.long)),
        bad("une pente fixe par tête", alibi=alibi_slopes(8)),
        bad("une pente fixe par tête", alibi=alibi_slopes(4).requires_grad_()),
        bad("block=0", block=0, ways=(attention_tiled,)),
    ],
)
def test_bad_input(message, change, options, ways):
    q, k, v = tensors()
    q, k, v = change(q, k, v) if change else (q, k, v)
    for way in ways:
        with pytest.raises(ValueError, match=message):
            way(q, k, v, **options)


def test_bad_alibi():
    with pytest.raises(ValueError, match="au moins une tête"):
        alibi_slopes(0)
    with pytest.raises(ValueError, match="1 ≤ T ≤ S"):
        alibi_bias(4, 5, 3)
