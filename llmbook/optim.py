"""Faire un pas : SGD, AdamW et Muon écrits à la main, égaux à ceux de `torch.optim`.

Les noms de l’état sont ceux de torch : un `state_dict` passe d’une version à l’autre.
"""

import math
from collections import defaultdict

import torch
from torch import Tensor, nn

from llmbook.layers import Attention, SwiGLU


class Stepper(torch.optim.Optimizer):
    """Ce que nos optimiseurs partagent : un pas met à jour chaque groupe de paramètres.

    Un groupe est un dictionnaire : ses tenseurs sous "params", et ses réglages ("lr"…).
    """

    def __init__(self, params, **defaults):
        for name in ("lr", "weight_decay", "momentum", "eps"):
            if not defaults.get(name, 0.0) >= 0:
                raise ValueError(f"{name}={defaults[name]} : un nombre positif est attendu")
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """Un pas. closure : refait la passe avant et arrière, et renvoie la perte."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.update(group, [p for p in group["params"] if p.grad is not None])
        return loss

    def update(self, group: dict, params: list[Tensor]) -> None:
        raise NotImplementedError


class SGD(Stepper):
    """Descente de gradient avec inertie (*momentum*) : b ← μ b + g ; p ← p - lr b.

    La première vitesse est le premier gradient. weight_decay ajoute λ p au gradient (pénalité L2).
    Polyak, 1964, doi:10.1016/0041-5553(64)90137-5.
    """

    def __init__(self, params, lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def update(self, group, params):
        for p in params:
            step = p.grad.add(p, alpha=group["weight_decay"])
            if group["momentum"]:
                state = self.state[p]
                if state:
                    step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
                else:
                    state["momentum_buffer"] = step
            p.sub_(step, alpha=group["lr"])


class AdamW(Stepper):
    """Adam, à décroissance des poids séparée du gradient (*decoupled weight decay*).

    m ← β₁ m + (1 - β₁) g                 moyenne glissante du gradient
    v ← β₂ v + (1 - β₂) g²                et de son carré
    p ← (1 - lr λ) p - lr m̂ / (√v̂ + ε)    où m̂ = m / (1 - β₁ᵗ) et v̂ = v / (1 - β₂ᵗ)

    Kingma et Ba, 2014, arXiv:1412.6980 ; Loshchilov et Hutter, 2017, arXiv:1711.05101.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas={betas} : deux nombres de [0, 1[ sont attendus")
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, group, params):
        (beta1, beta2), lr = group["betas"], group["lr"]
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            t, m, v = state["step"].item(), state["exp_avg"], state["exp_avg_sq"]
            m.lerp_(p.grad, 1 - beta1)
            v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            root = v.sqrt().div_(math.sqrt(1 - beta2**t)).add_(group["eps"])  # √v̂ + ε
            p.mul_(1 - lr * group["weight_decay"])
            p.addcdiv_(m, root, value=-lr / (1 - beta1**t))


# Muon : un pas dont toutes les directions ont la même taille

JORDAN = (3.4445, -4.7750, 2.0315)  # pente forte en 0 : cinq pas suffisent, sans converger vers 1


def newton_schulz(
    G: Tensor,
    steps: int = 5,
    coefficients: tuple[float, float, float] = JORDAN,
    eps: float = 1e-7,
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """Ramène vers 1 les valeurs singulières de chaque matrice : de U S Vᵀ à U Vᵀ, ou presque.

    G : (…, m, n) ; renvoie (…, m, n), de type `dtype`. Le polynôme impair a X + b X³ + c X⁵ ne
    touche qu’aux valeurs singulières. ValueError si G n’a pas deux dimensions ou plus.
    Jordan et coll., 2024, kellerjordan.github.io/posts/muon ; Björck et Bowie, 1971.
    """
    if G.ndim < 2:
        raise ValueError(f"G {tuple(G.shape)} : une matrice, ou une pile de matrices, est attendue")
    a, b, c = coefficients
    X = G.to(dtype).reshape(-1, *G.shape[-2:])  # (N, m, n) : un seul produit pour toute la pile
    is_tall = X.size(1) > X.size(2)
    X = X.mT if is_tall else X
    norm = torch.linalg.vector_norm(X.flatten(1), dim=1).view(-1, 1, 1)
    X = X / norm.clamp(min=eps)  # la norme de Frobenius majore la plus grande valeur singulière
    for _ in range(steps):
        A = X @ X.mT  # (N, min(m, n), min(m, n))
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)  # b A + c A²
        X = torch.baddbmm(X, B, X, beta=a)  # a X + B X
    X = X.mT if is_tall else X
    return X.reshape(G.shape)


class Muon(Stepper):
    """Inertie de Nesterov, puis orthogonalisation de la matrice obtenue.

    Réservé aux matrices cachées : plongements, normes et tête reviennent à AdamW.

    - rows : hauteurs des matrices empilées dans un même poids (requêtes, clés et valeurs) ; chacune
      est orthogonalisée à part. À donner dans un groupe.
    - scale : "original" multiplie lr par √max(1, m/n) ; "match_rms_adamw" par 0,2 √max(m, n), qui
      donne au pas la taille de celui d’AdamW (Liu et coll., 2025, arXiv:2502.16982).
    - batched : les matrices de même forme passent ensemble dans `newton_schulz`.

    ValueError si un paramètre n’est pas une matrice, ou si rows n’en fait pas le tour.
    """

    def __init__(
        self,
        params,
        lr: float = 0.02,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        steps: int = 5,
        scale: str = "original",
        rows: tuple[int, ...] | None = None,
        batched: bool = True,
    ):
        if scale not in ("original", "match_rms_adamw"):
            raise ValueError(f"scale={scale!r} : « original » ou « match_rms_adamw » est attendu")
        self.batched = batched
        super().__init__(
            params,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            steps=steps,
            scale=scale,
            rows=rows,
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon attend des matrices, pas {tuple(p.shape)} : AdamW ?")
                if group["rows"] and sum(group["rows"]) != len(p):
                    raise ValueError(f"rows={group['rows']} : leur somme n’est pas {len(p)}")

    def update(self, group, params):
        stacks = defaultdict(list)  # une pile par forme : couples (matrice, direction)
        for p in params:
            state = self.state[p]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(p)
            average = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
            direction = p.grad.lerp(average, group["momentum"]) if group["nesterov"] else average
            rows = group["rows"] or len(p)
            for pair in zip(p.split(rows), direction.split(rows), strict=True):
                shape = (pair[0].shape, p.device, p.dtype)
                stacks[shape if self.batched else len(stacks)].append(pair)
        for pairs in stacks.values():
            matrices, directions = zip(*pairs, strict=True)
            steps = newton_schulz(torch.stack([d.bfloat16() for d in directions]), group["steps"])
            m, n = matrices[0].shape
            wide = 0.2 * math.sqrt(max(m, n))
            scale = math.sqrt(max(1, m / n)) if group["scale"] == "original" else wide
            for matrix, step in zip(matrices, steps, strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(step, alpha=group["lr"] * scale)


# À chaque paramètre son optimiseur


def build_optimizers(
    model: nn.Module,
    *,
    kind: str = "muon",
    learning_rate: float = 3e-3,
    muon_lr: float = 0.02,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    fused: bool = True,
) -> list[torch.optim.Optimizer]:
    """[Muon, AdamW] si kind="muon" : matrices cachées d’un côté, tout le reste de l’autre.

    kind="adamw" : AdamW seul. Les vecteurs (normes, biais) ne décroissent pas. Chaque groupe garde
    sa vitesse dans "base_lr", à multiplier par la planification (`llmbook.schedules`).
    fused : l’AdamW de torch, en un seul noyau, au lieu du nôtre.
    """
    if kind not in ("muon", "adamw"):
        raise ValueError(f"kind={kind!r} : « muon » ou « adamw » est attendu")
    params = [p for p in model.parameters() if p.requires_grad]
    if not params:
        raise ValueError("aucun paramètre à apprendre : requires_grad est faux partout")
    hidden = _hidden_matrices(model) if kind == "muon" else {}
    others = [p for p in params if p not in hidden]
    adamw_groups = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    by_rows = defaultdict(list)
    for p in params:
        if p in hidden:
            by_rows[hidden[p]].append(p)
    muon_groups = [{"params": ps, "rows": rows} for rows, ps in by_rows.items()]

    optimizers = []
    if muon_groups:
        optimizers.append(Muon(muon_groups, lr=muon_lr, weight_decay=weight_decay))
    adamw_groups = [group for group in adamw_groups if group["params"]]
    if adamw_groups and fused:
        optimizers.append(torch.optim.AdamW(adamw_groups, learning_rate, betas, fused=True))
    elif adamw_groups:
        optimizers.append(AdamW(adamw_groups, learning_rate, betas))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def _hidden_matrices(model: nn.Module) -> dict[nn.Parameter, tuple[int, ...] | None]:
    """Chaque matrice cachée, et les hauteurs de celles qu’elle empile (None : une seule)."""
    outside = {m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    heads = (getattr(m, "lm_head", None) for m in model.modules())  # même sous une enveloppe (DDP)
    outside |= {head.weight for head in heads if isinstance(head, nn.Linear)}
    hidden = {p: None for p in model.parameters() if p.ndim == 2 and p not in outside}
    for module in model.modules():
        if isinstance(module, Attention):
            c = module.config
            hidden[module.qkv.weight] = tuple(
                n * c.head_dim for n in (c.n_heads, c.n_kv_heads, c.n_kv_heads)
            )
        elif isinstance(module, SwiGLU):
            hidden[module.gate_up.weight] = (len(module.gate_up.weight) // 2,) * 2
    return hidden
