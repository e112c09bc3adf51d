"""Un tokeniseur BPE au niveau des octets : encoder, décoder, enregistrer.

Tout texte s’encode, puisque chaque octet est un token ; décoder rend les mêmes octets. Les marques
spéciales ont les premiers numéros, puis viennent les 256 octets (BYTE_ORDER), puis les fusions.
À côté : `tokenizers` et `tiktoken`, qui donnent les mêmes numéros.

    tokenizer = train_bpe(texts, 4096)
    tokenizer.decode(tokenizer.encode("Bonjour")) == "Bonjour"
    tokenizer.save("models/nano"); Tokenizer.from_pretrained("models/nano")
"""

import operator
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from llmbook import tokenizer_json
from llmbook.tokenizer_bpe import (
    BYTE_ORDER,
    PATTERN,
    compile_pattern,
    count_words,
    learn_merges,
    learn_merges_naive,
    split_words,
    utf8,
)
from llmbook.tokenizer_merge import WordCache, merge_long_word, merge_word

SPECIALS = ("<|fin|>", "<|pad|>", "<|im_start|>", "<|im_end|>")  # numéros 0 à 3
LONG_WORD = 64  # octets au-delà desquels un tas fusionne plus vite qu’une boucle


class Tokenizer:
    """Des tokens, des fusions et un motif de découpe.

    tokens : octets de chaque numéro, None pour un numéro sans token ; merges : paires de numéros,
    de la première apprise à la dernière ; specials : numéro de chaque marque, que le texte ne produit
    jamais ; end : la marque de fin de document. Les autres options servent aux tokeniseurs venus
    d’ailleurs : motifs appliqués l’un après l’autre, normalisation NFC, mots entiers avant les fusions.
    """

    def __init__(
        self,
        tokens: Sequence[bytes | None],
        merges: Iterable[tuple[int, int]],
        specials: Mapping[str, int],
        *,
        end: str | None = None,
        patterns: Sequence[str] = (PATTERN,),
        nfc: bool = False,
        whole_words: bool = False,
    ):
        self.tokens, self.merges = list(tokens), list(merges)
        self.specials, self.end = dict(specials), end
        self.patterns, self.nfc, self.whole_words = tuple(patterns), nfc, whole_words
        self.vocab_size = len(self.tokens)
        self.dtype = np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)

        reserved = set(self.specials.values())
        self._ids = {
            token: i
            for i, token in enumerate(self.tokens)
            if token is not None and i not in reserved
        }
        missing = [byte for byte in range(256) if bytes([byte]) not in self._ids]
        if missing:
            raise ValueError(
                f"{len(missing)} octets n’ont pas de token, dont {missing[0]} : ce vocabulaire "
                "n’encode pas tout texte ; prenez un tokeniseur au niveau des octets"
            )
        self._bytes = [self._ids[bytes([byte])] for byte in range(256)]
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._merged = [self._ids.get(self.tokens[a] + self.tokens[b]) for a, b in self.merges]
        if None in self._merged:
            pair = self.merges[self._merged.index(None)]
            raise ValueError(
                f"la fusion {pair} ne produit aucun token du vocabulaire : fichier abîmé"
            )
        for pattern in self.patterns:
            compile_pattern(pattern)  # refuse dès maintenant un motif illisible
        longest_first = sorted(self.specials, key=len, reverse=True)
        alternatives = "|".join(map(re.escape, longest_first))
        self._special_regex = re.compile(f"({alternatives})") if longest_first else None
        self._packed = WordCache(self._pack_word)

    @property
    def fin(self) -> int:
        """Numéro de la marque qui termine un document, `<|fin|>` pour les tokeniseurs du livre."""
        if self.end not in self.specials:
            raise ValueError(f"marque de fin inconnue : {self.end!r} ; donnez-la par end=…")
        return self.specials[self.end]

    # Encoder

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Numéros d’un texte. Avec specials=True, ses marques spéciales deviennent leur numéro.

        N’ouvrez cette porte qu’à un texte que vous avez composé : sinon, un utilisateur pourrait
        y écrire `<|im_start|>`. ValueError si `text` n’est pas du texte.
        """
        _check_text(text)
        if not specials or self._special_regex is None:
            return memoryview(self._pack(text)).cast(self.dtype.char).tolist()
        ids = []
        for i, piece in enumerate(self._special_regex.split(text)):
            ids += [self.specials[piece]] if i % 2 else self.encode(piece)
        return ids

    def encode_array(self, text: str) -> np.ndarray:
        """Numéros d’un long texte, (N,) uint16, ou uint32 au-delà de 65 536 tokens."""
        _check_text(text)
        return np.frombuffer(bytearray(self._pack(text)), self.dtype)

    def encode_bytes(self, data: bytes) -> list[int]:
        """Numéros d’octets quelconques, même s’ils ne sont pas de l’UTF-8."""
        text = data.decode("utf-8", "surrogateescape")
        words = (word for words in self._words(text) for word in words)
        return [i for word in words for i in self._merge(word.encode("utf-8", "surrogateescape"))]

    def _pack(self, text: str) -> bytes:
        """Les numéros, bout à bout en binaire : joindre des octets est ce que Python fait de mieux."""
        if self.nfc:
            text = unicodedata.normalize("NFC", text)
        find = self._packed.__getitem__
        return b"".join(b"".join(map(find, words)) for words in self._words(text))

    def _pack_word(self, word: str) -> bytes:
        return np.array(self._merge(utf8(word)), self.dtype).tobytes()

    def _words(self, text: str) -> Iterator[list[str]]:
        if self.patterns == (PATTERN,):
            yield from split_words(text)
            return
        words = [text]
        for pattern in self.patterns:
            regex = compile_pattern(pattern)
            words = [piece for word in words for piece in _isolate(regex, word)]
        yield words

    def _merge(self, data: bytes) -> list[int]:
        if self.whole_words and data in self._ids:
            return [self._ids[data]]
        merge = merge_word if len(data) <= LONG_WORD else merge_long_word
        return merge([self._bytes[byte] for byte in data], self._ranks, self._merged)

    # Décoder

    def token_bytes(self, i: int) -> bytes:
        """Octets d’un numéro ; une marque spéciale rend son texte."""
        i = operator.index(i)
        token = self.tokens[i] if 0 <= i < self.vocab_size else None
        if token is None:
            raise ValueError(
                f"numéro {i} hors du vocabulaire, qui va de 0 à {self.vocab_size - 1} : "
                "ces tokens viennent-ils d’un autre tokeniseur ?"
            )
        return token

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Octets d’une suite de numéros. ValueError si l’un est hors du vocabulaire."""
        return b"".join(map(self.token_bytes, ids))

    def decode(self, ids: Iterable[int]) -> str:
        """Texte d’une suite de numéros ; des octets qui ne font pas un caractère deviennent « \ufffd »."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    # Enregistrer

    def save(self, folder: str | Path) -> None:
        """Écrit tokenizer.json et tokenizer_config.json, que lisent `tokenizers` et transformers."""
        tokenizer_json.write(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Tokenizer":
        """Lit un dossier écrit par `save`, ou le tokenizer.json d’un BPE d’octets (GPT-2, Llama 3…).

        ValueError s’il demande ce que nous ne faisons pas. Son post-traitement est ignoré : `encode`
        n’ajoute aucun token de début.
        """
        return cls(**tokenizer_json.read(Path(folder)))


# Apprendre


def train_bpe(
    texts: Iterable[str] | Mapping[str, int],
    vocab_size: int,
    specials: Sequence[str] = SPECIALS,
) -> Tokenizer:
    """Apprend `vocab_size` tokens, moins si le corpus ne permet pas tant de fusions.

    texts : des textes, parcourus une fois, ou déjà le résultat de `count_words`.
    ValueError si le corpus est vide, ou le vocabulaire plus petit que les marques et les 256 octets.
    """
    return _train(learn_merges, texts, vocab_size, specials)


def train_bpe_naive(
    texts: Iterable[str] | Mapping[str, int],
    vocab_size: int,
    specials: Sequence[str] = SPECIALS,
) -> Tokenizer:
    """Le même tokeniseur que `train_bpe`, mais tout le texte est relu à chaque fusion."""
    return _train(learn_merges_naive, texts, vocab_size, specials)


def _train(learn, texts, vocab_size, specials) -> Tokenizer:
    if len(set(specials)) != len(specials) or "" in specials:
        raise ValueError(f"marques spéciales vides ou répétées : {specials}")
    if vocab_size < 256 + len(specials):
        raise ValueError(
            f"vocab_size={vocab_size} : il en faut au moins {256 + len(specials)}, pour "
            f"256 octets et {len(specials)} marques spéciales"
        )
    words = texts if isinstance(texts, Mapping) else count_words(texts)
    if not words:
        raise ValueError("corpus vide : il faut au moins un caractère pour apprendre des fusions")
    marks = [mark.encode() for mark in specials]
    tokens = marks + [bytes([byte]) for byte in BYTE_ORDER]
    merges = learn(words, tokens, vocab_size)
    ids = {mark: i for i, mark in enumerate(specials)}
    shared = set(specials) & {tokenizer_json.visible(token) for token in tokens[len(marks) :]}
    if shared:
        raise ValueError(
            f"le corpus a formé les marques {sorted(shared)} par des fusions : choisissez des marques "
            "mêlant lettres et signes, comme <|fin|>, qu’aucun mot ne contient"
        )
    return Tokenizer(tokens, merges, ids, end=specials[0] if specials else None)


def _isolate(regex, text: str) -> Iterator[str]:
    """Les trouvailles du motif et ce qui les sépare, dans l’ordre."""
    end = 0
    for match in regex.finditer(text):
        if match.start() > end:
            yield text[end : match.start()]
        if match.group():
            yield match.group()
        end = match.end()
    if end < len(text):
        yield text[end:]


def _check_text(text) -> None:
    if not isinstance(text, str):
        raise ValueError(f"un texte est attendu (str), pas {type(text).__name__} : décodez-le")
