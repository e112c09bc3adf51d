"""Les optimiseurs du livre, comparés à torch.optim sur plusieurs pas."""

import copy

import pytest
import torch
from torch import nn

from llmbook.model import LanguageModel, ModelConfig
from llmbook.optim import SGD, AdamW, Muon, build_optimizers, newton_schulz

STEPS = 6


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3))


def run(model, optimizer, steps=STEPS, skip=()):
    """Plusieurs pas ; les paramètres `skip` n’ont un gradient qu’un pas sur deux."""
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        x, y = (torch.randn(7, n, generator=generator) for n in (6, 3))
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        for index in skip if step % 2 else ():
            list(model.parameters())[index].grad = None
        optimizer.step()
    return list(model.parameters())


def same_path(ours, theirs, tolerance=1e-6, **options):
    """Mêmes poids, et mêmes noms d’état : la reprise de l’un par l’autre continue pareil."""
    a, b = network(), network()
    mine, other = ours(a.parameters()), theirs(b.parameters())
    close = dict(atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(run(a, mine, **options), run(b, other, **options), **close)
    swapped = ours(a.parameters())
    state = copy.deepcopy(other.state_dict())
    swapped.load_state_dict(state | {"param_groups": swapped.state_dict()["param_groups"]})
    torch.testing.assert_close(run(a, swapped, **options), run(b, other, **options), **close)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd(momentum, weight_decay):
    options = dict(lr=0.1, momentum=momentum, weight_decay=weight_decay)
    same_path(lambda p: SGD(p, **options), lambda p: torch.optim.SGD(p, **options), skip=(1,))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("fused", [False, True])
def test_adamw(weight_decay, fused):
    options = dict(lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=weight_decay)
    same_path(
        lambda p: AdamW(p, **options),
        lambda p: torch.optim.AdamW(p, **options, fused=fused),
        skip=(0, 3),
    )


def matrices(parameters):
    return [p for p in parameters if p.ndim == 2]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon : torch 2.9")
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
def test_muon(scale, nesterov, batched):
    """Produits en bfloat16 des deux côtés ; une pile ne les arrondit pas toujours pareil."""
    options = dict(lr=0.02, weight_decay=0.1, momentum=0.9, nesterov=nesterov)
    same_path(
        lambda p: Muon(matrices(p), **options, scale=scale, batched=batched),
        lambda p: torch.optim.Muon(matrices(p), **options, adjust_lr_fn=scale),
        tolerance=2e-3,
    )


def test_muon_of_stacked_matrices_is_muon_of_each():
    torch.manual_seed(0)
    rows, whole = (8, 4, 4), nn.Parameter(torch.randn(16, 8))
    parts = [nn.Parameter(part.clone()) for part in whole.detach().split(rows)]
    gradient = torch.randn(16, 8)
    whole.grad = gradient
    for part, piece in zip(parts, gradient.split(rows), strict=True):
        part.grad = piece
    Muon([{"params": [whole], "rows": rows}]).step()
    Muon(parts).step()
    torch.testing.assert_close(whole, torch.cat(parts), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (24, 8), (8, 24), (3, 2, 12, 5)])
def test_newton_schulz_keeps_directions_and_levels_sizes(shape):
    """Valeurs singulières entre 0,6 et 1,3 ; vecteurs singuliers inchangés : X Gᵀ symétrique."""
    torch.manual_seed(0)
    G = torch.randn(shape)
    X = newton_schulz(G, dtype=torch.float32)
    sizes = torch.linalg.svdvals(X)
    well = torch.linalg.svdvals(G) > 0.05 * torch.linalg.matrix_norm(G)[..., None]
    assert sizes[well].min() > 0.6 and sizes.max() < 1.3
    product = X @ G.mT
    torch.testing.assert_close(product, product.mT, atol=1e-3, rtol=1e-3)


def test_newton_schulz_that_converges_is_the_polar_factor():
    torch.manual_seed(0)
    G = torch.randn(9, 5)
    U, _, Vh = torch.linalg.svd(G, full_matrices=False)
    X = newton_schulz(G, 30, (15 / 8, -10 / 8, 3 / 8), dtype=torch.float32)
    torch.testing.assert_close(X, U @ Vh, atol=1e-4, rtol=1e-4)


# --- à chaque paramètre le sien -------------------------------------------------------------------


def groups(optimizers):
    """Chaque paramètre -> (classe d’optimiseur, décroissance, hauteurs)."""
    return {
        p: (type(optimizer).__name__, group["weight_decay"], group.get("rows"))
        for optimizer in optimizers
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_build_muon(tied, wrapped):
    config = ModelConfig(50, 16, 2, 4, 2, 24, 32, tie_embeddings=tied, qkv_bias=True, qk_norm=True)
    model = LanguageModel(config)
    shell = nn.ModuleDict({"module": model}) if wrapped else model  # comme DDP
    placed = groups(build_optimizers(shell, weight_decay=0.1))
    assert set(placed) == set(model.parameters())
    for name, p in model.named_parameters():
        if p.ndim < 2:
            expected = ("AdamW", 0.0, None)
        elif name in ("embed.weight", "lm_head.weight"):
            expected = ("AdamW", 0.1, None)
        else:
            rows = {"qkv": (16, 8, 8), "gate_up": (24, 24)}.get(name.split(".")[-2])
            expected = ("Muon", 0.1, rows)
        assert placed[p] == expected, name


def test_build_adamw_alone_and_frozen_parameters():
    model = LanguageModel(ModelConfig(50, 16, 1, 2, 1, 24, 32))
    model.embed.weight.requires_grad_(False)
    (optimizer,) = build_optimizers(model, kind="adamw", fused=False, learning_rate=1e-3)
    placed = groups([optimizer])
    assert isinstance(optimizer, AdamW) and model.embed.weight not in placed
    assert len(placed) == len(list(model.parameters())) - 1
    assert {group["base_lr"] for group in optimizer.param_groups} == {1e-3}


@pytest.mark.parametrize(("kind", "steps"), [("muon", 1), ("adamw", 3)])  # bf16 amplifie un écart
def test_fused_and_written_adamw_take_the_same_steps(kind, steps):
    torch.manual_seed(0)
    first = LanguageModel(ModelConfig(50, 16, 1, 2, 1, 24, 32))
    second = copy.deepcopy(first)
    tokens = torch.randint(50, (2, 9))
    for model, fused in ((first, True), (second, False)):
        optimizers = build_optimizers(model, kind=kind, fused=fused)
        for _ in range(steps):
            model.zero_grad()
            model(tokens).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
    torch.testing.assert_close(list(first.parameters()), list(second.parameters()))


def test_the_loss_goes_down():
    torch.manual_seed(0)
    model, tokens = LanguageModel(ModelConfig(20, 16, 1, 2, 1, 24, 16)), torch.randint(20, (4, 17))
    optimizers, losses = build_optimizers(model), []
    for _ in range(40):
        logits = model(tokens[:, :-1])
        losses.append(nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()))
        model.zero_grad()
        losses[-1].backward()
        for optimizer in optimizers:
            optimizer.step()
    assert losses[-1] < losses[0] - 0.5


def test_closure_gives_back_its_loss():
    p = nn.Parameter(torch.ones(2))
    optimizer = SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 2 and p.tolist() == [0, 0]


def test_bad_input():
    p, m = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(4, 2))
    for build, message in {
        lambda: SGD([p], lr=-1): "lr=-1",
        lambda: SGD([p], lr=float("nan")): "lr=nan",
        lambda: SGD([p], momentum=-0.1): "momentum=-0.1",
        lambda: AdamW([p], betas=(0.9, 1.0)): "betas",
        lambda: AdamW([p], eps=-1): "eps=-1",
        lambda: Muon([p]): "des matrices",
        lambda: Muon([m], scale="autre"): "scale='autre'",
        lambda: Muon([{"params": [m], "rows": (3, 3)}]): "leur somme n’est pas 4",
        lambda: newton_schulz(torch.ones(3)): "une pile de matrices",
        lambda: build_optimizers(nn.Linear(2, 2), kind="lion"): "kind='lion'",
        lambda: build_optimizers(nn.Linear(2, 2).requires_grad_(False)): "requires_grad",
    }.items():
        with pytest.raises(ValueError, match=message):
            build()
