"""Écrire et lire un adaptateur au format de peft : adapter_config.json, adapter_model.safetensors.

peft lit nos dossiers, nous lisons les siens ; les couches fondues d’un `LanguageModel` sont coupées
à l’écriture, recollées à la lecture. Le fichier porte en plus une empreinte de la base.
"""

import json
import warnings
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

from llmbook import hf_files
from llmbook.lora import check_free, holding, place, unmerged
from llmbook.lora_fingerprint import check_same_base, fingerprint
from llmbook.lora_hf import check_pieces, fuse, hf_embedding, hf_parts
from llmbook.lora_layers import is_transposed
from llmbook.lora_targets import LoraConfig, linear_layers
from llmbook.lora_tokens import TokenRows, embedding_of, merge_tokens, token_rows, train_tokens
from llmbook.model import LanguageModel

PREFIX = "base_model.model."
KINDS = {".lora_A.weight": "A", ".lora_B.weight": "B", ".lora_magnitude_vector": "magnitude"}
ROWS = ".token_adapter.trainable_tokens_delta"
REFUSED = (
    "modules_to_save layer_replication lora_bias target_parameters use_qalora use_bdlora "
    "alora_invocation_tokens arrow_config monteclora_config kasa_config velora_config"
).split()
PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")  # la base n’en est pas changée


# Écrire


def save_adapter(
    model: nn.Module,
    folder: str | Path,
    name: str = "default",
    base_name: str | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Écrit un adaptateur, que `PeftModel.from_pretrained` sait lire sur le modèle de Hugging Face.

    base_name : le nom du modèle de base, noté dans la configuration. dtype : celui des tenseurs par
    défaut. ValueError, rien d’écrit, si l’adaptateur est inconnu ou fondu dans les poids.
    """
    from safetensors.torch import save_file

    hf_files.check_place(dtype, None)
    unmerged(model)
    layers = holding(model, name)
    tensors, plan = {}, {}
    for key, layer in layers.items():
        adapter, start = layer.adapters[name], 0
        for part, rows in hf_parts(model, key):  # les parties partagent A, et se partagent B
            end = start + rows
            tensors[f"{PREFIX}{part}.lora_A.weight"] = adapter.A
            tensors[f"{PREFIX}{part}.lora_B.weight"] = adapter.B[start:end]
            if adapter.magnitude is not None:
                tensors[f"{PREFIX}{part}.lora_magnitude_vector"] = adapter.magnitude[start:end]
            plan[part], start = (adapter.rank, adapter.alpha), end
    described = describe(model, plan, adapter, base_name)
    described["fan_in_fan_out"] = is_transposed(layer.base)
    if (learned := token_rows(model)) is not None:
        tensors[f"{PREFIX}{hf_embedding(model)}{ROWS}"] = learned.rows
        described["trainable_token_indices"] = learned.ids.tolist()
    tensors = {
        key: t.detach().to("cpu", dtype or t.dtype, copy=True).contiguous()
        for key, t in tensors.items()
    }
    metadata = {"format": "pt", "name": name, "base": json.dumps(fingerprint(model))}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata=metadata)
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    return folder


def describe(model: nn.Module, plan: dict, adapter: nn.Module, base_name: str | None) -> dict:
    """adapter_config.json : plan donne le rang et l’α de chaque matrice de Hugging Face."""
    every = [part for layer in linear_layers(model) for part, _ in hf_parts(model, layer)]
    ends = {part.rpartition(".")[2] for part in plan}
    matched = {part for part in every if part.rpartition(".")[2] in ends}
    (rank, alpha), _ = Counter(plan.values()).most_common(1)[0]
    causal = isinstance(model, LanguageModel) or type(model).__name__.endswith(
        ("ForCausalLM", "LMHeadModel")
    )
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if causal else None,
        "base_model_name_or_path": base_name or model_name(model),
        "target_modules": sorted(ends if matched == plan.keys() else plan),
        "r": rank,
        "lora_alpha": tidy(alpha),
        "rank_pattern": {part: r for part, (r, _) in plan.items() if r != rank},
        "alpha_pattern": {part: tidy(a) for part, (_, a) in plan.items() if a != alpha},
        "lora_dropout": adapter.dropout,
        "use_rslora": adapter.rslora,
        "use_dora": adapter.magnitude is not None,
        "bias": "none",
        "modules_to_save": None,
        "inference_mode": True,
    }


def tidy(alpha: float) -> float | int:
    """16.0 s’écrit 16 : d’autres lecteurs que peft y veulent un entier."""
    return round(alpha) if abs(alpha - round(alpha)) < 1e-9 else alpha


def model_name(model: nn.Module) -> str | None:
    return getattr(getattr(model, "config", None), "_name_or_path", None) or None


# Lire


def load_adapter(
    model: nn.Module, folder: str | Path, name: str | None = None, check_base: bool = True
) -> str:
    """Pose l’adaptateur d’un dossier, le rend actif, gèle le reste ; renvoie son nom.

    name : par défaut, celui sous lequel il a été écrit. check_base : refuse une autre base que celle
    de l’entraînement. ValueError, le modèle intact, si un fichier manque, est altéré ou emploie ce
    que nous ne lisons pas, si une forme ou un nom de couche ne convient pas, si le nom est pris.
    """
    folder = Path(folder)
    described = read_described(folder)
    found, rows, metadata = read_tensors(folder)
    name = name or metadata.get("name") or "default"
    check_free(model, name)
    if check_base:
        if "base" in metadata:
            check_same_base(json.loads(metadata["base"]), model)
        elif not_same(described.get("base_model_name_or_path"), model_name(model)):
            warnings.warn(
                f"adaptateur entraîné sur {described['base_model_name_or_path']!r}, modèle "
                f"{model_name(model)!r} : sans empreinte, rien ne dit que ce sont les mêmes poids",
                stacklevel=2,
            )
    config = LoraConfig(
        rank=described["r"],
        alpha=described["lora_alpha"],
        rslora=described.get("use_rslora") or False,
        dora=described.get("use_dora") or False,
        dropout=described.get("lora_dropout") or 0.0,
        rank_pattern=described.get("rank_pattern") or {},
        alpha_pattern=described.get("alpha_pattern") or {},
    )
    fused = {}
    for layer, module in linear_layers(model).items():
        parts = hf_parts(model, layer)
        pieces = {part: found.pop(part) for part, _ in parts if part in found}
        if pieces:
            shapes = {part: (rows, module.in_features) for part, rows in parts}
            check_pieces(pieces, shapes, config)
            fused[layer] = fuse(pieces, shapes, config)
    if found:
        raise ValueError(f"couche inconnue de ce modèle : {next(iter(found))}")
    plan = {layer: (len(A), alpha) for layer, (A, _, _, alpha) in fused.items()}
    learned = place_rows(model, rows, described.get("trainable_token_indices"))
    try:
        adapters = place(model, plan, name, config.rslora, config.dora, config.dropout)
    except ValueError:
        if learned is not None:
            merge_tokens(model, keep=False)
        raise
    if learned is not None:
        learned.requires_grad_(True)
    with torch.no_grad():
        for layer, (A, B, magnitudes, _) in fused.items():
            adapters[layer].A.copy_(A)
            adapters[layer].B.copy_(B)
            for start, magnitude in magnitudes.items():  # ailleurs, la norme de W : gain de 1
                adapters[layer].magnitude[start : start + len(magnitude)] = magnitude
    return name


def place_rows(model: nn.Module, rows: dict[str, Tensor], ids) -> TokenRows | None:
    """Pose les lignes de plongement d’un fichier ; None s’il n’en a pas."""
    if not rows and not ids:
        return None
    values = rows.get(hf_embedding(model))
    width = embedding_of(model)[1].weight.shape[1]
    if len(rows) != 1 or values is None or not isinstance(ids, list):
        raise ValueError("ce fichier change d’autres lignes que celles de la table d’entrée")
    if tuple(values.shape) != (len(ids), width):
        raise ValueError(
            f"lignes de plongement de forme {tuple(values.shape)}, {(len(ids), width)} attendu : "
            "cet adaptateur est celui d’un autre modèle"
        )
    learned = train_tokens(model, ids)
    with torch.no_grad():
        learned.rows.copy_(values)
    return learned


def not_same(theirs: str | None, ours: str | None) -> bool:
    return bool(theirs and ours) and Path(theirs).name != Path(ours).name


def read_described(folder: Path) -> dict:
    """adapter_config.json ; ValueError s’il manque, ou demande plus que LoRA, rsLoRA et DoRA."""
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise ValueError(f"{folder} : un dossier qui contient adapter_config.json est attendu")
    try:
        described = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} est tronqué ou altéré : {error}") from error
    kind = described.get("peft_type") if isinstance(described, dict) else None
    if kind != "LORA":
        raise ValueError(f"{file} : peft_type={kind!r}, seul LORA est lu ici")
    for key in ("r", "lora_alpha"):
        if not isinstance(described.get(key), int | float):
            raise ValueError(f"{file} ne donne pas {key} : ce fichier est incomplet")
    refused = {key: described.get(key) for key in REFUSED}
    refused["bias"] = described.get("bias", "none").replace("none", "")
    start = described.get("init_lora_weights")
    refused["init_lora_weights"] = start if start not in PLAIN_STARTS else None
    for key, value in refused.items():
        if value:
            raise ValueError(f"{key}={value!r} : cette variante se lit avec peft, pas ici")
    return described


def read_tensors(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], dict]:
    """Nom de matrice -> {"A", "B", "magnitude"} ; nom de table -> lignes ; et les métadonnées."""
    from safetensors import SafetensorError, safe_open

    file, found, rows = folder / "adapter_model.safetensors", {}, {}
    if not file.is_file():
        raise ValueError(f"{folder} ne contient pas adapter_model.safetensors")
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            for key in opened.keys():
                if key.endswith(ROWS):
                    table = key.removeprefix(PREFIX).removesuffix(ROWS)
                    rows[table] = opened.get_tensor(key)
                    continue
                end = next((end for end in KINDS if key.endswith(end)), None)
                if end is None:
                    raise ValueError(f"tenseur inconnu : {key} ; LoRA n’a que A, B et magnitude")
                part = key.removeprefix(PREFIX).removesuffix(end)
                found.setdefault(part, {})[KINDS[end]] = opened.get_tensor(key)
    except SafetensorError as error:
        raise ValueError(f"{file} est tronqué ou altéré : {error}") from error
    return found, rows, metadata
