"""Apprendre les fusions d’un tokeniseur BPE (*byte pair encoding*) au niveau des octets.

Règle d’égalité (*tie rule*) : la paire la plus fréquente fusionne ; à compte égal, celle dont le
numéro de gauche est le plus petit, puis celui de droite. C’est l’ordre de la file de
`tokenizers.trainers.BpeTrainer`. Un compte est celui des paires de voisins, chevauchements compris :
« aaa » compte deux fois (a, a), et n’en fusionne qu’une, la plus à gauche.

Une suite d’octets ne naît jamais deux fois. Entre deux frontières qui tiennent jusqu’à la fin,
les fusions ne dépendent que des octets : une fois le token formé, les mêmes octets entre deux
frontières sont toujours ce token, jamais une autre paire. De même, le compte d’une paire ne croît
qu’au moment où son token le plus récent apparaît ; ensuite il ne fait que baisser.

Sennrich, Haddow et Birch, 2016, arXiv:1508.07909, pour le texte ; Radford et al., 2019, « Language
Models are Unsupervised Multitask Learners », pour les octets.
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Le même motif pour un texte ASCII : `re` y va presque trois fois plus vite que `regex`.
ASCII_PATTERN = (
    PATTERN.replace(r"\p{L}\p{M}", "a-zA-Z").replace(r"\p{L}", "a-zA-Z").replace(r"\p{N}", r"\d")
)
CHUNK = 1 << 14  # caractères : assez peu pour que presque tous les morceaux de code soient ASCII

# Les octets dans l’ordre des caractères qui les représentent dans tokenizer.json : les imprimables
# d’abord, qui se représentent eux-mêmes, puis les autres, écrits chr(256), chr(257)…
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTE_ORDER = PRINTABLE + [byte for byte in range(256) if byte not in PRINTABLE]


# Découper en mots


@cache
def compile_pattern(pattern: str):
    """Le motif compilé par `regex`, qui connaît \\p{L}, ce que `re` ignore."""
    try:
        import regex
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "le tokeniseur demande le module regex : pip install 'llmbook[torch]'"
        ) from None
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"motif de découpe illisible : {error}") from None


def chunks(text: str) -> Iterator[str]:
    """Coupe un long texte sans changer les mots de PATTERN : entre une fin de ligne et une lettre.

    Aucun mot de PATTERN ne continue après une fin de ligne suivie d’autre chose qu’un blanc.
    """
    start, cut = 0, re.compile(r"\n(?=[A-Za-z@#])")
    while len(text) - start > CHUNK:
        found = cut.search(text, start + CHUNK)
        if not found:
            break
        yield text[start : found.end()]
        start = found.end()
    yield text[start:]


def split_words(text: str) -> Iterator[list[str]]:
    """Mots de PATTERN, en listes successives : mis bout à bout, ils redonnent le texte."""
    anything = compile_pattern(PATTERN)
    ascii_only = re.compile(ASCII_PATTERN, re.ASCII)
    for chunk in chunks(text):
        yield (ascii_only if chunk.isascii() else anything).findall(chunk)


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Mots de PATTERN et leur nombre ; `texts` est parcouru une fois, un texte à la fois.

    ValueError si un texte n’est pas une chaîne.
    """
    counts: Counter[str] = Counter()
    for text in [texts] if isinstance(texts, str) else texts:
        if not isinstance(text, str):
            raise ValueError(f"un texte est attendu (str), pas {type(text).__name__} : décodez-le")
        for words in split_words(text):
            counts.update(words)
    return counts


def utf8(word: str) -> bytes:
    """Octets d’un mot. ValueError s’il contient la moitié d’un caractère (*surrogate*)."""
    try:
        return word.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{word!r} contient un demi-caractère (surrogate), que l’UTF-8 n’écrit pas : relisez "
            "le fichier avec errors='replace', ou passez ses octets à Tokenizer.encode_bytes"
        ) from None


# Apprendre : d’abord lisible


def learn_merges_naive(
    words: Mapping[str, int], tokens: list[bytes], vocab_size: int
) -> list[tuple[int, int]]:
    """Les fusions, paires de numéros, en relisant tout le texte à chaque fois.

    words : nombre de chaque mot ; tokens : octets de chaque numéro, les 256 octets en dernier.
    `tokens` s’allonge jusqu’à `vocab_size`, ou jusqu’à ce qu’il n’y ait plus rien à fusionner.
    """
    merges = []
    ids = _byte_ids(tokens)
    text = [[ids[byte] for byte in utf8(word)] for word in words for _ in range(words[word])]
    while len(tokens) < vocab_size:
        counts = Counter(pair for word in text for pair in zip(word, word[1:], strict=False))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        text = [merge_pair(word, best, len(tokens)) for word in text]
        tokens.append(tokens[best[0]] + tokens[best[1]])
        merges.append(best)
    return merges


def merge_pair(word: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Remplace la paire, de gauche à droite : merge_pair([1, 1, 1], (1, 1), 2) → [2, 1]."""
    merged, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged


# Apprendre : les mêmes fusions, vite


def learn_merges(
    words: Mapping[str, int], tokens: list[bytes], vocab_size: int
) -> list[tuple[int, int]]:
    """Les fusions de `learn_merges_naive`, en ne touchant que ce qui change.

    Quatre idées. Un mot est traité une fois, avec son nombre pour poids. Chaque paire sait dans quels
    mots la chercher. Une fusion ne change que les comptes de ses voisines. Un tas donne la plus
    fréquente ; un compte périmé n’y est corrigé qu’à sa sortie.

    Un mot est une chaîne dont chaque caractère est un numéro, et une paire une chaîne de deux
    caractères : `str.split` la cherche à la vitesse du C, et les chaînes s’ordonnent comme les
    paires de numéros.
    """
    chars = {byte: chr(i) for byte, i in _byte_ids(tokens).items()}
    coded = [utf8(word).decode("latin-1").translate(chars) for word in words]
    weights = list(words.values())
    counts: dict[str, int] = defaultdict(int)
    places: dict[str, list[int]] = defaultdict(list)  # mots où chercher ; peut en citer trop
    for index, word in enumerate(coded):
        for pair in _pairs(word):
            counts[pair] += weights[index]
            places[pair].append(index)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)

    merges = []
    while len(tokens) < vocab_size and heap:
        count, best = heapq.heappop(heap)
        if counts[best] != -count:  # périmé : des fusions voisines ont pris de ses occurrences
            if counts[best] > 0:
                heapq.heappush(heap, (-counts[best], best))
            continue
        new = chr(len(tokens))
        born = _replace(best, new, coded, weights, counts, places)
        for pair in born:
            heapq.heappush(heap, (-counts[pair], pair))
        left, right = map(ord, best)
        tokens.append(tokens[left] + tokens[right])
        merges.append((left, right))
    return merges


def _replace(best, new, coded, weights, counts, places) -> set[str]:
    """Fusionne une paire partout, met à jour comptes et places, et renvoie les paires nées."""
    left, right = best
    born = set()
    for index in places.pop(best):
        word, weight = coded[index], weights[index]
        parts = word.split(best)
        if len(parts) == 1:  # la paire a quitté ce mot, ou il est cité deux fois
            continue
        coded[index] = new.join(parts)
        if len(parts) == 2:  # une seule occurrence : ses deux voisines changent
            before, after = parts
            lost = [before[-1] + left] if before else []
            won = [before[-1] + new] if before else []
            if after:
                lost.append(right + after[0])
                won.append(new + after[0])
        else:  # plusieurs, peut-être côte à côte : tout le mot est recompté
            lost, won = _pairs(word), _pairs(coded[index])
        for pair in lost:
            counts[pair] -= weight
        for pair in won:
            counts[pair] += weight
            if new in pair:
                places[pair].append(index)
                born.add(pair)
    del counts[best]
    return born


def _pairs(word: str) -> list[str]:
    return [word[i : i + 2] for i in range(len(word) - 1)]


def _byte_ids(tokens: list[bytes]) -> dict[int, int]:
    """Numéro de chaque octet, quand les 256 octets sont les derniers tokens."""
    start = len(tokens) - 256
    return {token[0]: start + i for i, token in enumerate(tokens[start:])}
