"""Des noyaux écrits pour la carte graphique avec Triton : softmax par lignes, flash attention.

PyTorch lance un noyau par opération, et chacun relit la mémoire de la carte, qui est lente. Un noyau
écrit exprès lit une fois, calcule tout dans les registres, écrit une fois.

Triton n’existe que sous Linux, et demande une carte. Sans carte, TRITON_INTERPRET=1 (posé avant de
lancer Python) exécute les mêmes noyaux avec numpy, lentement : nos tests les lisent ainsi.
Tillet, Kung et Cox, 2019, doi:10.1145/3315508.3329973.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmbook import attention_triton as kernels
from llmbook.attention_masks import checked
from llmbook.attention_triton import INTERPRETED, jit, tl, triton

HEAD_DIMS = (16, 32, 64, 128, 256)
LOG2_E = 1.4426950408889634


# --- softmax ------------------------------------------------------------------------------------


@jit
def softmax_kernel(x, y, stride, N, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    """Une ligne par instance ; WHOLE : elle tient dans un bloc, et n’est lue qu’une fois."""
    row = tl.program_id(0).to(tl.int64)
    x, y, cols = x + row * stride, y + row * N, tl.arange(0, BLOCK)
    if WHOLE:
        z = tl.load(x + cols, mask=cols < N, other=-float("inf")).to(tl.float32)
        p = tl.exp(z - tl.max(z, 0))
        tl.store(y + cols, (p / tl.sum(p, 0)).to(y.dtype.element_ty), mask=cols < N)
    else:  # softmax en ligne : chaque colonne du bloc tient le sien, réunis à la fin
        best, total = tl.full([BLOCK], -float("inf"), tl.float32), tl.zeros([BLOCK], tl.float32)
        for start in range(0, N, BLOCK):
            z = tl.load(x + start + cols, mask=start + cols < N, other=-float("inf"))
            new = tl.maximum(best, z.to(tl.float32))
            shift = tl.where(new == -float("inf"), 0.0, new)
            total = total * tl.exp(best - shift) + tl.exp(z.to(tl.float32) - shift)
            best = new
        top = tl.max(best, 0)
        total = tl.sum(total * tl.exp(best - top), 0)
        for start in range(0, N, BLOCK):
            z = tl.load(x + start + cols, mask=start + cols < N, other=-float("inf"))
            p = tl.exp(z.to(tl.float32) - top) / total
            tl.store(y + start + cols, p.to(y.dtype.element_ty), mask=start + cols < N)


@jit
def softmax_backward_kernel(y, dy, dx, N, BLOCK: tl.constexpr):
    """dx = y (dy - Σ y dy)."""
    row, cols = tl.program_id(0).to(tl.int64) * N, tl.arange(0, BLOCK)
    dots = tl.zeros([BLOCK], tl.float32)
    for start in range(0, N, BLOCK):
        at, inside = row + start + cols, start + cols < N
        p = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
        dots += p * tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    dot = tl.sum(dots, 0)
    for start in range(0, N, BLOCK):
        at, inside = row + start + cols, start + cols < N
        p = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
        d = p * (tl.load(dy + at, mask=inside, other=0.0).to(tl.float32) - dot)
        tl.store(dx + at, d.to(dx.dtype.element_ty), mask=inside)


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        rows = x.reshape(-1, x.shape[-1])
        rows = rows if rows.stride(-1) == 1 else rows.contiguous()
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        n, N = rows.shape
        block = min(triton.next_power_of_2(N), 2**14)
        ctx.launch = dict(BLOCK=block, num_warps=min(16, max(4, block // 512)))
        softmax_kernel[(n,)](rows, y, rows.stride(0), N, WHOLE=N <= block, **ctx.launch)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        dx, N = torch.empty_like(y), y.shape[-1]
        softmax_backward_kernel[(y.numel() // N,)](y, dy.contiguous(), dx, N, **ctx.launch)
        return dx


def softmax(x: Tensor) -> Tensor:
    """Softmax de la dernière dimension, une instance par ligne : x (…, N) ; renvoie (…, N).

    Une ligne dont tout vaut -inf donne nan, comme torch.softmax.
    ValueError si x n’est pas un tenseur à virgule, non vide, sur une carte.
    """
    _available(x)
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16) or not x.dim() * x.numel():
        raise ValueError(
            f"x {tuple(x.shape)} {x.dtype} : float32, float16 ou bfloat16, non vide, est attendu"
        )
    return Softmax.apply(x)


# --- flash attention ----------------------------------------------------------------------------


def flash_attention(q, k, v, *, causal=True, window=None, scale=None) -> Tensor:
    """`attention.attention`, sans masque ni biais, par les noyaux d’`attention_triton`.

    q (B, H, T, D) ; k, v (B, Hk, S, D), où Hk divise H ; renvoie (B, H, T, D), de même type. Les
    produits se font dans le type des entrées, les sommes en float32.
    ValueError hors d’une carte, si D n’est pas dans HEAD_DIMS, ou si les arguments se contredisent.
    """
    _available(q)
    rules = checked(q, k, v, causal=causal, mask=None, bias=None, alibi=None, window=window)
    D = q.shape[-1]
    if D not in HEAD_DIMS or v.shape[-1] != D:
        raise ValueError(
            f"têtes de taille {D} (q, k) et {v.shape[-1]} (v) : une même taille parmi {HEAD_DIMS} "
            "est attendue ; pour les autres, prenez attention.sdpa"
        )
    if q.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"type {q.dtype} : float32, float16 ou bfloat16 est attendu")
    scale = D**-0.5 if scale is None else scale
    if not scale > 0:
        raise ValueError(f"scale={scale} : un facteur positif est attendu")
    return Flash.apply(q, k, v, causal, rules.window, scale)


class Flash(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, causal, window, scale):
        q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
        (B, H, T, D), (Hk, S) = q.shape, k.shape[1:3]
        out = q.new_empty(B, T, H, D).transpose(1, 2)  # la couche suivante veut (B, T, H · D)
        lse = q.new_empty(B, H, T, dtype=torch.float32)  # log₂ de la somme des exponentielles
        ctx.numbers = (window or 0, H, H // Hk, T, S)
        ctx.flags = dict(
            D=D,
            CAUSAL=causal,
            WINDOW=window is not None,
            PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
        )
        ctx.scale = scale

        def grid(tile):
            return triton.cdiv(T, tile["BM"]), B * H

        kernels.forward_kernel[grid](
            q, k, v, out, lse, scale * LOG2_E, *ctx.numbers, *_strides(q, k, v, out), **ctx.flags
        )
        ctx.save_for_backward(q, k, v, out, lse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        q, k, v, out, lse = ctx.saved_tensors
        (B, H, T, D), (Hk, S) = q.shape, k.shape[1:3]
        d_out = d_out if d_out.stride(-1) == 1 else d_out.contiguous()
        delta = torch.empty_like(lse)
        kernels.delta_kernel[(triton.cdiv(T, 64), B * H)](
            out, d_out, delta, H, T, *_strides(out, d_out), D=D, BM=64
        )
        dq = q.new_empty(B, T, H, D).transpose(1, 2)
        dk, dv = k.new_empty(2, B, S, Hk, D).transpose(2, 3)
        inputs = q, k, v, d_out, lse, delta
        numbers = ctx.scale * LOG2_E, ctx.scale, *ctx.numbers

        def keys_grid(tile):
            return triton.cdiv(S, tile["BN"]), B * Hk

        def queries_grid(tile):
            return triton.cdiv(T, tile["BM"]), B * H

        kernels.key_gradient_kernel[keys_grid](
            *inputs, dk, dv, *numbers, *_strides(q, k, v, d_out, dk), **ctx.flags
        )
        kernels.query_gradient_kernel[queries_grid](
            *inputs, dq, *numbers, *_strides(q, k, v, d_out, dq), **ctx.flags
        )
        return dq, dk, dv, None, None, None


def _strides(*tensors: Tensor) -> list[int]:
    return [stride for x in tensors for stride in x.stride()[:3]]


def _available(x: Tensor) -> None:
    if triton is None:
        raise ImportError("triton manque : pip install triton (Linux seulement)")
    if x.device.type != "cuda" and not INTERPRETED:
        raise ValueError(
            f"tenseur sur {x.device.type} : ces noyaux demandent une carte graphique ; sans elle, "
            "lancez Python avec TRITON_INTERPRET=1, ou prenez attention.sdpa"
        )
