"""Une couche LoRA : une matrice gelée, et des corrections de petit rang qui seules s’entraînent.

y = W x + s · B A x ; W : (m, n) gelée ; A : (r, n) et B : (m, r) entraînées, r petit ; s = α / r.
Hu et coll., 2021, arXiv:2106.09685 ; les noms et les choix par défaut sont ceux de peft.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 1e-6  # d’une norme de ligne, pour DoRA

# Le calcul


def low_rank(x: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """s · B A x, de droite à gauche : la matrice B A, (m, n), n’est jamais formée.

    x : (..., n) ; A : (r, n) ; B : (m, r) ; renvoie (..., m). L’échelle multiplie A x, qui n’a que
    r colonnes ; sa dérivée aussi.
    """
    return F.linear(scale * F.linear(x, A), B)


def row_norms(W: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """Norme de chaque ligne de W + s B A : (m,), sans former cette somme, (m, n).

    ‖w + s A b‖² = ‖w‖² + 2 s b · A w + s² b · A Aᵀ b, pour une ligne w de W et b de B.
    """
    sB = scale * B
    cross = W @ A.T  # (m, r)
    square = W.square().sum(1) + (sB * (2 * cross + sB @ (A @ A.T))).sum(1)
    return square.clamp(min=0).sqrt()


# La base : n’importe quel module linéaire


def is_transposed(base: nn.Module) -> bool:
    """Conv1D (GPT-2 dans transformers) garde sa matrice couchée, (n, m) : fan_in_fan_out."""
    return type(base).__name__ == "Conv1D" and hasattr(base, "nf")


def features(base: nn.Module) -> tuple[int, int] | None:
    """(n, m), entrées et sorties d’un module linéaire ; None si ce n’en est pas un."""
    if is_transposed(base):
        return base.nx, base.nf
    if isinstance(base, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return None  # nn.MultiheadAttention lit sa matrice sans appeler son forward
    n, m = getattr(base, "in_features", None), getattr(base, "out_features", None)
    return (n, m) if isinstance(n, int) and isinstance(m, int) else None


def has_plain_weight(base: nn.Module) -> bool:
    """La base porte-t-elle sa matrice en clair, en nombres flottants ? Sinon elle est quantifiée."""
    weight = getattr(base, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        return False
    n, m = features(base)
    return weight.shape == ((n, m) if is_transposed(base) else (m, n))


def dense_weight(base: nn.Module) -> Tensor:
    """La matrice (m, n) de la base ; une base quantifiée la donne par sa méthode dequantize().

    ValueError si elle ne sait pas la donner.
    """
    if has_plain_weight(base):
        weight = base.weight.detach()
        return weight.T if is_transposed(base) else weight
    if hasattr(base, "dequantize"):
        return base.dequantize().detach()
    raise ValueError(
        f"{type(base).__name__} garde sa matrice quantifiée et n’a pas de méthode dequantize() : "
        "prenez LoRA sans DoRA, sans fusionner, ou une base en clair"
    )


# L’adaptateur, puis la couche


class Adapter(nn.Module):
    """Une correction : A, B, l’échelle s et, pour DoRA, la norme apprise de chaque ligne.

    A est tirée comme par `nn.Linear` (He et coll., 2015, a = √5), B est nulle : la correction part
    de zéro. rslora : s = α / √r (Kalajdzievski, 2023, arXiv:2312.03732). DoRA : Liu et coll., 2024,
    arXiv:2402.09353 ; la ligne w de W + s B A devient μ w / ‖w‖, μ appris.
    """

    def __init__(self, base: nn.Module, rank: int, alpha: float, rslora=False, dropout=0.0):
        super().__init__()
        n, m = features(base)
        near = next(iter([*base.parameters(), *base.buffers(), torch.empty(0)]))
        near = near.new_empty(0, dtype=torch.promote_types(near.dtype, torch.float32))
        self.A = nn.Parameter(near.new_zeros(rank, n))  # float32 : bf16 arrondirait de petits pas
        self.B = nn.Parameter(near.new_zeros(m, rank))
        self.register_parameter("magnitude", None)
        self.rank, self.alpha, self.rslora, self.dropout = rank, alpha, rslora, dropout
        self.scale = alpha / (math.sqrt(rank) if rslora else rank)

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Tire A, sur CPU pour que le tirage ne dépende pas du périphérique ; annule B."""
        start = torch.empty(self.A.shape, dtype=self.A.dtype)
        nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator)
        with torch.no_grad():
            self.A.copy_(start)
            self.B.zero_()

    def add_magnitude(self, base: nn.Module) -> None:
        """DoRA : chaque ligne part de sa norme, donc de W."""
        self.magnitude = nn.Parameter(self.norms(base))

    def norms(self, base: nn.Module) -> Tensor:
        """‖W + s B A‖ par ligne, (m,), tenue pour constante : aucun gradient (§ 4.3 de DoRA)."""
        W = dense_weight(base).to(self.A.dtype)
        with torch.autocast(W.device.type, enabled=False):  # une norme en bf16 serait grossière
            norms = row_norms(W, self.A.detach(), self.B.detach(), self.scale)
        return norms.clamp(min=SMALLEST)  # une ligne nulle donnerait 0 / 0

    @torch.no_grad()
    def merged_weight(self, base: nn.Module) -> Tensor:
        """La matrice (m, n) qui fait à elle seule le travail de la couche, au type de la base."""
        W = dense_weight(base)
        merged = W.to(self.A.dtype) + self.scale * self.B @ self.A
        if self.magnitude is not None:
            merged = (self.magnitude / self.norms(base))[:, None] * merged
        return merged.to(W.dtype)

    def forward(self, x: Tensor, y: Tensor, base: nn.Module) -> Tensor:
        """x : (..., n), l’entrée ; y : (..., m), ce que la base en fait ; renvoie (..., m)."""
        A, B, dropping = self.A, self.B, self.training and self.dropout > 0
        if x.dtype != A.dtype and not torch.is_autocast_enabled(x.device.type):
            x = x.to(A.dtype)
        if dropping:
            x = F.dropout(x, self.dropout)
        z = low_rank(x, A, B, self.scale)
        if self.magnitude is None:
            return (y + z).to(y.dtype)
        gain = self.magnitude / self.norms(base)  # (m,)
        if dropping:  # peft éteint aussi les entrées de W dont le gain corrige la norme
            wx = F.linear(x, dense_weight(base).to(x.dtype))
            return (y + (gain - 1) * wx + gain * z).to(y.dtype)
        z = gain * (y + z)
        bias = getattr(base, "bias", None)  # il était dans y et ne change pas : g b + (1 - g) b
        return (z if bias is None else z + (1 - gain) * bias).to(y.dtype)


class LoraLinear(nn.Module):
    """Un module linéaire gelé et ses adaptateurs, dont un au plus est actif.

    base : nn.Linear, Conv1D, ou toute couche qui a in_features, out_features et un forward.
    merged : celui qui est fondu dans les poids, kept : la matrice d’avant. serve : répond à la place
    de l’adaptateur actif (llmbook.lora_serving).
    """

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base, self.adapters = base, nn.ModuleDict()
        self.in_features, self.out_features = features(base)
        self.active: str | None = None
        self.merged: str | None = None
        self.kept: Tensor | None = None
        self.serve: Callable[[LoraLinear, Tensor, Tensor], Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return getattr(self.base, "bias", None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        if self.serve is not None:
            return self.serve(self, x, y)
        if self.merged is not None or self.active not in self.adapters:
            return y
        return self.adapters[self.active](x, y, self.base)
