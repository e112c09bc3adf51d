"""Toutes les découpes de tous les mots à la fois : le treillis d’Unigram, en tableaux numpy.

Les mots avancent ensemble, une position après l’autre. `Unigram.forward` et `Unigram.viterbi`
disent la même chose d’un seul mot, plus lisiblement ; ici, l’apprentissage a besoin de vitesse.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

GROUP = 2048  # mots traités ensemble, au plus


class Lattice:
    """Les arcs de mots de longueurs voisines : table[w, t, m - 1] est le numéro des m caractères du
    mot w qui finissent à la position t, ou `none` s’ils ne sont pas un token. (W, T + 1, M)."""

    def __init__(self, words: Sequence[str], weights: Sequence[float], ids: Mapping[str, int]):
        longest = min(max(map(len, ids)), max(map(len, words)))
        self.none, self.weights = len(ids), np.array(weights, dtype=float)
        self.lengths = np.array([len(word) for word in words])
        self.table = np.full((len(words), self.lengths.max() + 1, longest), self.none, np.int32)
        for w, word in enumerate(words):
            for end in range(1, len(word) + 1):
                for m in range(1, min(end, longest) + 1):
                    i = ids.get(word[end - m : end], 0 if m == 1 else None)  # 0 : inconnu
                    if i is not None:
                        self.table[w, end, m - 1] = i

    def _steps(self, scores: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Pour chaque fin t : t, le nombre m d’arcs possibles, et leurs scores, (W, m)."""
        padded = np.append(scores, -np.inf)
        for t in range(1, self.table.shape[1]):
            m = min(t, self.table.shape[2])
            yield t, m, padded[self.table[:, t, :m]]

    def forward(self, scores: np.ndarray) -> np.ndarray:
        """Log-somme des découpes qui finissent à chaque position : (W, T + 1)."""
        alpha = np.full(self.table.shape[:2], -np.inf)
        alpha[:, 0] = 0
        for t, m, arcs in self._steps(scores):
            alpha[:, t] = np.logaddexp.reduce(_before(alpha, t, m) + arcs, axis=1)
        return alpha

    def expect(self, scores: np.ndarray) -> tuple[np.ndarray, float]:
        """Étape E : compte attendu de chaque token, (V,), et log-vraisemblance des mots, en nats."""
        alpha, every = self.forward(scores), np.arange(len(self.lengths))
        beta = np.full(alpha.shape, -np.inf)
        beta[every, self.lengths] = 0
        z = alpha[every, self.lengths]
        expected = np.zeros(self.none + 1)
        for t, m, arcs in reversed(list(self._steps(scores))):
            through = arcs + beta[:, t, None]  # l’arc, puis toutes les fins possibles
            share = np.exp(_before(alpha, t, m) + through - z[:, None]) * self.weights[:, None]
            expected += np.bincount(self.table[:, t, :m].ravel(), share.ravel(), self.none + 1)
            np.logaddexp(_before(beta, t, m), through, out=_before(beta, t, m))
        return expected[:-1], float(self.weights @ z)

    def best(self, scores: np.ndarray) -> tuple[list[list[int]], np.ndarray]:
        """La meilleure découpe de chaque mot, en numéros, et sa log-probabilité, (W,)."""
        value = np.full(self.table.shape[:2], -np.inf)
        value[:, 0] = 0
        back = np.zeros(self.table.shape[:2], int)
        for t, m, arcs in self._steps(scores):
            reached = (_before(value, t, m) + arcs)[:, ::-1]  # à égalité, le plus long
            back[:, t] = m - reached.argmax(axis=1)
            value[:, t] = reached.max(axis=1)
        paths = [self._path(w, back[w].tolist()) for w in range(len(self.lengths))]
        return paths, value[np.arange(len(paths)), self.lengths]

    def _path(self, w: int, back: list[int]) -> list[int]:
        path, t = [], int(self.lengths[w])
        while t:
            path.append(int(self.table[w, t, back[t] - 1]))
            t -= back[t]
        return path[::-1]


def _before(values: np.ndarray, t: int, m: int) -> np.ndarray:
    """Vue sur les colonnes t - 1, t - 2… t - m, d’où partent les arcs de longueurs 1, 2… m."""
    return values[:, t - m : t][:, ::-1]


def lattices(words: Mapping[str, int], pieces: Sequence[tuple[str, float]]) -> list[Lattice]:
    """Les treillis des mots, groupés par longueur, à un facteur deux près, pour perdre peu de place."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    found = []
    for _, same in groupby(sorted(words, key=len), key=lambda word: len(word).bit_length()):
        same = list(same)
        for start in range(0, len(same), GROUP):
            group = same[start : start + GROUP]
            found.append(Lattice(group, [words[word] for word in group], ids))
    return found
