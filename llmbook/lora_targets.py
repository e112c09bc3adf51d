"""Dire où poser LoRA : la configuration d’un adaptateur, et les couches qu’elle vise."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from llmbook.lora_layers import LoraLinear, features

HEADS = ("lm_head", "score", "classifier", "qa_outputs")


@dataclass(frozen=True)
class LoraConfig:
    """Un adaptateur : rang, échelle, couches visées. L’échelle est α / r, ou α / √r si rslora.

    targets : liste de fins de noms (« q_proj »), ou expression régulière d’un nom entier, ou
    « all-linear » : tout module linéaire sauf la tête. dropout : part des entrées de A éteintes.
    rank_pattern, alpha_pattern : le rang et l’α de certaines couches, par fin de nom ou motif.
    """

    rank: int = 8
    alpha: float = 16
    targets: str | Sequence[str] = "all-linear"
    rslora: bool = False
    dora: bool = False
    dropout: float = 0.0
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        for rank in (self.rank, *self.rank_pattern.values()):
            if not isinstance(rank, int) or rank < 1:
                raise ValueError(f"rank={rank} : un entier, 1 au moins, est attendu")
        for alpha in (self.alpha, *self.alpha_pattern.values()):
            if not alpha > 0:
                raise ValueError(f"alpha={alpha} : un nombre positif est attendu")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} : une part de [0, 1[ est attendue")
        if not isinstance(self.targets, str):
            object.__setattr__(self, "targets", tuple(self.targets))
        if not self.targets or not all(isinstance(end, str) and end for end in self.targets):
            raise ValueError(f"targets={self.targets!r} : donnez au moins une fin de nom de couche")
        for pattern in (self.targets, *self.rank_pattern, *self.alpha_pattern):
            if isinstance(pattern, str):
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(f"{pattern!r} : motif illisible, {error}") from error

    def matches(self, name: str) -> bool:
        """Cette couche est-elle visée ? « all-linear » dit oui à toutes."""
        if self.targets == "all-linear":
            return True
        if isinstance(self.targets, str):
            return re.fullmatch(self.targets, name) is not None
        return any(name == end or name.endswith(f".{end}") for end in self.targets)

    def sized(self, name: str) -> tuple[int, float]:
        """Le rang et l’α de cette couche."""

        def pick(patterns: dict, default):
            found = (v for key, v in patterns.items() if re.match(rf"(.*\.)?({key})$", name))
            return next(found, default)

        return pick(self.rank_pattern, self.rank), pick(self.alpha_pattern, self.alpha)


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Nom -> module linéaire, dans l’ordre du modèle ; un LoraLinear compte pour un seul module."""
    found, inside = {}, "\0"
    for name, module in model.named_modules():
        if name and not name.startswith(inside) and (features(module) is not None):
            found[name], inside = module, f"{name}."
    return found


def adapted_layers(model: nn.Module) -> dict[str, LoraLinear]:
    """Nom -> LoraLinear."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LoraLinear)}


def base_of(module: nn.Module) -> nn.Module:
    """Le module linéaire gelé, avec ou sans adaptateurs autour."""
    return module.base if isinstance(module, LoraLinear) else module


def targeted(model: nn.Module, config: LoraConfig) -> dict[str, nn.Module]:
    """Les modules linéaires que vise la configuration ; ValueError s’il n’y en a aucun."""
    layers = linear_layers(model)
    if config.targets == "all-linear":
        head = getattr(model, "get_output_embeddings", lambda: None)()
        for name in [*layers]:
            if layers[name] is head or name.rpartition(".")[2] in HEADS:
                del layers[name]
    found = {name: module for name, module in layers.items() if config.matches(name)}
    if not found:
        ends = dict.fromkeys(name.rpartition(".")[2] for name in layers)
        raise ValueError(
            f"aucune couche ne correspond à targets={config.targets!r} ; "
            f"ce modèle offre {', '.join(ends) or 'aucun module linéaire'}"
        )
    return found
