"""Les matrices de Hugging Face dans nos couches fondues : couper un adaptateur, et le recoller.

Un `LanguageModel` a réuni q, k, v en une matrice, et la porte avec la montée. Une correction B A se
coupe en lignes de B ; plusieurs se recollent en empilant leurs A. Rien n’est approché.
"""

import math

import torch
from torch import nn

from llmbook import hf_weights
from llmbook.lora_layers import features
from llmbook.lora_targets import LoraConfig, base_of
from llmbook.lora_tokens import embedding_of
from llmbook.model import LanguageModel


def hf_parts(model: nn.Module, layer: str) -> list[tuple[str, int]]:
    """Les matrices de Hugging Face dont cette couche est faite, de haut en bas : (nom, lignes).

    Une seule, de même nom, sauf dans un `LanguageModel` : qkv en a trois, gate_up en a deux.
    """
    m = features(base_of(model.get_submodule(layer)))[1]
    if not isinstance(model, LanguageModel) or not layer.startswith("blocks."):
        return [(layer, m)]
    _, number, inside = layer.split(".", 2)
    there, c = f"model.layers.{number}.", model.config
    if inside == "attention.qkv":
        heads = (c.n_heads, c.n_kv_heads, c.n_kv_heads)
        names, rows = hf_weights.QKV, [n * c.head_dim for n in heads]
    elif inside == "ffn.gate_up":
        names, rows = hf_weights.GATE_UP, [c.d_ff, c.d_ff]
    else:
        names, rows = [hf_weights.INSIDE[f"{inside}.weight"].removesuffix(".weight")], [m]
    return [(there + name, size) for name, size in zip(names, rows, strict=True)]


def hf_embedding(model: nn.Module) -> str:
    """Le nom, chez Hugging Face, de la table des plongements d’entrée."""
    return "model.embed_tokens" if isinstance(model, LanguageModel) else embedding_of(model)[0]


def check_pieces(pieces: dict, shapes: dict[str, tuple[int, int]], config: LoraConfig) -> None:
    """ValueError si un tenseur manque, ou n’a pas la forme que veulent le modèle et le rang."""
    for part, tensors in pieces.items():
        (m, n), rank = shapes[part], config.sized(part)[0]
        wanted = {"A": (rank, n), "B": (m, rank)} | ({"magnitude": (m,)} if config.dora else {})
        for kind, shape in wanted.items():
            if kind not in tensors:
                raise ValueError(f"{part} : le tenseur {kind} manque, ce fichier est incomplet")
            if tuple(tensors[kind].shape) != shape:
                raise ValueError(
                    f"{part} : {kind} a la forme {tuple(tensors[kind].shape)}, {shape} est "
                    "attendu ; cet adaptateur est celui d’un autre modèle, ou d’un autre rang"
                )


def fuse(pieces: dict, shapes: dict[str, tuple[int, int]], config: LoraConfig) -> tuple:
    """Un seul adaptateur pour des matrices posées l’une sur l’autre : A, B, magnitudes, α.

    Si toutes partagent A, les B se posent l’un sur l’autre aussi. Sinon les A s’empilent, et B est
    diagonale par blocs : le rang est la somme des rangs. magnitudes : première ligne -> valeurs.
    """
    starts, m = {}, 0
    for part, (rows, _) in shapes.items():
        starts[part], m = m, m + rows
    power = 0.5 if config.rslora else 1.0
    scales = {part: config.sized(part)[1] / len(pieces[part]["A"]) ** power for part in pieces}
    first, *others = pieces
    A = pieces[first]["A"].float()
    shared = len(pieces) == len(shapes) and all(
        torch.equal(pieces[part]["A"], pieces[first]["A"]) for part in others
    )
    if not shared:
        A = torch.cat([tensors["A"].float() for tensors in pieces.values()])
    B, column = torch.zeros(m, len(A)), 0
    for part, tensors in pieces.items():
        b = tensors["B"].float() * (scales[part] / scales[first])  # une seule échelle, celle-là
        B[starts[part] : starts[part] + len(b), column : column + b.shape[1]] = b
        column += 0 if shared else b.shape[1]
    magnitudes = {starts[part]: t["magnitude"] for part, t in pieces.items() if "magnitude" in t}
    alpha = scales[first] * (math.sqrt(len(A)) if config.rslora else len(A))
    if len(A) == len(pieces[first]["A"]):
        alpha = config.sized(first)[1]  # le rang n’a pas changé : α non plus, sans arrondi
    return A, B, magnitudes, alpha
