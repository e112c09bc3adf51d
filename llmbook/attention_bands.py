"""L’attention causale par bandes : pour entraîner sur CPU, quand les suites sont courtes.

F.scaled_dot_product_attention économise la mémoire, au prix de nombreux petits produits. Quand les
scores tiennent en mémoire, de grands produits vont plus vite : les requêtes sont coupées en bandes,
et chacune ne voit que les clés qui la précèdent. Les exponentielles sont gardées pour la passe
arrière, dans le type des entrées.

Faite pour torch.compile, qui fond les opérations entre deux produits ; sans lui, le gain est faible.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def banded(q, k, v, *, causal=True, window=None, scale=None, band: int = 128) -> Tensor:
    """Attention causale : q (B, H, T, D) ; k, v (B, Hk, T, D), Hk divise H ; renvoie (B, H, T, D).

    Les arguments d’`attention.sdpa`, dont causal et window ne changent pas ici. Mémoire : environ
    B × H × T × T / 2 nombres par couche, jusqu’à la passe arrière. ValueError si q et k n’ont pas les
    mêmes positions, ou si l’on demande une fenêtre ou une attention non causale.
    """
    if not causal or window is not None:
        raise ValueError("banded est causale et sans fenêtre : prenez sdpa")
    (B, H, T, D), Hk = q.shape, k.shape[1]
    if k.shape != v.shape or k.shape[2] != T or H % Hk:
        raise ValueError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)} et v {tuple(v.shape)} : les mêmes positions, "
            "et un nombre de têtes de q multiple de celui de k, sont attendus ; sinon prenez sdpa"
        )
    if band < 1:
        raise ValueError(f"band={band} : une bande d’au moins une requête est attendue")
    scale = D**-0.5 if scale is None else scale
    q = (q * scale).reshape(B * Hk, H // Hk, T, D)
    y = Banded.apply(q, k.flatten(0, 1), v.flatten(0, 1), band)
    return y.view(B, H, T, D)


class Banded(torch.autograd.Function):
    """q (N, G, T, D) déjà à l’échelle ; k, v (N, T, D) : les G têtes d’un groupe font un produit."""

    @staticmethod
    def forward(ctx, q, k, v, band):
        outs, exps, inverses = [], [], []
        for rows, seen in _bands(q.shape[2], band):
            scores = _stack(q, rows) @ k[:, seen].mT  # (N, G·b, s)
            scores = scores.float().unflatten(1, (q.shape[1], -1))
            scores = scores.masked_fill(_future(rows, seen, q.device), -torch.inf)
            e = (scores - scores.amax(-1, keepdim=True)).exp()  # (N, G, b, s)
            inverse = 1 / e.sum(-1, keepdim=True)  # (N, G, b, 1)
            e = e.to(q.dtype).flatten(1, 2)
            out = (e @ v[:, seen]).unflatten(1, (q.shape[1], -1))
            outs.append((out * inverse).to(q.dtype))
            exps.append(e)
            inverses.append(inverse)
        out = torch.cat(outs, 2)
        ctx.save_for_backward(q, k, v, out, torch.cat(inverses, 2), *exps)
        ctx.band = band
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        """Comme p = e / somme, diviser d_out par la somme évite de diviser toute la matrice e."""
        q, k, v, out, inverse, *exps = ctx.saved_tensors
        d_out = d_out * inverse  # (N, G, T, D), float32
        delta = (d_out * out).sum(-1, keepdim=True)
        d_out = d_out.to(q.dtype)
        dq, dk, dv = [], [], []
        bands = _bands(q.shape[2], ctx.band)
        for (rows, seen), e in zip(bands, exps, strict=True):
            d_rows = _stack(d_out, rows)
            dp = (d_rows @ v[:, seen].mT).float()
            ds = (e * (dp - _stack(delta, rows))).to(q.dtype)  # (N, G·b, s)
            dq.append((ds @ k[:, seen]).unflatten(1, (q.shape[1], -1)))
            dk.append(ds.mT @ _stack(q, rows))
            dv.append(e.mT @ d_rows)
        return torch.cat(dq, 2), _overlap(dk, bands), _overlap(dv, bands), None


def _bands(T: int, band: int) -> list[tuple[slice, slice]]:
    """(requêtes de la bande, clés qu’elle voit)."""
    starts = range(0, T, band)
    return [(slice(a, min(a + band, T)), slice(0, min(a + band, T))) for a in starts]


def _stack(x: Tensor, rows: slice) -> Tensor:
    """Les requêtes d’une bande, têtes d’un groupe l’une sous l’autre : (N, G·b, …)."""
    return x[:, :, rows].flatten(1, 2)


def _future(rows: slice, seen: slice, device) -> Tensor:
    queries = torch.arange(rows.start, rows.stop, device=device)[:, None]
    return torch.arange(seen.stop, device=device) > queries  # (b, s)


def _overlap(parts: list[Tensor], bands: list[tuple[slice, slice]]) -> Tensor:
    """Somme de morceaux (N, s, D) qui commencent tous à la première clé."""
    sums = []
    for number, (rows, _) in enumerate(bands):
        sums.append(sum(part[:, rows].float() for part in parts[number:]).to(parts[0].dtype))
    return torch.cat(sums, 1)
