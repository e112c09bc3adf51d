"""Ranger les échelles elles-mêmes en 8 bits : la double quantification de QLoRA.

Un bloc de 64 poids porte une échelle de 32 bits, soit un demi-bit par poids. Ces échelles se
ressemblent : leur moyenne ôtée, un octet chacune suffit, et le demi-bit devient un huitième.
Dettmers et coll., 2023, arXiv:2305.14314, section 3.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 256  # échelles qui partagent une échelle d’échelles
GRID = 65_535  # sur processeur, bitsandbytes arrondit d’abord à un multiple de 2 / 65 535


@cache
def create_dynamic_map(device=None) -> Tensor:
    """Les 256 valeurs du code dynamique signé de 8 bits, rangées : (256,) float32, de -0,993 à 1.

    Un bit de signe, puis des zéros qui comptent la puissance de dix, un 1, et les bits restants
    partagent la décade : 1 valeur près de 10⁻⁶, 64 entre 0,1 et 1. Les grands nombres sont connus
    finement, les petits ne s’annulent pas. Dettmers, 2015, arXiv:1511.04561.
    """
    on_cpu = dict(dtype=torch.float32, device="cpu")  # quel que soit le périphérique par défaut
    levels = [torch.tensor([0.0, 1.0], **on_cpu)]
    for bits in range(7):
        edges = torch.linspace(0.1, 1, 2**bits + 1, **on_cpu)
        middles = 10.0 ** (bits - 6) * ((edges[:-1] + edges[1:]) / 2)
        levels += [middles, -middles]
    return torch.cat(levels).sort().values.to(device or "cpu")


def quantize_dynamic(x: Tensor) -> tuple[Tensor, Tensor]:
    """Un octet par nombre, une échelle par bloc de 256.

    x : (n,) float32 ; renvoie les octets (n,) uint8 et les échelles (⌈n / 256⌉,) float32. Égal à
    `quantize_blockwise` de bitsandbytes 0.50 sur processeur, bit pour bit : l’arrondi préalable à
    la grille est le sien. Ses noyaux pour cartes s’en passent : un octet peut y différer d’un cran.
    """
    blocks = F.pad(x, (0, -len(x) % BLOCK)).view(-1, BLOCK)
    top = blocks.abs().amax(1)
    scaled = (blocks * (1 / top)[:, None]).clamp(-1, 1)
    cell = ((scaled + 1) * 0.5).double() * GRID + 0.5  # en double : arrondi une seule fois, après
    scaled = cell.float().int().float() * 2 / GRID - 1
    levels = create_dynamic_map(x.device)
    codes = torch.bucketize(scaled, (levels[:-1] + levels[1:]) / 2)  # seuils au milieu
    codes = codes.masked_fill(top[:, None] == 0, 0)  # 0 / 0 : n’importe quel octet, fois zéro
    return codes.to(torch.uint8).flatten()[: len(x)], top


def dequantize_dynamic(codes: Tensor, scale: Tensor) -> Tensor:
    """Les nombres approchés (n,) float32 : codes (n,) uint8, scale (⌈n / 256⌉,) float32."""
    values = create_dynamic_map(codes.device).index_select(0, codes.int())
    blocks = F.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)
    return (blocks * scale[:, None]).flatten()[: len(codes)]


def compress_scales(absmax: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Des échelles positives (n,) en octets (n,), échelles (⌈n / 256⌉,), et leur moyenne ()."""
    mean = absmax.mean()
    return *quantize_dynamic(absmax - mean), mean


def expand_scales(codes: Tensor, scale: Tensor, mean: Tensor) -> Tensor:
    """L’inverse approché de `compress_scales` : (n,) float32."""
    return dequantize_dynamic(codes, scale) + mean
