"""L’attention d’un paquet : chaque exemple redevient une rangée le temps du produit.

Masquer les autres exemples suffit à la justesse, mais calcule les T² scores d’un paquet pour n’en
garder que ceux des blocs. Ici, les exemples de longueurs voisines sont mis en rangées, sans masque,
et leur attention causale se fait comme celle d’un lot ordinaire : Σ n² scores au lieu de T².
"""

from collections.abc import Callable

import torch
from torch import Tensor

from llmbook.attention import sdpa


def attention_by_example(numbers: Tensor) -> Callable[..., Tensor]:
    """Une attention causale de même appel que `sdpa`, où chaque exemple ne voit que lui-même.

    numbers (B, T) : numéro d’exemple de chaque position, négatif au remplissage, qui reçoit des
    zéros ; un exemple est d’un seul tenant. Rend `attend(q, k, v, window=None)`, q (B, H, T, D),
    à donner aux couches d’un modèle le temps d’un lot.
    """
    groups = _rows(numbers)
    written = torch.cat([index[real] for index, real in groups])  # (N,) positions non vides
    reads = [(index, real.flatten().nonzero().squeeze(1)) for index, real in groups]

    def attend(q, k, v, *, causal: bool = True, window: int | None = None) -> Tensor:
        B, H, T, D = q.shape
        flat = [x.transpose(1, 2).reshape(B * T, -1, D) for x in (q, k, v)]  # (B·T, têtes, D)
        pieces = []
        for index, real in reads:
            rows = (x.index_select(0, index.flatten()).view(*index.shape, -1, D) for x in flat)
            y = sdpa(*(x.transpose(1, 2) for x in rows), causal=True, window=window)
            pieces.append(y.transpose(1, 2).flatten(0, 1).index_select(0, real))  # (n, H, D)
        out = torch.zeros_like(flat[0]).index_copy(0, written, torch.cat(pieces))
        return out.view(B, T, H, D).transpose(1, 2)

    return attend


def _rows(numbers: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Les exemples par classe de longueur, d’une puissance de 2 à la suivante.

    Une classe : index (D, L) dans le lot aplati, et lesquels sont vrais, (D, L). Au bout d’une
    rangée, le dernier token se répète : l’attention causale ne l’y laisse voir de personne.
    """
    starts = torch.ones_like(numbers, dtype=torch.bool)
    starts[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    first = starts.flatten().nonzero().squeeze(1)  # début de chaque segment
    sizes = torch.diff(first, append=first.new_tensor([numbers.numel()]))
    kept = numbers.flatten()[first] >= 0
    if not kept.any():
        raise ValueError("numbers : aucun exemple, tout est du remplissage")
    first, sizes = first[kept], sizes[kept]
    classes = sizes.double().log2().ceil()
    groups = []
    for one in classes.unique().tolist():
        begin, size = first[classes == one, None], sizes[classes == one, None]  # (D, 1)
        rank = torch.arange(int(size.max()), device=numbers.device)
        groups.append((begin + rank.minimum(size - 1), rank < size))
    return groups
