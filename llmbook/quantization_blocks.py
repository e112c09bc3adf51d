"""Quatre bits par poids : des niveaux bien placés, une échelle par bloc, deux poids par octet.

Un bloc de 64 poids est divisé par son plus grand |w| (*absmax*), puis chaque poids devient le plus
proche d’une quinzaine de niveaux entre -1 et 1. Où les mettre fait la différence entre INT4, FP4 et
NF4 (*NormalFloat*). Octets, échelles et poids retrouvés sont ceux de bitsandbytes, bit pour bit.
Dettmers et coll., 2023, arXiv:2305.14314, section 3 et annexe E.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import torch
import torch.nn.functional as F
from torch import Tensor

from llmbook.quantization_double import BLOCK, compress_scales, expand_scales

OFFSET = 0.9677083  # 1 - (1/32 + 1/30) / 2, aux chiffres que bitsandbytes en garde
TINY = 1e-38  # diviseur d’un bloc nul

# Où mettre les niveaux


@cache
def nf4_levels(device=None) -> Tensor:
    """Les 16 niveaux de NormalFloat, rangés : (16,) float32, de -1 à 1, 0 compris.

    Huit quantiles de la normale au-dessus de la moitié, sept au-dessous, zéro entre les deux, le
    tout divisé par le plus grand : sur des poids gaussiens, les niveaux servent presque autant les
    uns que les autres, sauf aux bords. Les quantiles de 0 et de 1 seraient infinis, d’où OFFSET.
    """
    inverse = NormalDist().inv_cdf  # Φ⁻¹
    on_cpu = dict(dtype=torch.float32, device="cpu")  # quel que soit le périphérique par défaut
    above = [inverse(p) for p in torch.linspace(OFFSET, 0.5, 9, **on_cpu)[:-1].tolist()]
    below = [-inverse(p) for p in torch.linspace(OFFSET, 0.5, 8, **on_cpu)[:-1].tolist()]
    levels = torch.tensor(sorted([*below, 0.0, *above]), **on_cpu)
    return (levels / levels.max()).to(device or "cpu")


def fp4_levels(device=None) -> Tensor:
    """Les 15 valeurs de FP4 (signe, 2 bits d’exposant, 1 de mantisse) selon bitsandbytes : (15,)."""
    above = torch.tensor([0.0625, 2, 3, 4, 6, 8, 12], dtype=torch.float32, device=device)
    return torch.cat([-above.flip(0), above.new_zeros(1), above]) / 12


def int4_levels(device=None) -> Tensor:
    """Les 15 entiers de -7 à 7, divisés par 7 : (15,)."""
    return torch.arange(-7, 8, dtype=torch.float32, device=device) / 7


# Arrondir


def encode(x: Tensor, levels: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Le numéro du niveau le plus proche de chaque x / absmax, et l’absmax de chaque bloc.

    x : (n,) float32 ; renvoie des uint8 (⌈n / block⌉, block), le dernier bloc complété de zéros, et
    (⌈n / block⌉,) float32. À mi-chemin de deux niveaux, un poids prend le plus bas.
    """
    blocks = F.pad(x, (0, -len(x) % block)).view(-1, block)
    absmax = blocks.abs().amax(1)
    scaled = blocks * (1 / absmax.clamp(min=TINY))[:, None]
    if len(x) % block:  # bitsandbytes divise le dernier bloc, incomplet, où il multiplie les autres
        absmax[-1:].clamp_(min=TINY)
        scaled[-1] = blocks[-1] / absmax[-1]
    codes = torch.zeros(blocks.shape, dtype=torch.uint8, device=x.device)
    for threshold in ((levels[:-1] + levels[1:]) / 2).tolist():
        codes += scaled > threshold  # le numéro d’un niveau : combien de seuils sont dépassés
    return codes, absmax


def round_to_levels(weight: Tensor, levels: Tensor, block: int = 64) -> Tensor:
    """Les poids arrondis à des niveaux au choix, (K,) rangés de -1 à 1 : même forme, float32.

    ValueError si les niveaux ne sont pas rangés, ou si des poids sont nan ou infinis.
    """
    if levels.ndim != 1 or len(levels) > 256 or not (levels[1:] > levels[:-1]).all():
        raise ValueError("levels : 256 nombres au plus, du plus petit au plus grand, sont attendus")
    codes, absmax = encode(weight.flatten().float(), levels, block)
    if not absmax.isfinite().all():
        raise ValueError("des poids sont nan ou infinis : rien à arrondir")
    values = levels[codes.int()] * absmax[:, None]
    return values.flatten()[: weight.numel()].view(weight.shape)


# Ranger


@dataclass(frozen=True)
class NF4Weight:
    """Un tenseur de n poids rangé en NF4.

    codes : (⌈n / 2⌉,) uint8, deux numéros par octet, le premier dans les quatre bits de poids fort ;
    absmax : (⌈n / block⌉,) float32, ou des octets si les échelles sont elles-mêmes quantifiées, avec
    absmax_scale (⌈n / 256 block⌉,) et absmax_mean () float32 ; shape : la forme d’origine.
    """

    codes: Tensor
    absmax: Tensor
    shape: torch.Size
    block: int
    absmax_scale: Tensor | None = None
    absmax_mean: Tensor | None = None

    def scales(self) -> Tensor:
        """L’échelle de chaque bloc : (⌈n / block⌉,) float32."""
        if self.absmax_scale is None:
            return self.absmax
        return expand_scales(self.absmax, self.absmax_scale, self.absmax_mean)

    def bits_per_weight(self) -> float:
        """4 + 32/64, ou en double 4 + 8/64 + 32/(64 · 256), et les 32 bits de la moyenne."""
        parts = [self.codes, self.absmax, self.absmax_scale, self.absmax_mean]
        return 8 * sum(t.nbytes for t in parts if t is not None) / self.shape.numel()


def sizes(n: int, block: int) -> tuple[int, int, int]:
    """Combien d’octets, d’échelles, et d’échelles d’échelles pour n poids."""
    if block < 2 or block % 2:
        raise ValueError(f"block={block} : un nombre pair est attendu, 64 par exemple")
    return -(-n // 2), -(-n // block), -(-n // (block * BLOCK))


def chunk_size(device: torch.device, block: int) -> int:
    """Poids traités ensemble : assez peu pour le cache d’un processeur, beaucoup sur une carte."""
    return max(1, (2**18 if device.type == "cpu" else 2**24) // block) * block


@torch.no_grad()
def quantize_nf4(weight: Tensor, block: int = 64, double: bool = True) -> NF4Weight:
    """Range des poids flottants, de forme quelconque, lus ligne par ligne.

    block : poids par échelle, pair. double : échelles en 8 bits. La mémoire de travail ne dépend
    pas de la taille. ValueError si des poids sont nan ou infinis, si weight ou block ne va pas.
    """
    flat, n, device = weight.reshape(-1), weight.numel(), weight.device
    if not weight.is_floating_point() or n == 0:
        raise ValueError(f"weight : {n} poids {weight.dtype}, des flottants sont attendus")
    n_bytes, n_blocks, _ = sizes(n, block)
    codes = torch.empty(n_bytes, dtype=torch.uint8, device=device)
    absmax = torch.empty(n_blocks, dtype=torch.float32, device=device)
    step = chunk_size(device, block)
    for i in range(0, n, step):
        part = flat[i : i + step].float()
        numbers, tops = encode(part, nf4_levels(device), block)
        pairs = numbers.view(-1, 2)[: -(-len(part) // 2)]
        codes[i // 2 :][: len(pairs)] = pairs[:, 0] << 4 | pairs[:, 1]
        absmax[i // block :][: len(tops)] = tops
    if not absmax.isfinite().all():
        raise ValueError("des poids sont nan ou infinis : rien à arrondir")
    if not double:
        return NF4Weight(codes, absmax, weight.shape, block)
    absmax, scale, mean = compress_scales(absmax)
    return NF4Weight(codes, absmax, weight.shape, block, scale, mean)


# Retrouver


@cache
def nf4_pairs(device=None) -> Tensor:
    """Les deux niveaux de chaque octet : (256,) int64, où deux float32 se lisent d’un coup."""
    byte = torch.arange(256, device="cpu")
    pairs = nf4_levels()[torch.stack([byte >> 4, byte & 15], dim=1)]  # (256, 2)
    return pairs.view(torch.int64).flatten().to(device or "cpu")


def decode(weight: NF4Weight, scales: Tensor, start: int, stop: int, dtype) -> Tensor:
    """Les poids de `start`, multiple de block, à `stop` : (stop - start,), de type `dtype`.

    L’échelle multiplie en float32, le produit est arrondi ensuite, comme dans bitsandbytes.
    """
    block, device = weight.block, weight.codes.device
    out = torch.empty(-(-(stop - start) // block) * block, dtype=dtype, device=device)
    step = chunk_size(device, block)
    for i in range(start, stop, step):
        end = min(i + step, stop)
        codes, tops = weight.codes[i // 2 : -(-end // 2)], scales[i // block : -(-end // block)]
        place = out[i - start :][: len(tops) * block]
        values = place if dtype == torch.float32 else torch.empty_like(place, dtype=torch.float32)
        pairs = values.view(torch.int64)[: len(codes)]
        torch.index_select(nf4_pairs(device), 0, codes.int(), out=pairs)
        values.view(-1, block).mul_(tops[:, None])
        if values is not place:
            place.copy_(values)
    return out[: stop - start]


@torch.no_grad()
def dequantize_nf4(weight: NF4Weight, dtype=torch.float32) -> Tensor:
    """Les poids approchés, à la forme d’origine."""
    return decode(weight, weight.scales(), 0, weight.shape.numel(), dtype).view(weight.shape)


def slice_rows(weight: NF4Weight, rows: int | None) -> int:
    """Combien de lignes de la matrice (M, N) retrouver à la fois, pour finir avec un bloc.

    rows : combien vous en voulez ; par défaut un million de poids sur processeur, où une mémoire
    qui resservira coûte moins que de la neuve, et toute la matrice sur une carte.
    """
    M, N = weight.shape
    if rows is None:
        rows = 2**20 // N if weight.codes.device.type == "cpu" else M
    together = weight.block // math.gcd(weight.block, N)  # lignes qui finissent avec un bloc
    return min(M, max(1, -(-rows // together)) * together)


def row_slices(weight: NF4Weight, rows: int, dtype) -> Iterator[tuple[slice, Tensor]]:
    """La matrice (M, N) par tranches de `rows` lignes, un nombre donné par `slice_rows`."""
    (M, N), scales = weight.shape, weight.scales()
    for first in range(0, M, rows):
        last = min(first + rows, M)
        yield slice(first, last), decode(weight, scales, first * N, last * N, dtype).view(-1, N)
