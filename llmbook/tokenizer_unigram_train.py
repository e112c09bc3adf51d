"""Apprendre un vocabulaire Unigram : trop de tokens d’abord, puis espérance-maximisation et élagage.

Chaque tour fait deux pas d’EM, puis retire un quart des tokens, ceux dont la perte coûte le moins de
vraisemblance, jusqu’à la taille voulue. C’est `tokenizers.trainers.UnigramTrainer`, à l’arrondi
près : mêmes graines, mêmes tokens, mêmes scores.

    pieces = train_unigram(Counter(split_metaspace(text)), 2000)
    Unigram(pieces)

Les découpes se comptent dans `llmbook.tokenizer_unigram_lattice`, tous les mots à la fois.
Kudo, 2018, arXiv:1804.10959 ; le digamma vient de l’EM variationnel, Liang et Klein, 2007,
« Structured Bayesian Nonparametric Models with Variational Inference ».
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from llmbook.tokenizer_unigram import UNK_PENALTY
from llmbook.tokenizer_unigram_lattice import GROUP, Lattice, lattices

UNK = "<unk>"
RARE = 0.5  # compte attendu sous lequel un token disparaît

# Les graines : des sous-chaînes qui se répètent


def seed_pieces(
    words: Mapping[str, int], max_length: int = 16, *, weighted: bool = False
) -> list[tuple[str, float]]:
    """Tokens de départ et leurs log-probabilités, proportionnelles à compte × longueur.

    Tous les caractères, puis les suites d’au plus `max_length` caractères que suivent au moins deux
    caractères différents (ou la fin) : une suite toujours prolongée de même ferait double emploi.
    Par défaut, comme dans `tokenizers`, chaque mot différent compte pour un, quel que soit son
    nombre. weighted=True compte les occurrences, et ajoute les mots entiers vus deux fois.
    """
    chars: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    following: dict[str, str] = {}
    kept = set()
    for word, n in words.items():
        for char in word:
            chars[char] += n
        for start in range(len(word)):
            for end in range(start + 2, min(start + max_length, len(word)) + 1):
                piece, after = word[start:end], word[end : end + 1]
                counts[piece] += n if weighted else 1
                if following.setdefault(piece, after) != after:
                    kept.add(piece)
        if weighted and n > 1 and 1 < len(word) <= max_length:
            kept.add(word)
    seeds = sorted(((n, char) for char, n in chars.items()), reverse=True)
    seeds += sorted(((counts[piece] * len(piece), piece) for piece in kept), reverse=True)
    total = np.log(sum(n for n, _ in seeds))
    return [(piece, float(np.log(n) - total)) for n, piece in seeds]


# Espérance, maximisation


def expect(words: Mapping[str, int], pieces: Sequence[tuple[str, float]]):
    """Étape E sur tous les mots : comptes attendus, (V,), et log-vraisemblance. pieces[0] : inconnu."""
    scores = _scores(pieces)
    parts = [lattice.expect(scores) for lattice in lattices(words, pieces)]
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def maximize(pieces: Sequence[tuple[str, float]], expected: np.ndarray, *, sparse: bool = True):
    """Étape M : les tokens et leurs nouveaux scores.

    sparse=False : le logarithme des fréquences attendues, la vraie étape M. sparse=True : digamma à
    la place du logarithme, et les tokens attendus moins d’une demi-fois disparaissent.
    """
    kept = [i for i in range(1, len(pieces)) if expected[i] >= (RARE if sparse else 1e-300)]
    counts = np.array([expected[i] for i in kept])
    log = digamma if sparse else np.log
    scores = log(counts) - log(counts.sum())
    return [pieces[0], *((pieces[i][0], float(s)) for i, s in zip(kept, scores, strict=True))]


def digamma(x) -> np.ndarray:
    """Dérivée de ln Γ, proche de ln(x − 1/2) : retranche beaucoup aux petits comptes. x > 0."""
    x, shift = np.asarray(x, dtype=float), 0.0
    for _ in range(7):  # ψ(x) = ψ(x + 1) − 1/x, jusqu’à x ≥ 7
        small = x < 7
        shift = shift - np.where(small, 1 / x, 0)
        x = np.where(small, x + 1, x)
    y = 1 / (x - 0.5) ** 2
    series = y / 24 - 7 * y**2 / 960 + 31 * y**3 / 8064 - 127 * y**4 / 30720
    return shift + np.log(x - 0.5) + series


# Élaguer


def prune(words: Mapping[str, int], pieces: Sequence[tuple[str, float]], size: int):
    """Garde `size` tokens : ceux qu’on ne sait pas remplacer, puis ceux dont la perte coûte le plus.

    Remplacer un token, c’est le récrire par la meilleure découpe qui ne l’emploie pas.
    """
    scores = _scores(pieces)
    frequency = np.zeros(len(pieces))
    for lattice in lattices(words, pieces):
        for path, weight in zip(lattice.best(scores)[0], lattice.weights, strict=True):
            for i in path:
                frequency[i] += weight
    losses = removal_losses(pieces, frequency, sum(words.values()))
    kept = [i for i in range(1, len(pieces)) if losses[i] == np.inf]
    ranked = [i for i in range(1, len(pieces)) if 0 < frequency[i] and losses[i] < np.inf]
    ranked.sort(key=lambda i: -losses[i])
    return [pieces[i] for i in [0, *kept, *ranked[: max(0, size - 1 - len(kept))]]]


def removal_losses(pieces: Sequence[tuple[str, float]], frequency: np.ndarray, n_words: int):
    """Vraisemblance perdue par mot, en nats, quand un token cède la place à sa seconde découpe ; (V,).

    frequency : nombre d’emplois de chaque token dans les meilleures découpes. La perte est infinie
    si rien ne remplace le token, ou s’il sert sans être sa propre meilleure découpe.
    Pour le total après retrait, `tokenizers` emploie len(pieces) où SentencePiece écrit len(path) ;
    nous suivons le premier, pour obtenir son vocabulaire.
    """
    scores, total = _scores(pieces), frequency.sum()
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    losses = np.full(len(pieces), np.inf)
    for i, path, value in second_best(pieces, ids, scores):
        if not frequency[i]:
            losses[i] = 0.0
        elif value <= scores[i]:
            after = np.log(total + frequency[i] * (len(pieces) - 1))
            instead = (np.log(frequency[path] + frequency[i]) - after).sum()
            losses[i] = frequency[i] / n_words * (np.log(frequency[i] / total) - instead)
    return losses


def second_best(pieces, ids, scores) -> Iterator[tuple[int, list[int], float]]:
    """Pour chaque token d’au moins deux caractères : numéro, meilleure découpe sans lui, score."""
    long = [i for i, (piece, _) in enumerate(pieces) if i and len(piece) > 1]
    for start in range(0, len(long), GROUP):
        group = long[start : start + GROUP]
        lattice = Lattice([pieces[i][0] for i in group], np.ones(len(group)), ids)
        whole = (np.arange(len(group)), lattice.lengths, lattice.lengths - 1)
        lattice.table[whole] = lattice.none  # le token lui-même est interdit
        yield from zip(group, *lattice.best(scores), strict=True)


# Apprendre


def train_unigram(
    words: Mapping[str, int],
    vocab_size: int,
    *,
    seeds: Sequence[tuple[str, float]] | None = None,
    specials: Iterable[str] = (UNK,),
    shrinking_factor: float = 0.75,
    sub_iterations: int = 2,
    max_length: int = 16,
) -> list[tuple[str, float]]:
    """Les tokens et leurs log-probabilités : `specials` à 0, puis du plus au moins probable.

    words : nombre de chaque mot ; seeds : tokens de départ, par défaut `seed_pieces(words)`.
    Un caractère qu’aucun token n’emploie seul garde un token, au score le plus bas.
    ValueError si le corpus est vide, ou si le vocabulaire ne peut en contenir les caractères.
    """
    if not words:
        raise ValueError("corpus vide : il faut au moins un mot pour apprendre des tokens")
    specials = list(specials)
    chars = sorted({char for word in words for char in word})
    if vocab_size < len(chars) + len(specials):
        raise ValueError(
            f"vocab_size={vocab_size} : il en faut au moins {len(chars) + len(specials)}, pour les "
            "caractères du corpus ; retirez les plus rares, ou agrandissez-le"
        )
    pieces = [(UNK, np.nan), *(seed_pieces(words, max_length) if seeds is None else seeds)]
    goal = vocab_size * 11 // 10  # un peu plus : les caractères obligatoires viennent à la fin
    while True:
        for _ in range(sub_iterations):
            pieces = maximize(pieces, expect(words, pieces)[0])
        if len(pieces) <= goal:
            break
        pieces = prune(words, pieces, max(goal, int(len(pieces) * shrinking_factor)))
    known, worst = dict(pieces[1:]), min(score for _, score in pieces[1:])
    missing = [char for char in chars if char not in known]
    final = {char: known.get(char, worst) for char in chars}
    final |= {char: worst + rank * 1e-4 for rank, char in enumerate(missing)}
    for piece, score in pieces[1:]:
        if len(final) >= vocab_size - len(specials):
            break
        final.setdefault(piece, score)
    return [*((mark, 0.0) for mark in specials), *sorted(final.items(), key=lambda p: -p[1])]


def _scores(pieces: Sequence[tuple[str, float]]) -> np.ndarray:
    """Scores (V,), celui de l’inconnu (numéro 0) placé sous tous les autres."""
    scores = np.array([score for _, score in pieces], dtype=float)
    scores[0] = scores[1:].min() - UNK_PENALTY
    return scores
