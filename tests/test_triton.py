"""Les noyaux Triton : lus par l’interpréteur sur CPU, mesurés contre PyTorch sur une carte."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[1]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton manque (Linux seulement)"
)

COMMON = """
import itertools, sys
import torch
torch.set_num_threads(1)
import pytest, triton
from llmbook import attention_triton, triton_kernels
from llmbook.attention import attention
from llmbook.triton_kernels import flash_attention, softmax
torch.manual_seed(0)
CLOSE = dict(atol=1e-5, rtol=1e-5)
"""
SOFTMAX = """
for shape in ((3, 7), (2, 2, 1), (5, 1024), (2, 20_000)):
    x = torch.randn(shape, requires_grad=True)
    x.data[0, ..., 0] = 50
    ours, theirs, d = softmax(x), x.softmax(-1), torch.randn(shape)
    torch.testing.assert_close(ours, theirs)
    gradients = (torch.autograd.grad(y, x, d)[0] for y in (ours, theirs))
    torch.testing.assert_close(*gradients)
wide = torch.randn(6, 40).T  # pas contigu
torch.testing.assert_close(softmax(wide), wide.softmax(-1))
half = torch.randn(4, 33).bfloat16()
torch.testing.assert_close(softmax(half), half.softmax(-1))
masked = torch.full((2, 20_000), -torch.inf)
masked[0, 19_999] = 3.0
found = softmax(masked)
assert found[0, 19_999] == 1 and not found[0, :-1].any() and found[1].isnan().all()
"""
FLASH = """
def same(T, S, H, Hk, causal, window, D=16, scale=None):
    q, k, v = (torch.randn(1, T if n == H else S, n, D).transpose(1, 2) for n in (H, Hk, Hk))
    q, k, v = qkv = [x.requires_grad_() for x in (torch.randn(1, H, T, D), k, v)]
    ours = flash_attention(*qkv, causal=causal, window=window, scale=scale)
    theirs = attention(*qkv, causal=causal, window=window, scale=scale)
    d = torch.randn_like(theirs)
    found, expected = ((y, *torch.autograd.grad(y, qkv, d)) for y in (ours, theirs))
    torch.testing.assert_close(found, expected, **CLOSE)

kinds = [(True, None), (False, None), (True, 7), (True, 40)]
tuned = [kernel for kernel in vars(attention_triton).values() if hasattr(kernel, "configs")]
assert len(tuned) == 3
for BM, BN in ((32, 16), (16, 32)):  # tuiles plus hautes que larges, puis l’inverse
    for kernel in tuned:
        kernel.configs = [triton.Config({"BM": BM, "BN": BN})]
    for (T, S), (causal, window) in itertools.product([(65, 65), (19, 50)], kinds):
        same(T, S, 4, 2, causal, window)
same(1, 1, 2, 2, True, None)
same(1, 33, 2, 1, True, 1)
same(32, 64, 1, 1, True, None, D=32, scale=0.5)

half = [torch.randn(2, 2, 33, 16).half() for _ in range(3)]
torch.testing.assert_close(flash_attention(*half), attention(*half), atol=2e-3, rtol=2e-3)

q = torch.randn(1, 2, 5, 16)
for change, options, message in (
    (lambda x: x[..., :12], {}, "taille 12"),
    (lambda x: x.double(), {}, "torch.float64"),
    (lambda x: x, {"scale": -1.0}, "scale=-1.0"),
    (lambda x: x, {"window": 3, "causal": False}, "window sans causal"),
):
    with pytest.raises(ValueError, match=message):
        flash_attention(change(q), change(q), change(q), **options)
with pytest.raises(ValueError, match="bfloat16"):
    softmax(q.long())
"""


def interpret(code, interpreted="1"):
    done = subprocess.run(
        [sys.executable, "-c", COMMON + code],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": interpreted, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@needs_triton
def test_softmax_interpreted():
    interpret(SOFTMAX)


@needs_triton
@pytest.mark.lent
def test_flash_attention_interpreted():
    interpret(FLASH)


@needs_triton
def test_without_a_card():
    interpret(
        """
for kernel in (softmax, lambda x: flash_attention(x, x, x)):
    with pytest.raises(ValueError, match="TRITON_INTERPRET=1, ou prenez attention.sdpa"):
        kernel(torch.randn(1, 2, 5, 16))
""",
        interpreted="0",
    )


def test_without_triton():
    """Le module s’importe partout ; l’appel dit quoi installer."""
    code = """
import sys
sys.modules["triton"] = None
import torch
from llmbook.triton_kernels import flash_attention, softmax
x = torch.randn(1, 2, 5, 16)
for kernel in (softmax, lambda x: flash_attention(x, x, x)):
    try:
        kernel(x)
    except ImportError as error:
        assert "pip install triton" in str(error)
    else:
        raise SystemExit("aucune erreur")
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


# --- sur une carte --------------------------------------------------------------------------------

needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="aucune carte")


@pytest.mark.gpu
@needs_triton
@needs_card
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_softmax_on_a_card(dtype):
    from llmbook.triton_kernels import softmax

    torch.manual_seed(0)
    for shape in ((5, 7), (300, 4096), (4, 100_003)):
        x = torch.randn(shape, device="cuda", dtype=dtype, requires_grad=True)
        ours, theirs, d = softmax(x), x.softmax(-1), torch.randn_like(x)
        torch.testing.assert_close(ours, theirs)
        gradients = (torch.autograd.grad(y, x, d)[0] for y in (ours, theirs))
        torch.testing.assert_close(
            *gradients, atol=1e-3 if dtype != torch.float32 else 1e-6, rtol=2e-2
        )


@pytest.mark.gpu
@needs_triton
@needs_card
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("D", [64, 128])
def test_flash_attention_on_a_card(dtype, D, monkeypatch):
    """L’écart à la formule en float64 n’est pas plus grand que celui de SDPA, à un facteur 2."""
    from llmbook import attention_triton
    from llmbook.attention import attention
    from llmbook.triton_kernels import flash_attention

    for kernel in vars(attention_triton).values():  # une tuile : essayer les autres prend du temps
        if hasattr(kernel, "configs"):
            kept = kernel.configs[-1:] if dtype == torch.float32 else kernel.configs[:1]
            monkeypatch.setattr(kernel, "configs", kept)
    torch.manual_seed(0)
    kinds = [(True, None), (False, None), (True, 100)]
    for T, S in ((512, 512), (333, 333), (1, 300), (100, 777)):
        for causal, window in kinds:
            qkv = [
                torch.randn(2, n, length, D, device="cuda", dtype=dtype, requires_grad=True)
                for n, length in ((4, T), (2, S), (2, S))
            ]
            d = torch.randn(2, 4, T, D, device="cuda", dtype=dtype)

            def gradients(way, inputs, d):
                out = way(*inputs, causal=causal, window=window)  # noqa: B023
                return out, *torch.autograd.grad(out, inputs, d)

            exact = [x.detach().double().requires_grad_() for x in qkv]
            exact = gradients(attention, exact, d.double())
            usual = gradients(by_torch, qkv, d)
            for ours, theirs, truth in zip(
                gradients(flash_attention, qkv, d), usual, exact, strict=True
            ):
                assert ours.dtype == dtype
                allowed = 2 * (theirs.double() - truth).abs().max() + 1e-5 * truth.abs().max()
                assert (ours.double() - truth).abs().max() <= allowed


def by_torch(q, k, v, *, causal, window):
    T, S = q.shape[2], k.shape[2]
    distance = torch.arange(S - T, S, device=q.device)[:, None] - torch.arange(S, device=q.device)
    seen = torch.ones_like(distance, dtype=torch.bool)
    if causal:
        seen = (distance >= 0) & (distance < (window or S))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)


@pytest.mark.gpu
@needs_triton
@needs_card
def test_flash_attention_repeats_itself_on_a_card():
    """Aucune addition concurrente : deux passes arrière donnent les mêmes bits."""
    from llmbook.triton_kernels import flash_attention

    torch.manual_seed(0)
    qkv = [torch.randn(2, 4, 777, 64, device="cuda").bfloat16().requires_grad_() for _ in range(3)]

    def gradients():
        return torch.autograd.grad(flash_attention(*qkv).float().square().sum(), qkv)

    for first, second in zip(gradients(), gradients(), strict=True):
        assert torch.equal(first, second)
