"""Apprendre des vecteurs de mots : skip-gram à échantillonnage négatif, et GloVe.

Mikolov et coll., 2013, arXiv:1310.4546 ; Pennington et coll., 2014, doi:10.3115/v1/D14-1162.
Les paires sont tirées par numpy, les pas sont faits par torch. Les négatifs d’un lot sont
partagés, ce qui change le gradient en produits de matrices (Ji et coll., 2016, arXiv:1604.04661).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class SkipGramConfig:
    """Réglages de `skip_gram`.

    negatives : k de la perte ; shared : négatifs tirés par lot, communs à toutes ses paires ;
    power : puissance de la loi des négatifs ; threshold : fréquence au-delà de laquelle un mot
    est sous-échantillonné (0 : jamais).
    """

    dim: int = 64
    window: int = 4
    negatives: float = 5.0
    power: float = 0.75
    threshold: float = 1e-4
    epochs: int = 4
    batch_size: int = 2048
    shared: int = 64
    learning_rate: float = 0.1

    def __post_init__(self):
        for name in ("dim", "window", "epochs", "batch_size", "shared", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} : une valeur positive est attendue")
        for name in ("negatives", "power", "threshold"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} : zéro ou plus est attendu")


def word_ids(words: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Numéro de chaque mot, -1 hors du vocabulaire. Renvoie (N,)."""
    index = {word: i for i, word in enumerate(vocabulary)}
    return np.array([index.get(word, -1) for word in words], dtype=np.int64)


def keep_probability(counts: np.ndarray, threshold: float) -> np.ndarray:
    """Chance qu’une occurrence soit gardée : √(threshold / fréquence), au plus 1. (V,) -> (V,)."""
    if not threshold:
        return np.ones(len(counts))
    frequency = np.maximum(counts, 1) / counts.sum()
    return np.minimum(1.0, np.sqrt(threshold / frequency))


def noise_law(counts: np.ndarray, power: float) -> np.ndarray:
    """Loi des négatifs : les fréquences à la puissance `power`, de somme 1. (V,) -> (V,)."""
    weights = np.asarray(counts, dtype=float) ** power
    return weights / weights.sum()


def window_pairs(ids: np.ndarray, window: int) -> np.ndarray:
    """Toutes les paires (mot, contexte) à `window` places au plus, dans les deux sens : (2, P)."""
    found = []
    for distance in range(1, window + 1):
        left, right = ids[:-distance], ids[distance:]
        found += [np.stack([left, right]), np.stack([right, left])]
    return np.concatenate(found, axis=1)


def sgns_loss(u: Tensor, v: Tensor, negatives: Tensor, weight: float = 1.0) -> Tensor:
    """-ln σ(u·v) - weight Σ ln σ(-u·n), pour chaque paire.

    u, v : (B, C), mots et contextes ; negatives : (K, C), communs au lot. Renvoie (B,).
    """
    return F.softplus(-(u * v).sum(1)) + weight * F.softplus(u @ negatives.T).sum(1)


def sgns_gradients(u: Tensor, v: Tensor, negatives: Tensor, weight: float = 1.0):
    """Gradients de la somme des `sgns_loss` : pour u (B, C), v (B, C) et negatives (K, C)."""
    positive = torch.sigmoid((u * v).sum(1, keepdim=True)) - 1  # (B, 1)
    negative = weight * torch.sigmoid(u @ negatives.T)  # (B, K)
    return positive * v + negative @ negatives, positive * u, negative.T @ u


class RowAdagrad:
    """Adagrad à un pas par ligne : η g / √(somme des carrés moyens de g). Modifie `rows` en place.

    Un mot fréquent voit son pas diminuer, un mot rare garde le sien (Duchi et coll., 2011).
    """

    def __init__(self, rows: Tensor, learning_rate: float):
        self.rows, self.learning_rate = rows, learning_rate
        self.squares = torch.full((len(rows), 1), 1e-8, dtype=rows.dtype)

    def step(self, index: Tensor, gradients: Tensor) -> None:
        """index : (B,), avec répétitions ; gradients : (B, C), ajoutés par ligne."""
        total = torch.zeros_like(self.rows).index_add_(0, index, gradients)
        self.squares += total.square().mean(1, keepdim=True)
        self.rows -= self.learning_rate * total / self.squares.sqrt()


@torch.no_grad()
def skip_gram(ids: np.ndarray, V: int, config: SkipGramConfig | None = None, seed: int = 0):
    """Apprend deux tables (V, C), mots et contextes ; renvoie aussi la perte, un lot sur dix.

    ids : (N,), numéros de mots, -1 hors du vocabulaire. ValueError si un numéro dépasse V - 1.
    """
    config = config or SkipGramConfig()
    ids = np.asarray(ids)
    ids = ids[ids >= 0]
    if len(ids) <= config.window or ids.max() >= V:
        raise ValueError(f"{len(ids)} mots connus, numéros de 0 à {V - 1} attendus")
    rng = np.random.default_rng(seed)
    counts = np.bincount(ids, minlength=V)
    keep = keep_probability(counts, config.threshold)
    noise = np.cumsum(noise_law(counts, config.power))
    words = torch.from_numpy((rng.random((V, config.dim)) - 0.5) / config.dim).float()
    contexts = torch.zeros(V, config.dim)
    on_words = RowAdagrad(words, config.learning_rate)
    on_contexts = RowAdagrad(contexts, config.learning_rate)
    weight, losses = config.negatives / config.shared, []
    for _ in range(config.epochs):
        pairs = window_pairs(ids[rng.random(len(ids)) < keep[ids]], config.window)
        pairs = torch.from_numpy(pairs[:, rng.permutation(pairs.shape[1])])
        for rank, batch in enumerate(pairs.split(config.batch_size, dim=1)):
            drawn = np.searchsorted(noise, rng.random(config.shared)).clip(max=V - 1)
            w, c, n = *batch, torch.from_numpy(drawn)
            u, v, negatives = words[w], contexts[c], contexts[n]
            if rank % 10 == 0:
                losses.append(sgns_loss(u, v, negatives, weight).mean().item())
            du, dv, dn = sgns_gradients(u, v, negatives, weight)
            on_words.step(w, du)
            on_contexts.step(torch.cat([c, n]), torch.cat([dv, dn]))
    return words.numpy(), contexts.numpy(), np.array(losses)


def glove_weight(counts, x_max: float = 100.0, alpha: float = 0.75):
    """min(1, (x / x_max)^alpha) : poids d’une case de la table de comptes."""
    return np.minimum(1.0, (np.asarray(counts) / x_max) ** alpha)


@torch.no_grad()
def glove(counts: np.ndarray, dim: int = 64, *, x_max: float = 100.0, epochs: int = 12,
          batch_size: int = 4096, learning_rate: float = 0.05, seed: int = 0):  # fmt: skip
    """Minimise Σ f(x) (w·c + b + b' - ln x)² sur les cases non nulles de counts (V, V).

    Renvoie les vecteurs w + c (V, dim) et la perte moyenne de chaque époque.
    """
    V = len(counts)
    rows, columns = np.nonzero(counts)
    if not len(rows) or np.shape(counts) != (V, V):
        raise ValueError(f"une table carrée et non nulle est attendue, reçu {np.shape(counts)}")
    rng = np.random.default_rng(seed)
    seen = counts[rows, columns]
    f, target = (torch.from_numpy(x).float() for x in (glove_weight(seen, x_max), np.log(seen)))
    i, j = torch.from_numpy(rows), torch.from_numpy(columns)
    tables = [torch.from_numpy((rng.random((V, dim)) - 0.5) / dim).float() for _ in range(2)]
    biases = [torch.zeros(V, 1) for _ in range(2)]
    updates = [RowAdagrad(rows, learning_rate) for rows in tables + biases]
    losses = []
    for _ in range(epochs):
        total = 0.0
        for cells in torch.from_numpy(rng.permutation(len(seen))).split(batch_size):
            a, b = i[cells], j[cells]
            u, v = tables[0][a], tables[1][b]
            gap = (u * v).sum(1) + biases[0][a, 0] + biases[1][b, 0] - target[cells]
            slope = (2 * f[cells] * gap)[:, None]
            total += float((f[cells] * gap**2).sum())
            gradients = slope * v, slope * u, slope, slope
            for update, index, gradient in zip(updates, (a, b, a, b), gradients, strict=True):
                update.step(index, gradient)
        losses.append(total / len(seen))
    return (tables[0] + tables[1]).numpy(), np.array(losses)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Chaque ligne ramenée à la longueur 1. (V, C) -> (V, C)."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms == 0, 1, norms)


def neighbours(vectors: np.ndarray, k: int, rows: Sequence[int] | None = None) -> np.ndarray:
    """Les k plus proches de chaque ligne par le cosinus, elle-même exclue : (len(rows), k)."""
    normed = unit(vectors)
    rows = np.arange(len(vectors)) if rows is None else np.asarray(rows)
    found = []
    for block in np.split(rows, range(512, len(rows), 512)):  # borne la mémoire à 512 lignes
        scores = normed[block] @ normed.T
        scores[np.arange(len(block)), block] = -np.inf
        found.append(np.argsort(-scores, axis=1, kind="stable")[:, :k])
    return np.concatenate(found)


def shared_neighbours(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Part des voisins communs à deux listes, ligne à ligne. a, b : (n, k) ; renvoie (n,)."""
    return np.array([len(set(x) & set(y)) / len(x) for x, y in zip(a, b, strict=True)])


def analogies(vectors: np.ndarray, questions: np.ndarray, exclude: bool = True) -> np.ndarray:
    """Réponse à « a est à b ce que c est à … » : le mot le plus proche de b - a + c.

    questions : (Q, 3), numéros a, b, c ; exclude : ôte a, b et c des réponses. Renvoie (Q,).
    """
    normed = unit(vectors)
    a, b, c = np.asarray(questions).T
    scores = unit(normed[b] - normed[a] + normed[c]) @ normed.T
    if exclude:
        np.put_along_axis(scores, np.asarray(questions), -np.inf, axis=1)
    return scores.argmax(axis=1)
