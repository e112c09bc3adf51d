"""Charger un modèle de transformers en 4 bits sans jamais le tenir en clair.

Le modèle est d’abord un plan sans mémoire (périphérique « meta »). Chaque tenseur des fichiers
safetensors est lu seul, rangé en NF4 s’il appartient à une couche visée, et oublié : la mémoire de
pointe est celle du modèle en 4 bits, plus un tenseur. (Les fichiers sont projetés en mémoire : leurs
pages, que le système reprend à volonté, ne comptent pas.)
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from llmbook import hf_files
from llmbook.quantization_nf4 import NF4Linear, find_linears, quantize_nf4


def read_each(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Les tenseurs du dossier, l’un après l’autre ; ValueError si un fichier est altéré."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ValueError(f"{folder} ne contient aucun model*.safetensors")
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 : l’objet n’est pas un dictionnaire
                    yield name, opened.get_tensor(name)
        except SafetensorError as error:
            raise ValueError(f"{file} est tronqué ou altéré : {error}") from error


def empty_model(folder: Path, dtype: torch.dtype) -> nn.Module:
    """Le modèle de transformers que décrit config.json : tampons réels, paramètres sans mémoire."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    with init_empty_weights(include_buffers=False):
        config = AutoConfig.from_pretrained(folder)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.eval()


def place(model: nn.Module, name: str, value: Tensor, dtype, device) -> None:
    """Donne sa valeur à un tenseur du modèle, rangée si sa couche l’est. ValueError s’il n’y va pas."""
    path, _, leaf = name.rpartition(".")
    try:
        module = model.get_submodule(path)
        if isinstance(module, NF4Linear) and leaf == "weight":
            value = value.to(device, dtype)
            module.store(quantize_nf4(value, module.block, module.absmax_scale is not None))
            return
        old = getattr(module, leaf)
    except AttributeError:
        raise ValueError(
            f"{name} n’a pas de place dans {type(model).__name__} : prenez "
            "AutoModelForCausalLM.from_pretrained, puis quantize_linears"
        ) from None
    if old.shape != value.shape:
        raise ValueError(f"{name} est {tuple(value.shape)}, le modèle attend {tuple(old.shape)}")
    value = value.to(device, dtype, copy=True)  # une copie : l’original est une page du fichier
    is_parameter = isinstance(old, nn.Parameter)
    setattr(module, leaf, nn.Parameter(value, old.requires_grad) if is_parameter else value)


@torch.no_grad()
def load_quantized(
    name: str | Path,
    targets: str | Sequence[str] = "all-linear",
    *,
    dtype: torch.dtype = torch.float32,
    device=None,
    **options,
) -> nn.Module:
    """Un modèle de transformers dont les couches visées sont des NF4Linear, prêt pour QLoRA.

    name : dossier ou nom du hub ; targets : voir `find_linears` ; dtype : type du reste ;
    device : où ranger ; options : block, double, compute_dtype, rows. Égal à from_pretrained suivi
    de quantize_linears. ValueError si le dossier est incomplet, altéré ou déjà quantifié.
    """
    hf_files.check_place(dtype, device)
    folder = hf_files.find(name)
    if "quantization_config" in hf_files.read_config(folder):
        raise ValueError(f"{name} est déjà quantifié : prenez le modèle d’origine")
    model = empty_model(folder, dtype)
    for path in find_linears(model, targets):
        linear = model.get_submodule(path)
        n, m, bias = linear.in_features, linear.out_features, linear.bias is not None
        model.set_submodule(path, NF4Linear(n, m, bias, device="meta", **options).eval())
    for key, value in read_each(folder):
        if not key.endswith(
            "rotary_emb.inv_freq"
        ):  # d’anciens dossiers l’écrivent, il se recalcule
            place(model, key, value, dtype, device)
        del value  # sinon il attendrait que le suivant soit lu
    model.tie_weights()
    absent = [key for key, value in model.state_dict().items() if value.is_meta]
    if absent:
        raise ValueError(f"tenseurs absents de {name} : {', '.join(absent[:3])}")
    return model.to(device)
