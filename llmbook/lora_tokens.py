"""Apprendre quelques lignes de la table des plongements : celles de tokens que la base n’a jamais vus.

Les marques d’un gabarit de dialogue sont dans le vocabulaire, mais aucun texte de préentraînement
n’en contenait. Leurs lignes se ressemblent toutes, et LoRA, qui ne touche pas à la table, ne peut
pas les distinguer : « <|im_end|> » devient le token le plus probable, et partage sa probabilité
avec les autres tokens jamais vus. Remplacer ces quelques lignes suffit ; les autres restent gelées.

C’est `trainable_token_indices` de peft, au même format de fichier.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenRows(nn.Module):
    """ids : (k,) numéros de tokens ; rows : (k, C), les lignes qui remplacent celles de la table."""

    def __init__(self, ids: Sequence[int], weight: Tensor):
        super().__init__()
        index = torch.tensor(list(ids), device=weight.device)
        dtype = torch.promote_types(weight.dtype, torch.float32)
        self.register_buffer("ids", index, persistent=False)
        self.rows = nn.Parameter(weight.detach()[index].to(dtype))
        self.active = True


class RowsEmbedding(nn.Module):
    """Une table dont quelques lignes viennent de `tokens` ; la grande matrice n’est pas recopiée."""

    def __init__(self, base: nn.Embedding, tokens: TokenRows):
        super().__init__()
        self.base, self.tokens = base, tokens

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def num_embeddings(self) -> int:
        return self.base.num_embeddings

    @property
    def embedding_dim(self) -> int:
        return self.base.embedding_dim

    def forward(self, ids: Tensor) -> Tensor:
        """ids : (...) ; renvoie (..., C)."""
        y = self.base(ids)
        if not self.tokens.active:
            return y
        same = ids[..., None] == self.tokens.ids  # (..., k)
        rows = F.embedding(same.int().argmax(-1), self.tokens.rows).to(y.dtype)
        return torch.where(same.any(-1, keepdim=True), rows, y)


class RowsHead(nn.Module):
    """La tête partagée : les logits de ces tokens se calculent avec les lignes apprises."""

    def __init__(self, base: nn.Linear, tokens: TokenRows):
        super().__init__()
        self.base, self.tokens = base, tokens
        self.in_features, self.out_features = base.in_features, base.out_features

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """x : (..., C) ; renvoie les logits (..., V)."""
        logits = self.base(x)
        if not self.tokens.active:
            return logits
        ids, bias = self.tokens.ids, self.base.bias
        own = F.linear(x, self.tokens.rows.to(x.dtype), None if bias is None else bias[ids])
        return logits.index_copy(-1, ids, own.to(logits.dtype))


def train_tokens(model: nn.Module, ids: Sequence[int]) -> TokenRows:
    """Rend ces lignes apprenables, à l’entrée, et à la tête si elle est partagée.

    model : `LanguageModel` ou modèle de transformers ; les sorties ne changent pas. Rien d’autre
    n’est gelé ni dégelé. ValueError, le modèle intact, si un numéro sort du vocabulaire ou est
    donné deux fois, ou si des lignes sont déjà apprises.
    """
    ids = [int(i) for i in ids]
    path, embedding = embedding_of(model)
    if token_rows(model) is not None:
        raise ValueError("des lignes de plongement sont déjà apprises : fondez-les (merge_tokens)")
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"tokens {ids} : des numéros différents sont attendus, un au moins")
    if min(ids) < 0 or max(ids) >= len(embedding.weight):
        raise ValueError(
            f"tokens {ids} : le vocabulaire va de 0 à {len(embedding.weight) - 1}. "
            "Ce tokeniseur est-il celui du modèle ?"
        )
    tokens = TokenRows(ids, embedding.weight)
    head_path, head = head_of(model)
    if head is not None and head.weight is embedding.weight:
        model.set_submodule(head_path, RowsHead(head, tokens))
    model.set_submodule(path, RowsEmbedding(embedding, tokens))
    return tokens


def token_rows(model: nn.Module) -> TokenRows | None:
    """Les lignes apprises d’un modèle, s’il y en a."""
    return next((m.tokens for m in model.modules() if isinstance(m, RowsEmbedding)), None)


@contextmanager
def rows_disabled(model: nn.Module) -> Iterator[None]:
    """Le temps d’un bloc, la table d’origine."""
    tokens = token_rows(model)
    was_active = tokens is not None and tokens.active
    if was_active:
        tokens.active = False
    try:
        yield
    finally:
        if was_active:
            tokens.active = True


@torch.no_grad()
def merge_tokens(model: nn.Module, keep: bool = True) -> None:
    """Écrit les lignes dans la table et rend les modules d’origine ; keep=False : les oublie."""
    tokens = token_rows(model)
    if tokens is None:
        raise ValueError("aucune ligne de plongement apprise : appelez d’abord train_tokens")
    for name, module in list(model.named_modules()):
        if isinstance(module, (RowsEmbedding, RowsHead)):
            model.set_submodule(name, module.base)
            if keep:
                module.base.weight.data[tokens.ids] = tokens.rows.to(module.base.weight.dtype)


def embedding_of(model: nn.Module) -> tuple[str, nn.Module]:
    """(nom, module) de la table d’entrée."""
    found = model.embed if hasattr(model, "embed") else model.get_input_embeddings()
    return _named(model, found)


def head_of(model: nn.Module) -> tuple[str, nn.Module | None]:
    """(nom, module) de la tête, (« », None) s’il n’y en a pas."""
    if hasattr(model, "embed"):
        return "lm_head", model.lm_head
    found = model.get_output_embeddings()
    return ("", None) if found is None else _named(model, found)


def _named(model: nn.Module, found: nn.Module) -> tuple[str, nn.Module]:
    return next((name, module) for name, module in model.named_modules() if module is found)
