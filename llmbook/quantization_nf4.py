"""NF4Linear : une couche qui multiplie par des poids de 4 bits, sans jamais les garder en clair.

C’est la base gelée de QLoRA (Dettmers et coll., 2023, arXiv:2305.14314) ; un adaptateur LoRA posé
dessus s’entraîne, elle non. Le format des poids est dans llmbook.quantization_blocks, la double
quantification des échelles dans llmbook.quantization_double.
"""

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmbook.quantization_blocks import (
    NF4Weight,
    dequantize_nf4,
    quantize_nf4,
    row_slices,
    sizes,
    slice_rows,
)

__all__ = [
    "NF4Linear",
    "NF4Weight",
    "dequantize_nf4",
    "memory_bytes",
    "quantize_linears",
    "quantize_nf4",
]

HEADS = ("lm_head", "score", "classifier", "qa_outputs")  # des sorties, gardées en clair
BUFFERS = ("codes", "absmax", "absmax_scale", "absmax_mean")

# Une couche


class Product(torch.autograd.Function):
    """x Wᵀ + b, W rangée en NF4. La passe arrière la retrouve une fois de plus, sans la garder.

    x : (..., N) ; weight : (M, N), retrouvée `rows` lignes à la fois ; bias : (M,) ou None ;
    renvoie (..., M).
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: NF4Weight, bias: Tensor | None, rows: int) -> Tensor:
        ctx.weight, ctx.rows = weight, rows
        if rows == weight.shape[0]:
            return F.linear(x, dequantize_nf4(weight, x.dtype), bias)
        y = x.new_empty(*x.shape[:-1], weight.shape[0])
        for part, W in row_slices(weight, rows, x.dtype):
            y[..., part] = F.linear(x, W, None if bias is None else bias[part])
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor):
        dx = db = None
        needs_x, _, needs_bias, _ = ctx.needs_input_grad
        (M, N), flat = ctx.weight.shape, dy.reshape(-1, dy.shape[-1])  # (B T, M)
        if needs_bias:
            db = flat.sum(0)
        if needs_x and ctx.rows == M:
            dx = dy @ dequantize_nf4(ctx.weight, dy.dtype)
        elif needs_x:
            dx = flat.new_zeros(len(flat), N)
            for part, W in row_slices(ctx.weight, ctx.rows, dy.dtype):
                dx.addmm_(flat[:, part], W)  # dx += dy[:, part] @ W
            dx = dx.view(*dy.shape[:-1], N)
        return dx, None, db, None


class NF4Linear(nn.Module):
    """y = x Wᵀ + b, W gelée et rangée en NF4 : x (..., in_features) -> (..., out_features).

    Le gradient va vers x, et vers b si vous le dégelez. compute_dtype : type du produit, celui de x
    (ou de l’autocast) par défaut. rows : lignes de W retrouvées à la fois, voir `slice_rows` ; peu
    de lignes bornent la mémoire passagère. Les échelles restent en float32 quand le modèle change
    de type.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        block: int = 64,
        double: bool = True,
        compute_dtype: torch.dtype | None = None,
        rows: int | None = None,
        device=None,
    ):
        super().__init__()
        self.in_features, self.out_features, self.block = in_features, out_features, block
        self.compute_dtype, self.rows = compute_dtype, rows
        n_bytes, n_blocks, n_groups = sizes(in_features * out_features, block)
        kind = torch.uint8 if double else torch.float32
        self.register_buffer("codes", torch.zeros(n_bytes, dtype=torch.uint8, device=device))
        self.register_buffer("absmax", torch.zeros(n_blocks, dtype=kind, device=device))
        scale, mean = torch.zeros(n_groups, device=device), torch.zeros((), device=device)
        self.register_buffer("absmax_scale", scale if double else None)
        self.register_buffer("absmax_mean", mean if double else None)
        frozen = nn.Parameter(torch.zeros(out_features, device=device), requires_grad=False)
        self.bias = frozen if bias else None

    @classmethod
    def from_linear(cls, linear: nn.Linear, **options) -> "NF4Linear":
        """La même couche en NF4, sur le même périphérique ; options : celles du constructeur.

        Le biais est le même objet, gelé. ValueError si un poids est nan ou infini.
        """
        m, n = linear.weight.shape
        layer = cls(n, m, bias=False, device="meta", **options).train(linear.training)
        layer.store(quantize_nf4(linear.weight, layer.block, layer.absmax_scale is not None))
        if linear.bias is not None:
            layer.bias = linear.bias.requires_grad_(False)
        return layer

    @property
    def packed(self) -> NF4Weight:
        """Les poids tels qu’ils sont rangés."""
        shape = torch.Size([self.out_features, self.in_features])
        scale, mean = self.absmax_scale, self.absmax_mean
        return NF4Weight(self.codes, self.absmax, shape, self.block, scale, mean)

    def store(self, weight: NF4Weight) -> None:
        """Remplace les poids ; ValueError s’ils sont d’une autre forme ou d’un autre rangement."""
        for name in BUFFERS:
            old, new = getattr(self, name), getattr(weight, name)
            same = (old is None) == (new is None)
            if not same or new is not None and (old.shape, old.dtype) != (new.shape, new.dtype):
                raise ValueError(f"{name} : ces poids {tuple(weight.shape)} ne vont pas à {self}")
        for name in BUFFERS:
            setattr(self, name, getattr(weight, name))

    def dequantize(self, dtype=torch.float32) -> Tensor:
        """La matrice approchée, (out_features, in_features)."""
        return dequantize_nf4(self.packed, dtype)

    def to_linear(self, dtype=torch.float32) -> nn.Linear:
        """Une couche ordinaire, gelée, aux poids arrondis."""
        n, m, device = self.in_features, self.out_features, self.codes.device
        linear = nn.Linear(n, m, bias=self.bias is not None, device="meta", dtype=dtype)
        linear.weight = nn.Parameter(self.dequantize(dtype), requires_grad=False)
        if self.bias is not None:
            linear.bias = nn.Parameter(self.bias.detach().to(device, dtype, copy=True), False)
        return linear.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        dtype, kind = self.compute_dtype or x.dtype, x.device.type
        if self.compute_dtype is None and torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        bias = None if self.bias is None else self.bias.to(dtype)
        y = Product.apply(x.to(dtype), self.packed, bias, slice_rows(self.packed, self.rows))
        return y if self.compute_dtype is None else y.to(x.dtype)

    def _apply(self, fn, recurse=True):
        """`.to(bfloat16)` ou `.half()` : les échelles changent de place, jamais de type."""
        before = {name: getattr(self, name) for name in BUFFERS}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = getattr(self, name)
            if new is not None and new.dtype != old.dtype:
                setattr(self, name, old.to(new.device))
        return self

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, block={self.block}, "
            f"double={self.absmax_scale is not None}"
        )


# Un modèle


def find_linears(model: nn.Module, targets: str | Sequence[str] = "all-linear") -> list[str]:
    """Les noms des nn.Linear visées : jamais la tête, ni une matrice partagée avec les plongements.

    targets : « all-linear », des fins de noms (« q_proj »), ou une expression régulière d’un nom
    entier. ValueError si une cible ne correspond à rien.
    """
    owners: dict[int, int] = {}
    for _, weight in model.named_parameters(remove_duplicate=False):
        owners[id(weight)] = owners.get(id(weight), 0) + 1
    head = getattr(model, "get_output_embeddings", lambda: None)()
    offered = [
        name
        for name, module in model.named_modules()
        if type(module) is nn.Linear and module is not head and owners[id(module.weight)] == 1
        if name and name.rpartition(".")[2] not in HEADS
    ]
    if targets == "all-linear":
        wanted = {"all-linear": offered}
    elif isinstance(targets, str):
        wanted = {targets: [name for name in offered if re.fullmatch(targets, name)]}
    else:
        wanted = {t: [n for n in offered if n == t or n.endswith(f".{t}")] for t in targets}
    missing = [target for target, names in wanted.items() if not names]
    if missing or not wanted:
        ends = dict.fromkeys(name.rpartition(".")[2] for name in offered)
        raise ValueError(
            f"aucune couche ne correspond à {', '.join(map(repr, missing)) or repr(targets)} ; ce "
            f"modèle offre {', '.join(ends) or 'aucune nn.Linear'} (la tête reste en clair)"
        )
    chosen = {name for names in wanted.values() for name in names}
    return [name for name in offered if name in chosen]


def quantize_linears(
    model: nn.Module, targets: str | Sequence[str] = "all-linear", **options
) -> list[str]:
    """Remplace des nn.Linear du modèle par des NF4Linear ; renvoie leurs noms.

    Une couche à la fois : l’ancienne est libérée avant que la suivante ne soit lue. targets : voir
    `find_linears` ; options : block, double, compute_dtype, rows. Le reste du modèle ne change pas.
    """
    names = find_linears(model, targets)
    for name in names:
        linear = model.get_submodule(name)
        if not linear.weight.isfinite().all():
            raise ValueError(f"{name} : des poids sont nan ou infinis, le modèle est intact")
    for name in names:
        model.set_submodule(name, NF4Linear.from_linear(model.get_submodule(name), **options))
    return names


def memory_bytes(model: nn.Module) -> int:
    """Octets des paramètres et des tampons, chacun compté une fois."""
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
