"""Des vecteurs de textes tirés d’un modèle : états de chaque couche, moyenne, remèdes, contraste.

`Encoder` prend un dossier ou un nom de Hugging Face : décodeur, BERT, modèle de phrases.
Mu et Viswanath, 2018, arXiv:1702.01417 (retirer les premières composantes) ; Su et coll., 2021,
arXiv:2103.15316 (blanchir) ; van den Oord et coll., 2018, arXiv:1807.03748 (InfoNCE).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Encoder:
    """Un modèle, son tokeniseur, et ce que l’on met devant un texte.

    prefix : marque de début, dont la position n’entre dans aucune moyenne (`skip`). Pour un
    décodeur causal, la première position ne voit qu’elle-même et sert de puits d’attention.
    """

    def __init__(self, model, tokenizer, prefix: str = "", skip: int = 0, max_tokens: int = 48):
        if max_tokens <= skip:
            raise ValueError(f"max_tokens={max_tokens} ne laisse rien après skip={skip}")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.prefix, self.skip, self.max_tokens = prefix, skip, max_tokens

    @classmethod
    def from_pretrained(cls, name: str | Path, prefix: str = "", skip: int = 0, **options):
        """Charge `AutoModel` et `AutoTokenizer` ; name : dossier, ou nom du hub."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        tokenizer = AutoTokenizer.from_pretrained(name)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
        return cls(model, tokenizer, prefix, skip, **options)

    @torch.no_grad()
    def states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """États de toutes les couches, remplis à droite : (B, L + 1, T, C), et le masque (B, T)."""
        inputs = self._tokens(texts, padding=True, padding_side="right", return_tensors="pt")
        mask = inputs["attention_mask"].clone()
        if mask.all():  # sans remplissage, le masque ne ferait que ralentir l’attention
            del inputs["attention_mask"]
        hidden = self.model(**inputs, output_hidden_states=True).hidden_states
        mask[:, : self.skip] = 0
        return torch.stack(hidden, dim=1), mask

    def encode(
        self, texts: Sequence[str], pooling: str | Sequence[str] = "mean", batch_size: int = 64
    ):
        """Un vecteur par texte et par couche : (N, L + 1, C), float32. pooling : voir `pool`.

        Plusieurs noms dans `pooling` : autant de tableaux, pour un seul passage. Les textes de
        même longueur vont ensemble, sans remplissage.
        """
        ways = (pooling,) if isinstance(pooling, str) else tuple(pooling)
        lengths = np.array([len(ids) for ids in self._tokens(texts)["input_ids"]])
        found: list[list] = [[None] * len(texts) for _ in ways]
        for length in np.unique(lengths):
            same = np.flatnonzero(lengths == length)
            for batch in np.split(same, range(batch_size, len(same), batch_size)):
                states, mask = self.states([texts[i] for i in batch])
                for place, how in enumerate(ways):
                    for i, vector in zip(batch, pool(states, mask, how), strict=True):
                        found[place][i] = vector
        arrays = [torch.stack(vectors).numpy() for vectors in found]
        return arrays[0] if isinstance(pooling, str) else arrays

    def _tokens(self, texts: Sequence[str], **options):
        """Les entrées du modèle, préfixe compris, coupées à max_tokens."""
        inputs = self.tokenizer(
            [self.prefix + text for text in texts],
            truncation=True,
            max_length=self.max_tokens,
            **options,
        )
        inputs.pop("token_type_ids", None)
        return inputs


def pool(states: Tensor, mask: Tensor, how: str = "mean") -> Tensor:
    """De (B, L, T, C) à (B, L, C) : « mean » (hors remplissage), « last » ou « first » token."""
    if how == "first":
        return states[:, :, 0]
    if how == "last":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(1)  # dernier 1 du masque
        return states[torch.arange(len(states)), :, last]
    if how != "mean":
        raise ValueError(f"pooling={how!r} : « mean », « last » ou « first »")
    weight = mask[:, None, :, None].to(states.dtype)
    return (states * weight).sum(2) / weight.sum(2).clamp(min=1)


# Remèdes à l’anisotropie ; chacun s’ajuste sur les documents, et s’applique aussi aux requêtes


def remove_top(fit: np.ndarray, k: int):
    """Centre, puis retire les k premières composantes de `fit` (N, C). Renvoie la fonction."""
    mean = fit.mean(axis=0)
    top = np.linalg.svd(fit - mean, full_matrices=False)[2][:k]  # (k, C)
    return lambda X: (X - mean) - ((X - mean) @ top.T) @ top


def whiten(fit: np.ndarray, eps: float = 1e-3):
    """Centre, puis donne la variance 1 à chaque composante principale. Renvoie la fonction.

    eps : fraction de la plus grande variance ajoutée à toutes, pour ne pas grossir le bruit.
    """
    mean = fit.mean(axis=0)
    _, s, axes = np.linalg.svd(fit - mean, full_matrices=False)
    variance = s**2 / len(fit)
    scale = 1 / np.sqrt(variance + eps * variance[0])
    return lambda X: (X - mean) @ axes.T * scale


# L’apprentissage contrastif


def info_nce(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Perte symétrique : dans le lot, retrouver y_i parmi les y sachant x_i, et l’inverse.

    x, y : (B, C), de longueur 1 ; renvoie un nombre, ln B quand rien n’est appris.
    """
    logits = x @ y.T / temperature
    target = torch.arange(len(x))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class Head(nn.Module):
    """Moyenne pondérée des couches, puis une matrice : (B, L, C) -> (B, out), de longueur 1.

    L’entrée est d’abord ramenée, coordonnée par coordonnée, à une moyenne de 0 et un écart de 1.
    """

    def __init__(self, fit: Tensor, out: int):
        super().__init__()
        _, L, C = fit.shape
        self.register_buffer("mean", fit.mean(0))
        self.register_buffer("std", fit.std(0) + 1e-6)
        self.mix = nn.Parameter(torch.zeros(L))
        self.matrix = nn.Parameter(torch.empty(out, C))
        nn.init.orthogonal_(self.matrix)

    def forward(self, x: Tensor) -> Tensor:
        layers = (x - self.mean) / self.std
        mixed = torch.einsum("blc,l->bc", layers, self.mix.softmax(0))
        return F.normalize(mixed @ self.matrix.T, dim=1)


@dataclass(frozen=True)
class ContrastConfig:
    """Réglages de `train_head`."""

    out: int = 256
    temperature: float = 0.1
    steps: int = 100
    batch_size: int = 256
    learning_rate: float = 2e-3


def train_head(x: np.ndarray, y: np.ndarray, config: ContrastConfig | None = None, seed: int = 0):
    """Apprend une tête sur des paires (N, L, C) ; renvoie (tête, pertes de chaque pas)."""
    config = config or ContrastConfig()
    if x.shape != y.shape or x.ndim != 3:
        raise ValueError(f"deux tableaux (N, L, C) sont attendus, reçu {x.shape} et {y.shape}")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x, y = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    head = Head(torch.cat([x, y]), config.out)
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=0.01)
    losses = []
    for _ in range(config.steps):
        batch = torch.from_numpy(rng.permutation(len(x))[: config.batch_size])
        loss = info_nce(head(x[batch]), head(y[batch]), config.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return head.eval(), np.array(losses)
