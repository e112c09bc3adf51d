"""Ranger des poids en entiers de 8 bits : un entier par poids, une échelle par ligne.

C’est la forme dont `models/petit` est livré, deux fois plus légère que bfloat16, et celle du format
« int-quantized » de compressed-tensors, que lisent transformers et vLLM.
"""

import torch
from torch import Tensor

LEVELS = 127  # de -127 à 127 : symétrique, -128 n’est pas employé


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Arrondit chaque ligne à un multiple de max|w| / 127 (*absmax*).

    weight : (M, N) ; renvoie des entiers int8 (M, N) et des échelles bfloat16 (M, 1). L’erreur d’un
    poids est d’une demi-échelle au plus, plus l’arrondi de l’échelle. Dettmers et coll., 2022,
    arXiv:2208.07339, section 2. ValueError si ce n’est pas une matrice, ou s’il contient des nan.
    """
    if weight.ndim != 2:
        raise ValueError(f"weight de forme {tuple(weight.shape)} : une matrice est attendue")
    weight = weight.float()
    if not weight.isfinite().all():
        raise ValueError("des poids sont nan ou infinis : rien à arrondir")
    top = weight.abs().amax(dim=1, keepdim=True)
    scale = (top / LEVELS).to(torch.bfloat16)
    divisor = scale.float().masked_fill(scale == 0, 1.0)  # une ligne nulle reste nulle
    return (weight / divisor).round().clamp(-LEVELS, LEVELS).to(torch.int8), scale


def dequantize_int8(values: Tensor, scale: Tensor, dtype=torch.float32) -> Tensor:
    """Les poids approchés : values (M, N) int8 × scale (M, 1)."""
    if values.dtype != torch.int8 or scale.shape != (len(values), 1):
        raise ValueError(
            f"int8 (M, N) et échelles (M, 1) attendus, reçu {values.dtype} {tuple(values.shape)} "
            f"et {tuple(scale.shape)}"
        )
    return (values.float() * scale.float()).to(dtype)
