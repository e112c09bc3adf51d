"""WordPiece : encoder par le plus long début de mot, apprendre en fusionnant des paires.

Un token qui commence un mot s’écrit tel quel, un token qui le continue s’écrit avec « ## » devant.
Un mot dont une partie manque au vocabulaire devient tout entier [UNK] : le texte est alors perdu.

    tokens = train_wordpiece(Counter(split_bert(text)), 1000)
    WordPiece(tokens).tokenize("rapidement")     # ["rapide", "##ment"]

À côté : `tokenizers`, qui donne les mêmes tokens et, à alphabet fixé, le même vocabulaire. Google
n’a pas publié son apprentissage ; celui-ci suit la description de Schuster et Nakajima, 2012,
« Japanese and Korean Voice Search », et laisse choisir le critère. Encodage : Wu et al., 2016,
arXiv:1609.08144, et Devlin et al., 2019, arXiv:1810.04805.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

import numpy as np

from llmbook.tokenizer_bpe import compile_pattern, merge_pair

UNK, PREFIX = "[UNK]", "##"
# Un signe de ponctuation, ou une suite d’autre chose que des blancs et des signes.
SIGN = r"\p{P}$+<=>^`|~"
WORDS = rf"[{SIGN}]|[^\s{SIGN}]+"
CONTROL = ("Cc", "Cf", "Co")
IDEOGRAM = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf"
    "\U0002f800-\U0002fa1f]"
)

# Préparer le texte, comme BERT


def normalize_bert(text: str, *, lowercase: bool = True) -> str:
    """Retire les caractères de contrôle et isole les idéogrammes ; en minuscules, retire aussi les
    accents : « Élève » devient « eleve ». C’est BertNormalizer de `tokenizers`."""
    kept = (
        " " if char.isspace() else char
        for char in text
        if char in "\t\n\r" or not (char == "\ufffd" or unicodedata.category(char) in CONTROL)
    )
    text = IDEOGRAM.sub(r" \g<0> ", "".join(kept))
    if lowercase:
        decomposed = unicodedata.normalize("NFD", text)
        text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn").lower()
    return text


def split_bert(text: str) -> list[str]:
    """Mots et signes de ponctuation isolés ; les blancs disparaissent. C’est BertPreTokenizer."""
    return compile_pattern(WORDS).findall(text)


# Encoder


class WordPiece:
    """Un vocabulaire et la règle du plus long début.

    tokens : de numéros 0, 1, 2… ; unk : le token des mots impossibles ; max_chars : longueur
    au-delà de laquelle un mot devient `unk`, pour borner le temps, quadratique en cette longueur.
    ValueError si `unk` n’est pas dans le vocabulaire, ou si un token y est deux fois.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        *,
        unk: str = UNK,
        prefix: str = PREFIX,
        max_chars: int = 100,
        split: Callable[[str], list[str]] = split_bert,
    ):
        self.tokens = list(tokens)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            raise ValueError("un token figure deux fois dans le vocabulaire : retirez le doublon")
        if unk not in self.ids:
            raise ValueError(f"{unk!r} n’est pas dans le vocabulaire : ajoutez-le, ou donnez unk=…")
        self.unk, self.prefix, self.max_chars, self.split = unk, prefix, max_chars, split

    def tokenize(self, word: str) -> list[str]:
        """Tokens d’un mot, du plus long début possible au dernier ; [unk] si l’un manque."""
        if len(word) > self.max_chars:
            return [self.unk]
        found, start = [], 0
        while start < len(word):
            mark = self.prefix if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.ids), None)
            if end is None:
                return [self.unk]  # un seul morceau manque, et tout le mot est perdu
            found.append(mark + word[start:end])
            start = end
        return found

    def encode(self, text: str) -> list[int]:
        """Numéros d’un texte, découpé en mots par `split`."""
        return [self.ids[token] for word in self.split(text) for token in self.tokenize(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """Texte approché : les blancs d’origine ne sont pas retenus, ni les mots devenus [UNK]."""
        text = ""
        for i in ids:
            token = self.tokens[i]
            joined = token.startswith(self.prefix)
            text += token[len(self.prefix) :] if joined else f" {token}"
        return text.strip()


# Choisir la paire à fusionner. n : occurrences de chaque paire ; a, b : de ses deux tokens, (P,) ;
# total : nombre de tokens du corpus. La paire de plus grande valeur fusionne.


def frequency(n, a, b, total):
    """Le critère de BPE, et celui de `tokenizers.trainers.WordPieceTrainer`."""
    return n


def ratio(n, a, b, total):
    """Souvent attribué à WordPiece ; préfère les paires rares (voir likelihood_gain)."""
    return n / (a * b)


def likelihood_gain(n, a, b, total):
    """Hausse de la log-vraisemblance du corpus, en nats, quand chaque token a sa fréquence pour
    probabilité : ce que demandent Schuster et Nakajima. Exacte si les deux tokens diffèrent."""
    after = _xlogx(n) + _xlogx(a - n) + _xlogx(b - n) - _xlogx(total - n)
    return after - (_xlogx(a) + _xlogx(b) - _xlogx(total))


def _xlogx(x):
    x = np.asarray(x, dtype=float)
    return x * np.log(np.where(x > 0, x, 1.0))


# Apprendre


def train_wordpiece(
    words: Mapping[str, int],
    vocab_size: int,
    *,
    specials: Iterable[str] = (UNK,),
    prefix: str = PREFIX,
    criterion: Callable = frequency,
    min_count: int = 1,
) -> list[str]:
    """Les tokens appris, dans l’ordre de leurs numéros.

    words : nombre de chaque mot. Viennent d’abord `specials`, les caractères triés, les caractères
    de suite triés, puis les fusions. À égalité, la paire de plus petits numéros l’emporte, comme
    dans `tokenizers` ; mais lui numérote les « ##x » dans un ordre tiré au hasard.
    min_count : les paires plus rares ne fusionnent pas.
    ValueError si le corpus est vide, ou si le vocabulaire ne peut en contenir les caractères.
    """
    if not words:
        raise ValueError("corpus vide : il faut au moins un mot pour apprendre des tokens")
    tokens = list(dict.fromkeys(specials))
    tokens += sorted({char for word in words for char in word} - set(tokens))
    tokens += sorted({prefix + char for word in words for char in word[1:]} - set(tokens))
    if vocab_size < len(tokens):
        raise ValueError(
            f"vocab_size={vocab_size} : il en faut au moins {len(tokens)}, pour les caractères du "
            "corpus au début et au milieu des mots ; retirez des mots rares, ou agrandissez-le"
        )
    ids = {token: i for i, token in enumerate(tokens)}
    corpus = Corpus(words, ids, prefix)
    while len(tokens) < vocab_size:
        pair = corpus.best(criterion, min_count)
        if pair is None:
            break
        merged = tokens[pair[0]] + tokens[pair[1]].removeprefix(prefix)
        if merged not in ids:
            ids[merged] = len(tokens)
            tokens.append(merged)
        corpus.merge(pair, ids[merged])
    return tokens


class Corpus:
    """Les mots découpés, avec le compte des tokens et des paires, tenu à jour à chaque fusion."""

    def __init__(self, words: Mapping[str, int], ids: Mapping[str, int], prefix: str = PREFIX):
        self.words = [[ids[prefix * (i > 0) + c] for i, c in enumerate(w)] for w in words]
        self.weights = list(words.values())
        self.tokens = [0] * len(ids)  # compte de chaque numéro
        self.pairs: Counter[tuple[int, int]] = Counter()
        self.places: dict[tuple[int, int], set[int]] = defaultdict(set)  # mots où chercher
        for index in range(len(self.words)):
            self._count(index, +1)

    def counts(self):
        """Les paires, (P, 2), puis n, a, b, (P,), et total : ce que lisent les critères."""
        pairs = np.fromiter(chain.from_iterable(self.pairs), int, 2 * len(self.pairs))
        pairs = pairs.reshape(-1, 2)
        n = np.fromiter(self.pairs.values(), float, len(self.pairs))
        a, b = np.array(self.tokens, dtype=float)[pairs.T]
        return pairs, n, a, b, sum(self.tokens)

    def best(self, criterion: Callable, min_count: int = 1) -> tuple[int, int] | None:
        """Paire de plus grande valeur ; à égalité, de plus petits numéros ; None s’il n’y en a pas."""
        pairs, n, a, b, total = self.counts()
        if not len(n) or n.max() < min_count:
            return None
        values = np.where(n >= min_count, criterion(n, a, b, total), -np.inf)
        return min(map(tuple, pairs[values == values.max()].tolist()))

    def merge(self, pair: tuple[int, int], new: int) -> None:
        """Remplace la paire par `new` dans tous les mots."""
        self.tokens += [0] * (new + 1 - len(self.tokens))
        for index in self.places.pop(pair):
            self._count(index, -1)
            self.words[index] = merge_pair(self.words[index], pair, new)
            self._count(index, +1)

    def _count(self, index: int, sign: int) -> None:
        word, weight = self.words[index], sign * self.weights[index]
        for token in word:
            self.tokens[token] += weight
        for pair in zip(word, word[1:], strict=False):
            self.pairs[pair] += weight
            if not self.pairs[pair]:
                del self.pairs[pair]
            if sign > 0:
                self.places[pair].add(index)
