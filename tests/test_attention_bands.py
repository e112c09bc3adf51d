"""llmbook.attention_bands : égale à SDPA, gradients compris, en float32 comme en bfloat16."""

import pytest
import torch

from llmbook.attention import sdpa
from llmbook.attention_bands import banded


def inputs(T=70, H=4, Hk=2, D=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, heads, T, D) for heads in (H, Hk, Hk, H)]
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shapes]


def both(attend, q, k, v, g, **options):
    y = attend(q, k, v, **options)
    return [y, *torch.autograd.grad(y, (q, k, v), g.to(y.dtype).detach())]


@pytest.mark.parametrize("T", [1, 31, 32, 70])  # 70 : la dernière bande est incomplète
@pytest.mark.parametrize("Hk", [1, 2, 4])
def test_equals_sdpa(T, Hk):
    q, k, v, g = inputs(T, Hk=Hk)
    for options in ({}, {"scale": 0.3}):
        result = both(banded, q, k, v, g, band=32, **options)
        expected = both(sdpa, q, k, v, g, **options)
        for a, b in zip(result, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_large_scores():
    """Les exponentielles ne débordent pas : le plus grand score de chaque ligne est retiré."""
    q, k, v, g = inputs()
    result, expected = both(banded, q * 100, k * 100, v, g)[0], sdpa(q * 100, k * 100, v)
    assert torch.isfinite(result).all()
    torch.testing.assert_close(result, expected, atol=1e-3, rtol=1e-3)


def test_bfloat16_error_is_that_of_sdpa():
    """Contre la formule en float64 : au plus trois fois l’erreur moyenne de SDPA."""
    exact = both(sdpa, *(x.detach().double().requires_grad_() for x in inputs()))
    low = [x.detach().bfloat16().requires_grad_() for x in inputs()]
    for ours, theirs, truth in zip(both(banded, *low), both(sdpa, *low), exact, strict=True):
        error = (ours.double() - truth).abs().mean()
        assert error < 3 * (theirs.double() - truth).abs().mean()


def test_refuses_what_it_does_not_do():
    q, k, v, _ = inputs()
    for arguments, options, message in [
        ((q, k, v), dict(causal=False), "prenez sdpa"),
        ((q, k, v), dict(window=4), "prenez sdpa"),
        ((q, k[:, :, :9], v[:, :, :9]), {}, "mêmes positions"),
        ((q[:, :3], k, v), {}, "multiple"),
        ((q, k, v), dict(band=0), "band=0"),
    ]:
        with pytest.raises(ValueError, match=message):
            banded(*arguments, **options)
