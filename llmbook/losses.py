"""L’entropie croisée : la formule, puis par tranches, sans jamais former tous les logits.

La perte d’un token est log Σ exp(logits) - logit du bon token, en nats. Avec un vocabulaire de
50 000 tokens, les logits d’un lot pèsent plus que le modèle, et leur gradient autant. La version
par tranches calcule une tranche de logits, sa perte et tout de suite son gradient, ramené à
celui des états cachés et des poids de la tête : la tranche suivante reprend la même mémoire.

Tokens à ne pas apprendre (remplissage, question de l’utilisateur) : target = IGNORE. La moyenne
porte sur les autres ; s’il n’y en a aucun elle vaut nan, comme dans PyTorch.
"""

import torch
from torch import Tensor

IGNORE = -100


def cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = IGNORE, z_loss: float = 0.0
) -> Tensor:
    """Perte moyenne, en nats par token : logits (…, V), targets (…) -> scalaire float32.

    z_loss : poids de (log Σ exp)², qui retient les logits près de zéro et stabilise les longs
    entraînements (Chowdhery et coll., 2022, arXiv:2204.02311, section 5).
    """
    _check(logits.shape[:-1], targets, logits.shape[-1], ignore_index)
    logits, targets = logits.flatten(0, -2), targets.flatten()
    keep = targets != ignore_index
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    lse = logits.logsumexp(-1)  # (N,)
    right = logits.gather(-1, targets.where(keep, 0)[:, None]).squeeze(-1)
    losses = lse - right + z_loss * lse.square()
    return losses.where(keep, 0).sum() / keep.sum()


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    chunk: int | None = None,
    ignore_index: int = IGNORE,
    z_loss: float = 0.0,
) -> Tensor:
    """cross_entropy(hidden @ weightᵀ, targets), sans former (…, V) en entier.

    hidden (…, C) ; weight (V, C), tête ou plongements partagés ; targets (…) ; renvoie un scalaire
    float32. chunk : tokens par tranche ; par défaut, des tranches de 8 Mio sur CPU et de 1 Gio sur
    une carte. Sous autocast, les produits se font dans son type, les sommes en float32.

    Le gradient se calcule pendant la passe avant (Hsu et coll., 2024, Liger Kernel,
    arXiv:2410.10989) : il n’est pas dérivable une seconde fois.
    """
    _check(hidden.shape[:-1], targets, len(weight), ignore_index)
    if hidden.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)} et weight {tuple(weight.shape)} : "
            "leur dernière dimension, C, doit être la même"
        )
    if chunk is None:
        chunk = default_chunk(len(weight), hidden.device.type)
    if chunk < 1:
        raise ValueError(f"chunk={chunk} : une tranche d’au moins un token est attendue")
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    learns = torch.is_grad_enabled()
    wanted = (learns and hidden.requires_grad, learns and weight.requires_grad)
    flat = hidden.flatten(0, -2)
    return Chunked.apply(
        flat, weight, targets.flatten(), chunk, ignore_index, z_loss, dtype, wanted
    )


def default_chunk(vocab_size: int, device_type: str = "cpu") -> int:
    """Tokens par tranche : un multiple de 128, dont les logits en float32 tiennent dans la place."""
    room = 2**21 if device_type == "cpu" else 2**28  # nombres
    return max(128, room // vocab_size // 128 * 128)


class Chunked(torch.autograd.Function):
    """Avec p = softmax(logits) et e la ligne du bon token : dh = (p - e) W et dW = (p - e)ᵀ h."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, chunk, ignore_index, z_loss, dtype, wanted):
        needs_hidden, needs_weight = wanted
        wide = torch.promote_types(dtype, torch.float32)
        W = weight.to(dtype)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        d_hidden = []
        d_weight = torch.zeros_like(weight, dtype=wide) if needs_weight else None
        columns = torch.arange(len(weight), device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            for h, target in zip(hidden.split(chunk), targets.split(chunk), strict=True):
                h = h.to(dtype)
                keep = (target != ignore_index)[:, None]  # (n, 1)
                logits = (h @ W.T).to(wide)  # (n, V)
                lse = logits.logsumexp(-1, keepdim=True)
                right = logits.gather(-1, target[:, None].where(keep, 0))
                total = total + (lse - right + z_loss * lse.square()).where(keep, 0).sum()
                if not (needs_hidden or needs_weight):
                    continue
                g = logits.sub_(lse).exp_()  # p : la tranche de logits n’est plus utile
                if z_loss:
                    g *= 1 + 2 * z_loss * lse
                if torch.compiler.is_compiling():  # la comparaison se fond dans la même boucle
                    g = g - (columns == target[:, None]).to(wide)
                else:
                    g.scatter_add_(-1, target[:, None].where(keep, 0), -torch.ones_like(lse))
                g = g.mul_(keep).to(dtype)
                if needs_hidden:
                    d_hidden.append((g @ W).to(hidden.dtype))
                if needs_weight:
                    d_weight += g.T @ h
        count = (targets != ignore_index).sum()
        d_hidden = torch.cat(d_hidden) if needs_hidden else None
        d_weight = d_weight.to(weight.dtype) if needs_weight else None
        ctx.save_for_backward(d_hidden, d_weight, count)
        return total / count

    @staticmethod
    def backward(ctx, d_loss):
        d_hidden, d_weight, count = ctx.saved_tensors
        scale = d_loss / count  # ici et non plus tôt : 1/N écraserait les gradients en float16
        scaled = (None if d is None else (d * scale).to(d.dtype) for d in (d_hidden, d_weight))
        return *scaled, None, None, None, None, None, None


def _check(shape, targets: Tensor, vocab_size: int, ignore_index: int) -> None:
    if targets.shape != shape or not targets.numel():
        raise ValueError(
            f"targets de forme {tuple(targets.shape)} pour {tuple(shape)} tokens : "
            "un numéro par token est attendu, au moins un"
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"targets de type {targets.dtype} : des numéros entiers sont attendus")
    if targets.device.type == "cpu" and not torch.compiler.is_compiling():
        kept = targets[targets != ignore_index]  # sur une carte, regarder les valeurs l’arrêterait
        if len(kept) and not (0 <= int(kept.min()) and int(kept.max()) < vocab_size):
            raise ValueError(
                f"targets entre {int(kept.min())} et {int(kept.max())} : le vocabulaire va de 0 à "
                f"{vocab_size - 1}, et {ignore_index} marque les tokens ignorés"
            )
