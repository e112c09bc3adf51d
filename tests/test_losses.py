"""llmbook.losses, comparé à torch, mémoire comprise."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmbook.losses import IGNORE, chunked_cross_entropy, cross_entropy, default_chunk
from tools.bench import peak_bytes

B, T, C, V = 3, 17, 8, 41


@pytest.fixture
def batch():
    """États cachés, poids de la tête, numéros, dont trois tokens ignorés."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(B, T, C), torch.randn(V, C)
    targets = torch.randint(V, (B, T))
    targets[0, :2], targets[2, -1] = IGNORE, IGNORE
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def by_torch(hidden, weight, targets, ignore_index=IGNORE, z_loss=0.0):
    logits = (hidden @ weight.T).flatten(0, -2).float()
    targets = targets.flatten()
    loss = F.cross_entropy(logits, targets, ignore_index=ignore_index)
    return loss + z_loss * logits.logsumexp(-1)[targets != ignore_index].square().mean()


def by_formula(hidden, weight, targets, **options):
    return cross_entropy(hidden @ weight.T, targets, **options)


def with_gradients(loss, *inputs):
    return loss, *torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [1, 7, 51, 1000, None])
def test_equal_torch(batch, chunk, z_loss):
    hidden, weight, _ = batch
    expected = with_gradients(by_torch(*batch, z_loss=z_loss), hidden, weight)
    for loss in (
        by_formula(*batch, z_loss=z_loss),
        chunked_cross_entropy(*batch, chunk=chunk, z_loss=z_loss),
    ):
        torch.testing.assert_close(with_gradients(loss, hidden, weight), expected)


def test_another_ignored_number(batch):
    hidden, weight, targets = batch
    targets = targets.masked_fill(targets == IGNORE, 3)  # 3 est aussi un numéro du vocabulaire
    expected = with_gradients(by_torch(hidden, weight, targets, ignore_index=3), hidden, weight)
    for loss in (
        by_formula(hidden, weight, targets, ignore_index=3),
        chunked_cross_entropy(hidden, weight, targets, chunk=5, ignore_index=3),
    ):
        torch.testing.assert_close(with_gradients(loss, hidden, weight), expected)


def test_everything_ignored_is_nan_as_in_torch(batch):
    hidden, weight, targets = batch
    targets = torch.full_like(targets, IGNORE)
    assert by_torch(hidden, weight, targets).isnan()
    assert by_formula(hidden, weight, targets).isnan()
    assert chunked_cross_entropy(hidden, weight, targets).isnan()


def test_double_precision_gradients():
    """La dérivée écrite à la main est celle de la passe avant, à 1e-6 (différences finies)."""
    torch.manual_seed(0)
    hidden = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    weight = torch.randn(7, 3, dtype=torch.double, requires_grad=True)
    targets = torch.tensor([0, 6, IGNORE, 2, 2])

    def loss(hidden, weight):
        return chunked_cross_entropy(hidden, weight, targets, chunk=2, z_loss=0.3)

    assert torch.autograd.gradcheck(loss, (hidden, weight))


def test_autocast_bfloat16(batch):
    """Sous autocast, l’écart à float32 n’est pas plus grand que celui de torch, à l’arrondi près."""
    hidden, weight, _ = batch
    exact = with_gradients(by_torch(*batch), hidden, weight)
    with torch.autocast("cpu", torch.bfloat16):
        usual = by_torch(*batch)
        chunked = chunked_cross_entropy(*batch, chunk=16)
    assert chunked.dtype == torch.float32
    usual, chunked = (with_gradients(loss, hidden, weight) for loss in (usual, chunked))
    for reference, torchs, ours in zip(exact, usual, chunked, strict=True):
        assert ours.dtype == reference.dtype
        error = (ours - reference).abs().max()
        assert 0 < error <= 1.5 * (torchs - reference).abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision(batch, dtype):
    hidden, weight, targets = batch
    half = [x.detach().to(dtype).requires_grad_() for x in (hidden, weight)]
    exact = [x.detach().float().requires_grad_() for x in half]
    ours = with_gradients(chunked_cross_entropy(*half, targets, chunk=8), *half)
    expected = with_gradients(by_torch(*exact, targets), *exact)
    assert [x.dtype for x in ours] == [torch.float32, dtype, dtype]
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine.float(), theirs, atol=3e-3, rtol=3e-2)


def test_only_what_is_wanted(batch):
    hidden, weight, targets = batch
    with torch.no_grad():
        assert not chunked_cross_entropy(*batch).requires_grad
    (d_hidden,) = torch.autograd.grad(by_torch(*batch), hidden)
    frozen = chunked_cross_entropy(hidden, weight.detach(), targets, chunk=9)
    torch.testing.assert_close(torch.autograd.grad(frozen, hidden)[0], d_hidden)
    (d_weight,) = torch.autograd.grad(by_torch(*batch), weight)
    probe = chunked_cross_entropy(hidden.detach(), weight, targets, chunk=9)
    torch.testing.assert_close(torch.autograd.grad(probe, weight)[0], d_weight)


def test_tied_embeddings():
    """Les plongements servent deux fois : leurs deux gradients s’ajoutent."""
    torch.manual_seed(0)
    tokens = torch.randint(V, (B, T))
    embed, mix = nn.Embedding(V, C), nn.Linear(C, C)

    def hidden():
        return mix(embed(tokens[:, :-1])).tanh()

    params = [embed.weight, *mix.parameters()]
    expected = with_gradients(by_torch(hidden(), embed.weight, tokens[:, 1:]), *params)
    loss = chunked_cross_entropy(hidden(), embed.weight, tokens[:, 1:], chunk=10)
    torch.testing.assert_close(with_gradients(loss, *params), expected)


def test_loss_times_a_number(batch):
    """Accumuler divise la perte par le nombre de lots : le gradient suit."""
    hidden, weight, _ = batch
    expected = torch.autograd.grad(by_torch(*batch) / 4, weight)
    loss = chunked_cross_entropy(*batch, chunk=16) / 4
    torch.testing.assert_close(torch.autograd.grad(loss, weight), expected)


def test_peak_bytes_counts_what_lives_together():
    def work():
        x = torch.empty(1000, dtype=torch.float32)
        del x
        return torch.empty(500, dtype=torch.float64), torch.empty(250, dtype=torch.float32)

    assert peak_bytes(work) == 5000


@pytest.mark.parametrize("autocast", [False, True])
def test_memory_of_all_logits_is_never_taken(autocast):
    """Octets réellement alloués, avant et arrière : la version par tranches ignore B × T × V."""
    B, T, C, V, chunk = 4, 128, 16, 2048, 64
    torch.manual_seed(0)
    hidden = torch.randn(B, T, C, requires_grad=True)
    weight, targets = torch.randn(V, C, requires_grad=True), torch.randint(V, (B, T))

    def peak(loss, *options):
        def step():
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                value = loss(hidden, weight, targets, *options)
            torch.autograd.grad(value, (hidden, weight))

        return peak_bytes(step)

    logits, slice_, small = 4 * B * T * V, 4 * chunk * V, 4 * (B * T + 2 * V) * C
    assert peak(by_torch) >= 2 * logits
    assert peak(by_formula) >= 2 * logits
    assert peak(chunked_cross_entropy, chunk) <= 3 * slice_ + 2 * small < logits
    assert peak(chunked_cross_entropy, 2 * chunk) > peak(chunked_cross_entropy, chunk)


def test_compiled(batch):
    """torch.compile suit la fonction sans rupture de graphe (le compilateur C++ n’y sert pas)."""
    hidden, weight, _ = batch
    compiled = torch.compile(chunked_cross_entropy, backend="aot_eager", fullgraph=True)
    expected = with_gradients(by_torch(*batch), hidden, weight)
    torch.testing.assert_close(with_gradients(compiled(*batch, 16), hidden, weight), expected)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("vocab_size", [2, 257, 4096, 128_256, 10**7])
def test_default_chunk(vocab_size, device):
    chunk = default_chunk(vocab_size, device)
    room = 2**21 if device == "cpu" else 2**28
    assert chunk % 128 == 0 and (chunk * vocab_size <= room or chunk == 128)


def test_bad_input(batch):
    hidden, weight, targets = batch
    for change, message in {
        "short": "un numéro par token",
        "float": "numéros entiers",
        "bool": "numéros entiers",
        "high": "le vocabulaire va de 0 à 40",
        "negative": "le vocabulaire va de 0 à 40",
    }.items():
        bad = targets.clone()
        if change in ("high", "negative"):
            bad[1, 1] = V if change == "high" else -1
        bad = {"short": bad[:, :-1], "float": bad.float(), "bool": bad > 0}.get(change, bad)
        for loss in (by_formula, chunked_cross_entropy):
            with pytest.raises(ValueError, match=message):
                loss(hidden, weight, bad)
    with pytest.raises(ValueError, match="au moins un"):
        chunked_cross_entropy(hidden[:0], weight, targets[:0])
    with pytest.raises(ValueError, match="leur dernière dimension"):
        chunked_cross_entropy(hidden, weight[:, 1:], targets)
    with pytest.raises(ValueError, match="chunk=0"):
        chunked_cross_entropy(*batch, chunk=0)
