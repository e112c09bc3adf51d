"""Poser LoRA sur un modèle, changer d’adaptateur, le fondre dans les poids.

    inject(model, LoraConfig(rank=8, alpha=16))      # tout le reste du modèle est gelé
    optimizer = AdamW(trainable_parameters(model))
    …
    merge_and_unload(model)                          # le modèle d’origine, aux poids corrigés

Marche sur un `LanguageModel` comme sur tout modèle de transformers. La couche est dans
llmbook.lora_layers, les fichiers dans llmbook.lora_files, le service dans llmbook.lora_serving.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from llmbook.lora_layers import (
    Adapter,
    LoraLinear,
    dense_weight,
    features,
    has_plain_weight,
    is_transposed,
)
from llmbook.lora_targets import LoraConfig, adapted_layers, base_of, linear_layers, targeted
from llmbook.lora_tokens import merge_tokens, rows_disabled, token_rows

# Poser


def inject(
    model: nn.Module,
    config: LoraConfig,
    name: str = "default",
    generator: torch.Generator | None = None,
) -> list[str]:
    """Pose un adaptateur, le rend actif et gèle tout le reste ; renvoie les noms des couches.

    La sortie du modèle ne change pas : B est nulle. Un second appel, sous un autre nom, ajoute un
    adaptateur à côté du premier. ValueError, le modèle intact, si aucune couche n’est visée, si le
    rang dépasse une matrice, si le nom est pris ou si un adaptateur est fondu dans les poids.
    """
    plan = {layer: config.sized(layer) for layer in targeted(model, config)}
    for layer, (rank, _) in plan.items():
        limit = min(features(model.get_submodule(layer)))
        if rank > limit:
            raise ValueError(
                f"rank={rank} dépasse la plus petite dimension de {layer}, {limit} : "
                "une matrice n’a pas plus de rangs, baissez-le"
            )
    adapters = place(model, plan, name, config.rslora, config.dora, config.dropout)
    for adapter in adapters.values():
        adapter.reset(generator)
    return list(adapters)


def place(
    model: nn.Module,
    plan: dict[str, tuple[int, float]],
    name: str,
    rslora: bool = False,
    dora: bool = False,
    dropout: float = 0.0,
) -> dict[str, Adapter]:
    """Pose des adaptateurs nuls : plan donne le rang et l’α de chaque couche ; vérifie d’abord."""
    check_free(model, name)
    bases = {layer: base_of(model.get_submodule(layer)) for layer in plan}
    for base in bases.values() if dora else ():
        dense_weight(base)  # une base qui ne sait pas donner sa matrice s’en plaint ici
    if not hasattr(model, "frozen_by_lora"):
        model.frozen_by_lora = [p for p in model.parameters() if p.requires_grad]
    model.requires_grad_(False)
    adapters = {}
    for layer, base in bases.items():
        module = model.get_submodule(layer)
        if module is base:
            module = LoraLinear(base).train(base.training)
            model.set_submodule(layer, module)
        adapter = Adapter(base, *plan[layer], rslora, dropout).train(base.training)
        if dora:
            adapter.add_magnitude(base)
        module.adapters[name] = adapters[layer] = adapter
    set_adapter(model, name)
    return adapters


def check_free(model: nn.Module, name: str) -> None:
    """ValueError si l’on ne peut pas poser d’adaptateur de ce nom."""
    if not name or "." in name or hasattr(nn.ModuleDict, name):
        raise ValueError(f"{name!r} ne peut pas nommer un adaptateur : prenez un mot, sans point")
    layers = unmerged(model)
    if any(name in layer.adapters for layer in layers.values()):
        raise ValueError(f"l’adaptateur {name!r} est déjà posé : prenez un autre nom")


def unmerged(model: nn.Module) -> dict[str, LoraLinear]:
    """Les couches LoRA, s’il y en a ; ValueError si un adaptateur est fondu dans les poids."""
    layers = adapted_layers(model)
    if merged := next((layer.merged for layer in layers.values() if layer.merged), None):
        raise ValueError(f"l’adaptateur {merged!r} est fondu dans les poids : appelez unmerge")
    return layers


def holding(model: nn.Module, name: str) -> dict[str, LoraLinear]:
    """Les couches où cet adaptateur est posé ; ValueError, avec les noms connus, s’il n’y en a pas."""
    layers = adapted_layers(model)
    known = dict.fromkeys(name for layer in layers.values() for name in layer.adapters)
    if not known:
        raise ValueError("ce modèle n’a pas d’adaptateur : posez-en un par inject ou load_adapter")
    if name not in known:
        raise ValueError(f"adaptateur inconnu : {name!r} ; ce modèle a {', '.join(known)}")
    return {key: layer for key, layer in layers.items() if name in layer.adapters}


# Choisir


def set_adapter(model: nn.Module, name: str | None) -> None:
    """Rend cet adaptateur actif, et seul entraîné ; None : la base seule, tout est gelé."""
    layers = unmerged(model)
    if name is not None:
        holding(model, name)
    for layer in layers.values():
        layer.active = name
        for key, adapter in layer.adapters.items():
            adapter.requires_grad_(key == name)


def active_adapter(model: nn.Module) -> str | None:
    """Le nom de l’adaptateur actif, ou None."""
    return next((layer.active for layer in adapted_layers(model).values()), None)


@contextmanager
def restored(model: nn.Module) -> Iterator[list[LoraLinear]]:
    """Les couches LoRA ; à la fin du bloc, chacune retrouve l’adaptateur qui y répondait."""
    layers = [*unmerged(model).values()]
    before = [(layer.active, layer.serve) for layer in layers]
    try:
        yield layers
    finally:
        for layer, (active, serve) in zip(layers, before, strict=True):
            layer.active, layer.serve = active, serve


@contextmanager
def adapters_disabled(model: nn.Module) -> Iterator[None]:
    """Le temps d’un bloc, le modèle de base : une référence, sans second exemplaire en mémoire."""
    with restored(model) as layers, rows_disabled(model):
        for layer in layers:
            layer.active = layer.serve = None
        yield


# Fondre dans les poids


@torch.no_grad()
def merge(model: nn.Module, name: str | None = None, keep: bool = True) -> None:
    """Remplace chaque W par W + s B A : la passe avant ne coûte plus rien de plus.

    name : l’adaptateur actif par défaut. keep : garde l’ancien W, que `unmerge` rendra bit à bit.
    ValueError, les poids intacts, si c’est déjà fait, si une base est quantifiée, si sa matrice
    sert aussi ailleurs (tête partagée) ou si l’adaptateur n’est pas fini (NaN).
    """
    unmerged(model)
    name = name or active_adapter(model)
    if name is None:
        raise ValueError("aucun adaptateur actif : posez-en un, ou donnez le nom de celui à fondre")
    layers = holding(model, name)
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for key, layer in layers.items():
        if not has_plain_weight(layer.base):
            raise ValueError(
                f"{key} : {type(layer.base).__name__} est quantifiée, on ne peut rien y fondre ; "
                "chargez l’adaptateur sur la base en bf16 ou float32, puis fondez-le"
            )
        if uses[id(layer.base.weight)] > 1:
            raise ValueError(f"{key} : cette matrice sert aussi ailleurs, qui changerait avec elle")
        if not all(p.isfinite().all() for p in layer.adapters[name].parameters()):
            raise ValueError(f"{key} : l’adaptateur {name!r} contient des NaN ou des infinis")
    for layer in layers.values():
        weight = layer.base.weight
        merged = layer.adapters[name].merged_weight(layer.base)
        layer.merged, layer.kept = name, weight.data if keep else None
        weight.data = merged.T.contiguous() if is_transposed(layer.base) else merged


@torch.no_grad()
def unmerge(model: nn.Module) -> None:
    """Rend les matrices d’avant la fusion, bit à bit ; ValueError s’il n’y en a pas eu."""
    layers = [layer for layer in adapted_layers(model).values() if layer.merged]
    if not layers:
        raise ValueError("rien n’est fondu dans les poids : appelez d’abord merge")
    if any(layer.kept is None for layer in layers):
        raise ValueError("les anciennes matrices n’ont pas été gardées : merge(…, keep=True)")
    for layer in layers:
        weight = layer.base.weight
        weight.data = layer.kept.to(weight.device, weight.dtype)
        layer.merged = layer.kept = None


def merge_and_unload(model: nn.Module, name: str | None = None) -> nn.Module:
    """Fond l’adaptateur puis retire LoRA : modules d’origine, et ce qui s’entraînait s’entraîne.

    Les lignes de plongement apprises (llmbook.lora_tokens) sont écrites dans la table.
    """
    done = {layer.merged for layer in adapted_layers(model).values()} - {None}
    if not done or name not in (None, *done):
        merge(model, name, keep=False)
    if token_rows(model) is not None:
        merge_tokens(model)
    return unload(model)


def unload(model: nn.Module) -> nn.Module:
    """Retire toutes les couches LoRA, sans rien fondre ; dégèle ce que `inject` avait gelé."""
    for key, layer in adapted_layers(model).items():
        model.set_submodule(key, layer.base)
    if token_rows(model) is not None:
        merge_tokens(model, keep=False)
    for parameter in model.__dict__.pop("frozen_by_lora", ()):
        parameter.requires_grad_(True)
    return model


# Compter


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Ce que l’optimiseur doit recevoir : les tenseurs non gelés, dans l’ordre du modèle."""
    return [p for p in model.parameters() if p.requires_grad]


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(entraînés, total), adaptateurs compris ; une matrice quantifiée compte pour m × n."""

    def size(tensors) -> int:
        return sum(t.numel() for t in tensors if t.is_floating_point())

    total = size(model.parameters())
    for module in map(base_of, linear_layers(model).values()):
        if not has_plain_weight(module):
            n, m = features(module)
            total += n * m
    return size(trainable_parameters(model)), total


def lora_size(m: int, n: int, r: int, dora: bool = False) -> int:
    """Paramètres entraînés d’une matrice (m, n) : r (m + n), au lieu de m n ; DoRA en ajoute m."""
    return r * (m + n) + (m if dora else 0)
