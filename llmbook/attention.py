"""L’attention : la formule, sa version par tuiles, et celle de PyTorch.

Trois fonctions, les mêmes arguments, le même résultat :

- `attention` écrit la formule softmax(q kᵀ · scale + biais) v et forme la matrice T × S ;
- `attention_tiled` ne garde qu’une tuile de cette matrice à la fois, en avant comme en arrière ;
- `sdpa` confie le calcul à F.scaled_dot_product_attention : c’est elle que le modèle emploie.

Formes : q (B, H, T, D) ; k, v (B, Hk, S, D), où Hk divise H (requêtes groupées) ; résultat
(B, H, T, D). Arguments :

- causal : chaque requête ignore les clés qui la suivent. Les requêtes sont les T dernières des S
  positions : avec un cache, S > T ;
- window : nombre de clés visibles, la position elle-même comprise ; demande causal ;
- mask : booléen de quatre dimensions égales à 1 ou à (B, H, T, S), vrai : visible ;
- bias : nombres ajoutés aux scores, (H, T, S) ou quatre dimensions comme mask ;
- alibi : pentes (H,) d’`alibi_slopes`, qui remplacent bias ;
- scale : facteur des scores, 1/√D par défaut.

Une requête dont toutes les clés sont cachées (remplissage) reçoit un vecteur nul et des gradients
nuls, comme dans PyTorch : un ValueError demanderait d’attendre le GPU à chaque appel.
Vaswani et al., 2017, arXiv:1706.03762 ; requêtes groupées : Ainslie et al., 2023, arXiv:2305.13245.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmbook.attention_masks import Rules, alibi_bias, alibi_slopes, checked, tile

__all__ = ["alibi_bias", "alibi_slopes", "attention", "attention_tiled", "sdpa"]


def attention(
    q, k, v, *, causal=True, mask=None, bias=None, alibi=None, window=None, scale=None
) -> Tensor:
    """La formule, ligne à ligne : forme les T × S scores de chaque tête."""
    rules = checked(q, k, v, causal=causal, mask=mask, bias=bias, alibi=alibi, window=window)
    T, S = slice(0, rules.T), slice(0, rules.S)
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)  # (B, H, S, D)

    scores = _wide(q) @ _wide(k).transpose(-2, -1) * _scale(q, scale)  # (B, H, T, S)
    if (added := rules.added(T, S)) is not None:
        scores = scores + added
    if (hidden := rules.hidden(T, S)) is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    blind = scores == -torch.inf  # le softmax d’une ligne entière à -inf serait nan
    weights = scores.masked_fill(blind, torch.finfo(scores.dtype).min).softmax(-1)
    return (weights.masked_fill(blind, 0.0) @ _wide(v)).to(q.dtype)


def sdpa(
    q, k, v, *, causal=True, mask=None, bias=None, alibi=None, window=None, scale=None
) -> Tensor:
    """La même attention par F.scaled_dot_product_attention, qui choisit le noyau le plus rapide.

    Sans masque ni biais, et si T = S, T = 1 ou causal=False, aucune matrice n’est formée.
    """
    rules = checked(q, k, v, causal=causal, mask=mask, bias=bias, alibi=alibi, window=window)
    square = causal and rules.T == rules.S and mask is bias is alibi is rules.window is None
    attn_mask = None
    if not square and not rules.free:
        T, S = slice(0, rules.T), slice(0, rules.S)
        hidden, attn_mask = rules.hidden(T, S), rules.added(T, S)
        if attn_mask is None:
            attn_mask = None if hidden is None else ~hidden
        else:
            attn_mask = attn_mask.to(q.dtype)
            attn_mask = attn_mask if hidden is None else attn_mask.masked_fill(hidden, -torch.inf)
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=attn_mask, is_causal=square, scale=scale, enable_gqa=grouped
    )


def attention_tiled(
    q, k, v, *, causal=True, mask=None, bias=None, alibi=None, window=None, scale=None, block=128
) -> Tensor:
    """La même attention, par tuiles de `block` requêtes et 2 × `block` clés.

    Le softmax en ligne corrige ce qui est déjà accumulé quand une tuile apporte un score plus
    grand ; la passe arrière recalcule les tuiles. La mémoire croît comme T, pas comme T × S, et les
    tuiles hors du masque causal ou de la fenêtre ne sont pas calculées.
    Milakov et Gimelshein, 2018, arXiv:1805.02867 ; Dao et al., 2022, arXiv:2205.14135.
    """
    if block < 1:
        raise ValueError(f"block={block} : une tuile d’au moins une requête est attendue")
    rules = checked(q, k, v, causal=causal, mask=mask, bias=bias, alibi=alibi, window=window)
    with torch.autocast(q.device.type, enabled=False):  # les sommes restent en float32
        return Tiled.apply(q, k, v, rules.bias, rules, _scale(q, scale), block)


class Tiled(torch.autograd.Function):
    """N = B × Hk : les G = H / Hk têtes d’un groupe partagent leurs clés, donc leurs produits."""

    @staticmethod
    def forward(ctx, q, k, v, bias, rules, scale, block):
        (B, H, T, D), Hk = q.shape, k.shape[1]
        wide = _wide(q).reshape(B * Hk, H // Hk, T, D) * scale
        keys, values = _wide(k).flatten(0, 1), _wide(v).flatten(0, 1)  # (N, S, D)
        out = torch.empty(*wide.shape[:3], v.shape[3], dtype=wide.dtype, device=q.device)
        lse = torch.empty_like(wide[..., :1])  # log de la somme des exponentielles : (N, G, T, 1)
        for rows in _blocks(0, T, block):
            queries = wide[:, :, rows].flatten(1, 2)  # (N, G·t, D)
            best = torch.full_like(queries[..., :1], torch.finfo(wide.dtype).min)
            total, sums = torch.zeros_like(best), values.new_zeros(*best.shape[:2], v.shape[3])
            for cols in _blocks(*rules.reach(rows), 2 * block):
                scores = _scores(queries, keys[:, cols], rules, rows, cols, q.shape)
                before, best = best, torch.maximum(best, scores.amax(-1, keepdim=True))
                scores.sub_(best).exp_()
                shrink = before.sub_(best).exp_()  # ce qui précède était compté trop grand
                total.mul_(shrink).add_(scores.sum(-1, keepdim=True))
                sums.mul_(shrink).baddbmm_(scores, values[:, cols])
            empty = total == 0  # toutes les clés cachées : sortie nulle, et exp(-inf - inf) = 0
            out[:, :, rows] = sums.div_(total.masked_fill_(empty, 1)).view_as(out[:, :, rows])
            best.add_(total.log_()).masked_fill_(empty, torch.inf)
            lse[:, :, rows] = best.view_as(lse[:, :, rows])
        out = out.view(B, H, T, -1)
        ctx.save_for_backward(q, k, v, bias, out, lse)
        ctx.settings = rules, scale, block
        return out.to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        """Avec p = exp(score - lse) : dv = pᵀ do, ds = p (do vᵀ - Σ do·o), dq = ds k, dk = dsᵀ q."""
        q, k, v, bias, out, lse = ctx.saved_tensors
        rules, scale, block = ctx.settings
        (B, H, T, D), Hk = q.shape, k.shape[1]
        delta = (d_out * out).sum(-1).view_as(lse)
        wide = _wide(q).reshape(B * Hk, H // Hk, T, D) * scale
        d_out = _wide(d_out).reshape(*wide.shape[:3], -1)
        keys, values = _wide(k).flatten(0, 1), _wide(v).flatten(0, 1)
        dq, dk, dv = (torch.zeros_like(x) for x in (wide, keys, values))
        d_bias = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
        for rows in _blocks(0, T, block):
            queries, d_rows, lse_rows, delta_rows = (
                x[:, :, rows].flatten(1, 2) for x in (wide, d_out, lse, delta)
            )
            dq_rows = torch.zeros_like(queries)
            for cols in _blocks(*rules.reach(rows), 2 * block):
                p = _scores(queries, keys[:, cols], rules, rows, cols, q.shape)
                p.sub_(lse_rows).exp_()
                dv[:, cols].baddbmm_(p.transpose(1, 2), d_rows)
                ds = torch.bmm(d_rows, values[:, cols].transpose(1, 2))
                ds.sub_(delta_rows).mul_(p)
                dq_rows.baddbmm_(ds, keys[:, cols])
                dk[:, cols].baddbmm_(ds.transpose(1, 2), queries)  # queries porte déjà scale
                if d_bias is not None:
                    part = tile(d_bias, rows, cols)
                    part += _heads(ds, q.shape, rows, cols).sum_to_size(part.shape)
            dq[:, :, rows] = dq_rows.mul_(scale).view_as(dq[:, :, rows])
        gradients = (d.view(x.shape).to(x.dtype) for d, x in ((dq, q), (dk, k), (dv, v)))
        return *gradients, d_bias, None, None, None


def _scores(queries, keys, rules: Rules, rows, cols, shape) -> Tensor:
    """Une tuile de scores, biais ajouté et clés cachées à -inf : (N, G·t, s)."""
    scores = torch.bmm(queries, keys.transpose(1, 2))
    per_head = _heads(scores, shape, rows, cols)
    if (added := rules.added(rows, cols)) is not None:
        per_head += added
    if (hidden := rules.hidden(rows, cols)) is not None:
        per_head.masked_fill_(hidden, -torch.inf)
    return scores


def _heads(scores: Tensor, shape, rows: slice, cols: slice) -> Tensor:
    """La même mémoire vue comme (B, H, t, s)."""
    return scores.view(*shape[:2], rows.stop - rows.start, cols.stop - cols.start)


def _blocks(start: int, stop: int, size: int):
    """Tranches de longueur `size`, la dernière plus courte."""
    return (slice(i, min(i + size, stop)) for i in range(start, stop, size))


def _wide(x: Tensor) -> Tensor:
    """float32 au moins : en bfloat16, la somme des exponentielles perdrait ses derniers termes."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scale(q: Tensor, scale: float | None) -> float:
    return q.shape[-1] ** -0.5 if scale is None else scale
