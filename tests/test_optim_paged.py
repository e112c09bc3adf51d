"""llmbook.optim_paged : les pas de torch.optim.AdamW, les moments hors de la mémoire de travail."""

import re
import sys
from pathlib import Path

import pytest
import torch

from llmbook.optim import AdamW
from llmbook.optim_paged import PagedAdamW
from tools.bench import peak_bytes

SETTINGS = dict(lr=3e-3, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)


def weights(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shapes]


def walk(optimizer, params, first=0, last=5):
    """Quelques pas aux gradients tirés au sort, les mêmes pour un même numéro de pas."""
    for number in range(first, last):
        generator = torch.Generator().manual_seed(number)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optimizer.step()


@pytest.fixture(params=["hôte", "fichier"])
def folder(request, tmp_path):
    return None if request.param == "hôte" else tmp_path


@pytest.mark.parametrize("page", [2, 7, 10_000])
def test_equal_torch(folder, page):
    shapes = [(5, 3), (4,), ()]
    ours, theirs = weights(*shapes), weights(*shapes)
    walk(PagedAdamW(ours, **SETTINGS, folder=folder, page=page), ours)
    walk(torch.optim.AdamW(theirs, **SETTINGS), theirs)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_groups_and_absent_gradients(folder):
    def groups(params):
        return [{"params": params[:1], "lr": 0.1}, {"params": params[1:], "weight_decay": 0.0}]

    ours, theirs = weights((3, 2), (4,), (2,)), weights((3, 2), (4,), (2,))
    optimizers = PagedAdamW(groups(ours), folder=folder), torch.optim.AdamW(groups(theirs))
    for optimizer, params in zip(optimizers, (ours, theirs), strict=True):
        walk(optimizer, params[:2])  # le troisième poids n’a jamais de gradient
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    assert ours[2] not in optimizers[0].state


@pytest.mark.parametrize("other", [torch.optim.AdamW, AdamW, PagedAdamW])
def test_state_goes_back_and_forth(folder, other):
    """Trois pas, l’état passe d’un optimiseur à l’autre, trois pas : autant que six d’affilée."""
    straight, moved = weights((5, 3), (4,)), weights((5, 3), (4,))
    walk(torch.optim.AdamW(straight, **SETTINGS), straight, 0, 9)
    paged = PagedAdamW(moved, **SETTINGS, folder=folder, page=4)
    walk(paged, moved, 0, 3)
    second = other(moved, **SETTINGS)
    second.load_state_dict(paged.state_dict())
    walk(second, moved, 3, 6)
    third = PagedAdamW(moved, folder=folder)
    third.load_state_dict(second.state_dict())
    assert third.param_groups[0]["lr"] == SETTINGS["lr"]
    walk(third, moved, 6, 9)
    torch.testing.assert_close(moved, straight, atol=1e-6, rtol=1e-6)


def test_moments_stay_in_float32_for_half_weights(folder):
    half, full = weights((40, 30), dtype=torch.bfloat16), weights((40, 30), dtype=torch.bfloat16)
    optimizer = PagedAdamW(half, **SETTINGS, folder=folder)
    walk(optimizer, half, 0, 1)
    assert optimizer.state[half[0]]["exp_avg_sq"].dtype == torch.float32
    reference = full[0].detach().float().requires_grad_()
    walk(torch.optim.AdamW([reference], **SETTINGS), [reference], 0, 1)
    gap = (half[0].float() - reference).abs().max()
    assert gap < 2**-7 * reference.abs().max()  # un arrondi en bfloat16, plus celui du gradient


def test_working_memory_is_one_page():
    (p,) = weights((1000, 1000))
    optimizer = PagedAdamW([p], page=10_000)
    walk(optimizer, [p], 0, 1)  # crée les moments
    assert peak_bytes(optimizer.step) < 4 * 10_000 * 4 < p.nbytes / 10


def resident(folder):
    """Octets des fichiers de ce dossier que le processus tient en mémoire vive (Linux)."""
    kept, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            here = str(folder) in line
        elif here and line.startswith("Rss:"):
            kept += 1024 * int(line.split()[1])
    return kept


@pytest.mark.skipif(sys.platform != "linux", reason="lit /proc/self/smaps")
def test_moments_in_a_file_leave_memory_between_steps(tmp_path):
    params = weights(*[(1000, 500)] * 4)
    optimizer = PagedAdamW(params, folder=tmp_path)
    walk(optimizer, params, 0, 2)
    moments = sum(2 * p.nbytes for p in params)
    assert resident(tmp_path) < moments / 100
    total = sum(optimizer.state[p]["exp_avg"].abs().sum() for p in params)  # les lire les ramène
    assert total > 0 and resident(tmp_path) > moments / 3
    assert [*tmp_path.iterdir()] == []  # le fichier n’a plus de nom : il disparaîtra avec nous


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(page=0), "page=0"),
        (dict(folder="/nulle/part"), "dossier existant"),
        (dict(lr=-1.0), "lr=-1.0"),
        (dict(betas=(0.9, 1.0)), "betas"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        PagedAdamW(weights((2,)), **options)


def test_a_transposed_weight_is_refused():
    with pytest.raises(ValueError, match="contigu"):
        PagedAdamW([torch.zeros(2, 3).T.requires_grad_()])
