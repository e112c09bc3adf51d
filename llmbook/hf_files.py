"""Lire et écrire un dossier au format de Hugging Face : config.json et safetensors, int8 compris.

Les matrices d’un modèle peuvent être en int8, une échelle par ligne, dans le format
« int-quantized » de compressed-tensors : transformers et vLLM le lisent aussi.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from llmbook.hf_weights import config_to_hf, to_hf_names
from llmbook.layers import ModelConfig
from llmbook.quantization import dequantize_int8, quantize_int8

INT8 = {  # ce que config.json en dit : int8 symétrique par ligne, la tête et les plongements non
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "format": "int-quantized",
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "channel",
                "dynamic": False,
            },
        }
    },
}


def find(name: str | Path) -> Path:
    """Le dossier d’un modèle : local s’il existe, sinon pris sur le hub de Hugging Face."""
    folder = Path(name)
    if (folder / "config.json").is_file():
        return folder
    if folder.exists() or str(name).startswith((".", "/")):
        raise ValueError(f"{name} : un dossier qui contient config.json est attendu")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors"]))


def read_config(folder: Path) -> dict:
    """Le contenu de config.json ; ValueError s’il est illisible."""
    try:
        described = json.loads((folder / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder}/config.json est tronqué ou altéré : {error}") from error
    if not isinstance(described, dict):
        raise ValueError(f"{folder}/config.json : un objet JSON est attendu")
    return described


def check_place(dtype: torch.dtype | None, device) -> None:
    """ValueError si ce type ne sait pas porter des poids, ou si ce périphérique n’est pas là."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype={dtype} : torch.float32, torch.bfloat16 ou torch.float16")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device} n’est pas utilisable ici : {reason}") from error


def read(folder: Path) -> dict[str, Tensor]:
    """Tous les tenseurs du dossier, un ou plusieurs fichiers safetensors ; l’int8 devient float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ValueError(f"{folder} ne contient aucun model*.safetensors")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} est tronqué ou altéré : {error}") from error
    return dequantized(tensors)


def write(
    folder: str | Path, state: dict, config: ModelConfig, dtype, extra: dict, int8: bool = False
) -> Path:
    """Écrit les poids en `dtype` ; int8 : les matrices des couches en int8, une échelle par ligne."""
    from safetensors.torch import save_file

    check_place(dtype, None)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    theirs = to_hf_names(state, config)
    if config.tie_embeddings:  # un seul exemplaire de la matrice partagée
        del theirs["lm_head.weight"]
    tensors = {}
    for name, w in theirs.items():
        w = w.detach().cpu()
        if int8 and w.ndim == 2 and name.startswith("model.layers."):
            tensors[name], tensors[f"{name}_scale"] = quantize_int8(w)
        else:
            tensors[name] = w.to(dtype).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    described = config_to_hf(config) | {"dtype": str(dtype).removeprefix("torch.")} | extra
    if int8:
        described["quantization_config"] = INT8
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder


def check_quantization(described: dict) -> None:
    """ValueError si config.json annonce une quantification que nous ne lisons pas."""
    found = described.get("quantization_config")
    if found is None:
        return
    known = found.get("quant_method") == INT8["quant_method"] and (
        found.get("format") == INT8["format"]
    )
    groups = found.get("config_groups", {}).values()
    wanted = INT8["config_groups"]["group_0"]["weights"]
    same = all(
        group.get("weights", {}).get(key) == value
        for group in groups
        for key, value in wanted.items()
    )
    if not (known and same and groups):
        raise ValueError(
            f"poids quantifiés par {found.get('quant_method')!r} ({found.get('format')!r}) : "
            "llmbook.model ne lit que int8 par ligne ; prenez AutoModelForCausalLM"
        )


def dequantized(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remplace chaque couple (entiers, échelles) par la matrice approchée, en float32."""
    scales = {name for name in tensors if name.endswith(".weight_scale")}
    plain = {name: w for name, w in tensors.items() if name not in scales}
    for name in scales:
        matrix = name.removesuffix("_scale")
        if matrix not in plain:
            raise ValueError(f"tenseur absent : {matrix}, dont l’échelle {name} est là")
        plain[matrix] = dequantize_int8(plain[matrix], tensors[name])
    return plain
