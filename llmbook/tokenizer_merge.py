"""Encoder un mot : appliquer les fusions apprises, simplement, puis en n log n, puis jamais deux fois."""

import heapq
from collections.abc import Callable, Mapping, Sequence

CACHED_WORDS = 1 << 20


def merge_word(ids: list[int], ranks: Mapping, merged: Sequence[int]) -> list[int]:
    """Applique toujours la fusion la plus ancienne, la plus à gauche ; quadratique en longueur.

    ranks : rang de chaque paire ; merged : numéro que chaque rang produit.
    """
    never = len(merged)
    while len(ids) > 1:
        found = [ranks.get(pair, never) for pair in zip(ids, ids[1:], strict=False)]
        rank = min(found)
        if rank == never:
            break
        i = found.index(rank)
        ids[i : i + 2] = [merged[rank]]
    return ids


def merge_long_word(ids: list[int], ranks: Mapping, merged: Sequence[int]) -> list[int]:
    """Le même résultat en n log n : un tas de fusions possibles, une liste chaînée de tokens."""
    n = len(ids)
    following, previous = [*range(1, n), None], [None, *range(n - 1)]
    heap: list[tuple[int, int]] = []  # (rang, place du token de gauche)

    def propose(left, right):
        if left is not None and right is not None:
            rank = ranks.get((ids[left], ids[right]))
            if rank is not None:
                heapq.heappush(heap, (rank, left))

    for i in range(n - 1):
        propose(i, i + 1)
    while heap:
        rank, left = heapq.heappop(heap)
        right = following[left]
        if right is None or ranks.get((ids[left], ids[right])) != rank:
            continue  # l’un des deux a fusionné depuis
        ids[left], ids[right] = merged[rank], None
        following[left] = after = following[right]
        if after is not None:
            previous[after] = left
        following[right] = None
        propose(previous[left], left)
        propose(left, after)
    return [i for i in ids if i is not None]


class WordCache(dict):
    """Mots déjà encodés ; vidé quand il déborde, car un texte sans fin aurait raison de la mémoire."""

    def __init__(self, encode_word: Callable[[str], bytes]):
        self.encode_word = encode_word

    def __missing__(self, word: str) -> bytes:
        if len(self) >= CACHED_WORDS:
            self.clear()
        self[word] = packed = self.encode_word(word)
        return packed
