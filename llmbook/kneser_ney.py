"""Prédire le token suivant en comptant : Kneser–Ney modifié et interpolé, l’adversaire du modèle.

Kneser et Ney, 1995, doi:10.1109/ICASSP.1995.479394 ; Chen et Goodman, 1998, section 3.
"""

from collections.abc import Sequence

import numpy as np

FALLBACK = (0.5, 1.0, 1.5)  # décotes de KenLM quand le corpus est trop petit pour les estimer


class NgramLM:
    """Loi du token suivant sachant les `order - 1` précédents, tables de numpy seules.

    À chaque ordre k, de 1 à `order`, et sous l’ordre 1 la loi uniforme :

        p_k(w | h) = max(c(hw) - D(c(hw)), 0) / c(h·) + γ(h) p_{k-1}(w | h'),
        γ(h) = (D1 N1(h·) + D2 N2(h·) + D3 N3+(h·)) / c(h·),

    où h' est h privé de son premier token, et Ni(h·) le nombre de tokens vus i fois après h. Un
    contexte h jamais vu laisse p_{k-1}. À l’ordre le plus haut, c compte les occurrences ; en
    dessous, les tokens différents qui précèdent la suite (son nombre de continuations).

    <|fin|> (le numéro `fin`) sépare les documents et précède le premier : aucun contexte ne remonte
    au-delà. Une suite qui commence par <|fin|> n’a donc pas d’antécédent, et compte ses
    occurrences, comme le <s> de SRILM et de KenLM.

    tokens : (N,) entiers dans [0, vocab_size), documents mis bout à bout. Une suite est une clé de
    64 bits : ValueError si `order` tokens n’y tiennent pas. Mémoire : environ 60 octets par token
    à l’apprentissage, 20 ensuite (α et γ sont gardés en float32).
    """

    def __init__(self, tokens, order: int = 5, *, vocab_size: int, fin: int = 0):
        if vocab_size < 1:
            raise ValueError(f"vocab_size={vocab_size} : au moins un token est attendu")
        if order < 1:
            raise ValueError(f"order={order} : un ordre d’au moins 1 est attendu")
        bits = max(1, (vocab_size - 1).bit_length())
        if bits * order > 64:
            raise ValueError(
                f"order={order} avec vocab_size={vocab_size} : {order} tokens de {bits} bits ne "
                f"tiennent pas dans une clé de 64 bits ; prenez order ≤ {64 // bits}"
            )
        if not 0 <= fin < vocab_size:
            raise ValueError(f"fin={fin} : un numéro entre 0 et {vocab_size - 1} est attendu")
        self.order, self.vocab_size, self.fin = order, vocab_size, fin
        self.bits = np.uint64(bits)
        self.last = np.uint64((1 << bits) - 1)  # masque du dernier token d’une clé
        stream = self._stream(tokens)
        if len(stream) == 1:
            raise ValueError("le corpus d’apprentissage est vide : donnez au moins un token")
        self.discounts: list[tuple[float, float, float]] = []  # (D1, D2, D3) de l’ordre 1 à order
        self.grams: list[tuple[np.ndarray, np.ndarray]] = []  # suites triées, leur part α
        self.contexts: list[tuple[np.ndarray, np.ndarray]] = []  # contextes triés, leur γ
        for keys, counts in self._counts(stream)[::-1]:
            self._add_order(keys, counts)

    def log_probs(self, tokens) -> np.ndarray:
        """log p de chaque token sachant ceux qui le précèdent, en nats : (N,) -> (N,) float64.

        Le premier est prédit depuis <|fin|>, comme tout token qui suit un <|fin|>.
        """
        stream = self._stream(tokens)
        p = np.full(len(stream) - 1, 1 / self.vocab_size)
        for k in range(1, self.order + 1):
            at = self._places(stream, k)  # où un contexte de k - 1 tokens existe
            keys = _keys(stream, at, k, self.bits)
            rank, seen = _find(self.contexts[k - 1][0], keys >> self.bits if k > 1 else keys * 0)
            at, keys, rank = at[seen] - 1, keys[seen], rank[seen]
            p[at] *= self.contexts[k - 1][1][rank]
            rank, seen = _find(self.grams[k - 1][0], keys)
            p[at[seen]] += self.grams[k - 1][1][rank[seen]]
        return np.log(p)

    def distribution(self, context: Sequence[int] = ()) -> np.ndarray:
        """Loi du token suivant sachant `context` (vide : en début de document) : (V,), somme 1."""
        stream = self._stream(context)
        start = np.flatnonzero(stream == self.fin)[-1]
        stream = stream[max(start, len(stream) - self.order + 1) :]  # ce qu’un contexte peut lire
        p = np.full(self.vocab_size, 1 / self.vocab_size)
        for k in range(1, min(self.order, len(stream) + 1) + 1):
            h = 0
            for token in stream[len(stream) - k + 1 :]:
                h = h << int(self.bits) | int(token)
            rank, seen = _find(self.contexts[k - 1][0], np.array([h], dtype=np.uint64))
            if not seen[0]:
                break  # plus long : inconnu aussi
            grams, alpha = self.grams[k - 1]
            first = np.uint64(h << int(self.bits))
            a, b = np.searchsorted(grams, first), np.searchsorted(grams, first | self.last, "right")
            p *= self.contexts[k - 1][1][rank[0]]
            p[grams[a:b] & self.last] += alpha[a:b]
        return p

    def document_bits(self, texts: Sequence[str], tokenizer) -> tuple[np.ndarray, np.ndarray]:
        """Surprise de chaque texte, en bits, et sa taille en octets UTF-8 : deux (n,).

        Chaque texte est prédit depuis <|fin|>, qui n’est pas lui-même compté à la fin : la même
        convention que `llmbook.evaluation.score`.
        """
        if isinstance(texts, str):
            raise ValueError("texts est une chaîne : donnez une liste de textes")
        if not len(texts):
            raise ValueError("aucun texte à évaluer")
        if getattr(tokenizer, "fin", self.fin) != self.fin:
            raise ValueError(
                f"<|fin|> est {tokenizer.fin} pour le tokeniseur et {self.fin} pour le modèle : "
                "donnez fin=tokenizer.fin à NgramLM"
            )
        documents = [list(tokenizer.encode(text)) for text in texts]
        for i, document in enumerate(documents):
            if not document:
                raise ValueError(f"le texte {i} est vide : retirez-le de la liste")
        lengths = np.array([len(document) + 1 for document in documents])
        nats = -self.log_probs([t for document in documents for t in [*document, self.fin]])
        ends = np.cumsum(lengths)
        nats[ends - 1] = 0.0  # les <|fin|> que nous avons ajoutés
        sizes = np.array([len(text.encode()) for text in texts])
        return np.add.reduceat(nats, ends - lengths) / np.log(2), sizes

    def bits_per_byte(self, texts: Sequence[str], tokenizer) -> float:
        """Somme des surprises, en bits, divisée par le nombre d’octets UTF-8 des textes."""
        bits, sizes = self.document_bits(texts, tokenizer)
        return float(bits.sum() / sizes.sum())

    # Compter

    def _stream(self, tokens) -> np.ndarray:
        """<|fin|> puis les tokens, vérifiés : (N + 1,)."""
        tokens = np.asarray(tokens)
        if tokens.size == 0:
            return np.array([self.fin], dtype=np.uint32)
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise ValueError(
                f"tokens de forme {tokens.shape} et de type {tokens.dtype} : une suite plate "
                "d’entiers est attendue"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.vocab_size:
            raise ValueError(
                f"tokens entre {low} et {high} : le vocabulaire va de 0 à {self.vocab_size - 1}. "
                "Ce tokeniseur est-il celui du modèle ?"
            )
        stream = np.empty(len(tokens) + 1, np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)
        stream[0], stream[1:] = self.fin, tokens
        return stream

    def _places(self, stream: np.ndarray, k: int) -> np.ndarray:
        """Où finissent les suites de k tokens sans <|fin|> en leur milieu. Jamais 0 : (M,)."""
        is_fin = stream == self.fin
        keep = np.ones(len(stream), dtype=bool)
        keep[: max(k - 1, 1)] = False
        for back in range(1, k - 1):
            keep[back:] &= ~is_fin[: len(stream) - back]
        return np.flatnonzero(keep)

    def _counts(self, stream: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Suites différentes et leur compte, de l’ordre le plus haut au plus bas."""
        keys = _keys(stream, self._places(stream, self.order), self.order, self.bits)
        counted = [np.unique(keys, return_counts=True)]
        del keys
        for k in range(self.order - 1, 0, -1):
            longer = counted[-1][0]
            shorter = longer & np.uint64((1 << int(self.bits) * k) - 1)  # premier token retiré
            keys, counts = np.unique(shorter, return_counts=True)
            if k > 1:  # celles qui commencent par <|fin|>, absentes des précédentes
                at = self._places(stream, k)
                at = at[stream[at - k + 1] == self.fin]
                first, occurrences = np.unique(_keys(stream, at, k, self.bits), return_counts=True)
                place = np.searchsorted(keys, first)
                keys, counts = np.insert(keys, place, first), np.insert(counts, place, occurrences)
            counted.append((keys, counts))
        return counted

    def _add_order(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Tables α et γ d’un ordre."""
        counts = counts.astype(np.uint32)
        discounts = _discounts(np.bincount(np.minimum(counts, 5), minlength=5))
        discount = np.array([0.0, *discounts])[np.minimum(counts, 3)]
        history = keys >> self.bits if self.grams else np.zeros_like(keys)
        starts = np.flatnonzero(np.r_[len(keys) > 0, history[1:] != history[:-1]])
        sizes = np.diff(np.r_[starts, len(keys)])
        if len(keys):  # un corpus plus court que l’ordre n’a pas de longues suites
            total = np.add.reduceat(counts.astype(np.float64), starts)
            gamma = np.add.reduceat(discount, starts) / total
        else:
            total = gamma = np.empty(0)
        alpha = (counts - discount) / np.repeat(total, sizes)
        self.discounts.append(discounts)
        self.grams.append((keys, alpha.astype(np.float32)))
        self.contexts.append((history[starts], gamma.astype(np.float32)))


def _keys(stream: np.ndarray, at: np.ndarray, k: int, bits: np.uint64) -> np.ndarray:
    """Les suites de k tokens qui finissent aux places `at`, premier token en tête : uint64 (M,)."""
    keys = np.zeros(len(at), dtype=np.uint64)
    for back in range(k - 1, -1, -1):
        keys <<= bits
        keys |= stream[at - back]
    return keys


def _find(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rang de chaque clé dans une table triée, et s’il est le sien : deux (M,).

    Chercher des clés triées parcourt la table en ordre : bien moins de défauts de cache.
    """
    if not len(table):
        return np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=bool)
    order = np.argsort(keys)
    rank = np.empty(len(keys), dtype=np.int64)
    rank[order] = np.searchsorted(table, keys[order])
    rank = np.minimum(rank, len(table) - 1)
    return rank, table[rank] == keys


def _discounts(n: np.ndarray) -> tuple[float, float, float]:
    """D1, D2, D3+ d’après n[i], nombre de suites comptées i fois (Chen et Goodman, éq. 26).

    FALLBACK si l’estimation est impossible ou sort de ]0, i], ce qui arrive sur un petit corpus.
    """
    n1, n2, n3, n4 = (float(count) for count in n[1:5])
    if min(n1, n2, n3) == 0:
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    estimated = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    possible = all(0 < d <= i for i, d in enumerate(estimated, start=1))
    return estimated if possible else FALLBACK
