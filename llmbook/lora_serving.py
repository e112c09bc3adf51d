"""Servir plusieurs adaptateurs sur une même base : un lot mêlé, ou leur combinaison.

Chen et coll., 2023, Punica, arXiv:2310.18547 ; Sheng et coll., 2023, S-LoRA, arXiv:2311.03285.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmbook.lora import holding, place, restored
from llmbook.lora_layers import LoraLinear


@contextmanager
def adapters_per_row(model: nn.Module, names: Sequence[str | None]) -> Iterator[None]:
    """Le temps d’un bloc, la ligne i du lot passe par l’adaptateur names[i] ; None : la base seule.

    Chaque ligne reçoit ce qu’elle aurait reçu seule. Sans dropout. ValueError pour un nom inconnu
    ou un adaptateur fondu ; et, à la passe avant, si le lot n’a pas une ligne par nom.
    """
    for name in dict.fromkeys(names):
        if name is not None:
            holding(model, name)
    with restored(model) as layers:
        for layer in layers:
            layer.serve = Mixture(names)
        yield


class Mixture:
    """Ce qu’une couche fait d’un lot mêlé : deux produits pour toutes les lignes, sans boucle.

    Les adaptateurs sont mis bout à bout, A (R, n) et B (m, R), R la somme de leurs rangs ; entre
    les deux, chaque ligne garde les rangs de son adaptateur, multipliés par s, et annule les autres.
    Le travail croît avec R : pour des centaines d’adaptateurs, il faut les noyaux de Punica.
    """

    def __init__(self, names: Sequence[str | None]):
        self.names, self.stacked = list(names), None

    def __call__(self, layer: LoraLinear, x: Tensor, y: Tensor) -> Tensor:
        """x : (B, ..., n) ; y : (B, ..., m) ; renvoie (B, ..., m)."""
        if x.shape[0] != len(self.names):
            raise ValueError(
                f"{len(self.names)} adaptateurs pour un lot de {x.shape[0]} lignes : "
                "donnez un nom, ou None, par ligne"
            )
        if torch.is_grad_enabled():  # les poids changent à chaque pas
            A, B, keep, gain = self.stack(layer)
        else:
            self.stacked = self.stacked or self.stack(layer)
            A, B, keep, gain = self.stacked
        wide = (len(self.names),) + (1,) * (x.ndim - 2) + (-1,)  # une valeur par ligne du lot
        if not torch.is_autocast_enabled(x.device.type):
            x = x.to(A.dtype)
        correction = F.linear(F.linear(x, A) * keep.view(wide), B)
        if gain is None:
            return (y + correction).to(y.dtype)
        gain = gain.view(wide)
        z = gain * (y + correction)
        return (z if layer.bias is None else z + (1 - gain) * layer.bias).to(y.dtype)

    def stack(self, layer: LoraLinear) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """A (R, n), B (m, R), ce que chaque ligne garde (B, R) et, pour DoRA, ses gains (B, m)."""
        used = {name: layer.adapters[name] for name in self.names if name in layer.adapters}
        some = next(iter(layer.adapters.values()))
        A = torch.cat([some.A[:0], *(a.A for a in used.values())])
        B = torch.cat([some.B[:, :0], *(a.B for a in used.values())], dim=1)
        keep = {name: torch.zeros(len(A)) for name in self.names}
        start = 0
        for name, adapter in used.items():
            keep[name][start : start + adapter.rank] = adapter.scale
            start += adapter.rank
        keep = torch.stack([keep[name] for name in self.names]).to(A)
        if all(adapter.magnitude is None for adapter in used.values()):
            return A, B, keep, None
        flat = A.new_ones(layer.out_features)
        gains = {
            name: a.magnitude / a.norms(layer.base)
            for name, a in used.items()
            if a.magnitude is not None
        }
        return A, B, keep, torch.stack([gains.get(name, flat) for name in self.names])


@torch.no_grad()
def combine(model: nn.Module, weights: dict[str, float], name: str) -> list[str]:
    """Pose l’adaptateur Σ wᵢ Δᵢ, exact : les rangs sont mis bout à bout, et s’ajoutent.

    weights : {"fr": 0.7, "sql": 0.3}, de somme et de signe quelconques. Renvoie les noms des
    couches. ValueError, le modèle intact, si un nom est inconnu ou pris, si un adaptateur est DoRA.
    """
    if not weights:
        raise ValueError("weights est vide : donnez au moins un adaptateur et son poids")
    plan, parts = {}, {}
    for source, weight in weights.items():
        for key, layer in holding(model, source).items():
            adapter = layer.adapters[source]
            if adapter.magnitude is not None:
                raise ValueError(f"{source!r} est DoRA : ses corrections ne s’additionnent pas")
            parts.setdefault(key, []).append((weight * adapter.scale, adapter))
    for key, found in parts.items():
        rank = sum(adapter.rank for _, adapter in found)
        plan[key] = (rank, rank)  # α = r : l’échelle est 1, celles des parties sont dans B
    for key, mixed in place(model, plan, name).items():
        mixed.A.copy_(torch.cat([adapter.A for _, adapter in parts[key]]))
        mixed.B.copy_(torch.cat([weight * adapter.B for weight, adapter in parts[key]], dim=1))
    return list(plan)
