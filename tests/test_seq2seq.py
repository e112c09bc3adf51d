"""L’encodeur–décodeur du livre, comparé à torch.nn.Transformer."""

import warnings

import pytest
import torch
from torch import nn

from llmbook.seq2seq import EncoderDecoder, Seq2Seq, Seq2SeqConfig, sinusoidal

B, S, T, C = 3, 7, 5, 12


def config(**changes):
    shape = dict(d_model=C, n_heads=3, n_encoder=2, n_decoder=3, d_ff=20, max_tokens=16)
    return Seq2SeqConfig(11, 9, **(shape | changes))


def reference(c: Seq2SeqConfig) -> nn.Transformer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # « enable_nested_tensor » : sans objet ici
        return nn.Transformer(
            c.d_model, c.n_heads, c.n_encoder, c.n_decoder, c.d_ff, 0.0, c.activation,
            norm_first=c.norm_first, batch_first=True,
        )  # fmt: skip


@torch.no_grad()
def shake(model):
    """Les biais nuls et les normes à un cacheraient une erreur."""
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight), alpha=0.1)
    return model


def masks():
    """Vrai où le token est réel : longueurs inégales."""
    source = torch.arange(S) < torch.tensor([7, 4, 1])[:, None]
    target = torch.arange(T) < torch.tensor([5, 5, 2])[:, None]
    return source, target


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("from_torch", [True, False])
def test_equals_torch(norm_first, activation, padded, from_torch):
    torch.manual_seed(0)
    c = config(norm_first=norm_first, activation=activation)
    ours, theirs = EncoderDecoder(c), reference(c)
    if from_torch:
        ours.load_state_dict(shake(theirs).state_dict())
    else:
        theirs.load_state_dict(shake(ours).state_dict())
    source, target = (torch.randn(B, n, C, requires_grad=True) for n in (S, T))
    source_mask, target_mask = masks() if padded else (None, None)
    hidden = {}
    if padded:  # chez torch, vrai veut dire caché
        hidden = dict(
            src_key_padding_mask=~source_mask,
            tgt_key_padding_mask=~target_mask,
            memory_key_padding_mask=~source_mask,
        )
    causal = torch.ones(T, T, dtype=torch.bool).triu(1)
    y = ours(source, target, source_mask, target_mask)
    expected = theirs(source, target, tgt_mask=causal, **hidden)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)

    weight = torch.randn_like(y)
    found, wanted = (
        torch.autograd.grad((out * weight).sum(), [source, target, *model.parameters()])
        for out, model in ((y, ours), (expected, theirs))
    )
    names = ["source", "target", *(name for name, _ in ours.named_parameters())]
    theirs_by_name = dict(zip([n for n, _ in theirs.named_parameters()], wanted[2:], strict=True))
    for name, gradient, other in zip(names, found, wanted, strict=True):
        other = theirs_by_name.get(name, other)
        torch.testing.assert_close(gradient, other, atol=1e-5, rtol=1e-5, msg=name)


def full_model(**changes):
    torch.manual_seed(1)
    return shake(Seq2Seq(config(**changes))).eval()


def tokens(rows, n, size):
    torch.manual_seed(2)
    return torch.randint(1, size, (rows, n))


def test_padding_changes_nothing():
    model, source, target = full_model(), tokens(2, 5, 11), tokens(2, 4, 9)
    padded = torch.cat([source, torch.zeros(2, 6, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(model(padded, target), model(source, target))


def test_decoder_does_not_see_the_future_but_encoder_does():
    model, source, target = full_model(), tokens(1, 6, 11), tokens(1, 5, 9)
    other = target.clone()
    other[0, 3] = target[0, 3] % 8 + 1
    before, after = model(source, target), model(source, other)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3:], before[:, 3:])
    moved = source.clone()
    moved[0, -1] = source[0, -1] % 10 + 1
    assert not torch.allclose(model.encode(moved)[0][:, 0], model.encode(source)[0][:, 0])


@pytest.mark.parametrize("norm_first", [True, False])
def test_greedy_equals_the_loop_without_cache(norm_first):
    model, source = full_model(norm_first=norm_first), tokens(4, 7, 11)
    source[1, 3:] = source[3, 1:] = 0
    written = torch.full((4, 1), 1)
    for _ in range(10):
        written = torch.cat([written, model(source, written)[:, -1:].argmax(-1)], dim=1)
    plain = written[:, 1:].tolist()
    stop = plain[0][4]  # un token que la première suite écrit vraiment
    expected = [row[: row.index(stop)] if stop in row else row for row in plain]
    assert model.greedy(source, start=1, stop=stop, max_tokens=10) == expected
    assert [model.greedy(row[None], 1, stop, 10)[0] for row in source] == expected


def test_seen_weights_are_those_of_the_attention():
    model, source, target = full_model(), tokens(2, 6, 11), tokens(2, 4, 9)
    source[1, 2:] = 0
    seen = []
    model(source, target, seen)
    assert [w.shape for w in seen] == [(2, 3, 4, 6)] * 3
    for weights in seen:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 4))
        assert (weights[1, :, :, 2:] == 0).all()
    layer, memory = model.layers.decoder.layers[0].multihead_attn, torch.randn(2, 6, C)
    x, mask = torch.randn(2, 4, C), source != 0
    k, v = layer.keys_values(memory)
    y = (layer.weights(x, k, mask) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer.out_proj(y), layer(x, k, v, mask=mask))


def test_sinusoidal_follows_the_paper():
    table = sinusoidal(20, 8)
    for position, channel in ((0, 1), (3, 4), (17, 7)):
        angle = torch.tensor(position / 10_000 ** (2 * (channel // 2) / 8))
        expected = angle.cos() if channel % 2 else angle.sin()
        torch.testing.assert_close(table[position, channel], expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: config(d_model=10), "n_heads=3"),
        (lambda: config(d_model=9), "pair"),
        (lambda: config(n_decoder=0), "n_decoder=0"),
        (lambda: config(activation="swiglu"), "relu ou gelu"),
        (lambda: sinusoidal(4, 5), "pair"),
        (lambda: full_model()(tokens(1, 17, 11), tokens(1, 3, 9)), "max_tokens=16"),
        (lambda: full_model()(tokens(1, 3, 11) + 10, tokens(1, 3, 9)), "de 0 à 10"),
        (lambda: full_model()(tokens(1, 3, 11).float(), tokens(1, 3, 9)), "int64"),
        (lambda: full_model()(tokens(1, 3, 11)[0], tokens(1, 3, 9)), r"\(B, T\)"),
        (lambda: full_model()(torch.zeros(1, 3, dtype=torch.int64), tokens(1, 3, 9)), "PAD"),
        (lambda: full_model().greedy(tokens(1, 3, 11), 1, 2, 17), "entre 1 et 16"),
    ],
)
def test_wrong_inputs_are_explained(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
