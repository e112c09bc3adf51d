"""Unigram : chaque token a une probabilité, et la meilleure découpe d’un mot est la plus probable.

La probabilité d’une découpe est le produit de celles de ses tokens ; celle d’un mot, la somme sur
ses découpes. Une même récurrence, de gauche à droite, donne le maximum (Viterbi), la somme
(forward), ou un tirage au hasard.

    model = Unigram([("<unk>", 0.0), ("▁le", -2.0), ("▁", -4.0), ("l", -3.0), ("e", -2.5)])
    model.tokenize("▁le")                            # ["▁le"]
    model.sample("▁le", np.random.default_rng(0))    # parfois ["▁", "l", "e"]

L’apprentissage est dans `llmbook.tokenizer_unigram_train`. À côté : `tokenizers.models.Unigram`,
qui donne les mêmes numéros. Kudo, 2018, arXiv:1804.10959 ; Kudo et Richardson, 2018,
arXiv:1808.06226, pour « ▁ » et pour le repli sur les octets (*byte fallback*).
"""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

SPACE = "▁"  # U+2581, qui remplace l’espace dans les tokens
UNK_PENALTY = 10.0  # nats sous le pire token : le prix d’un caractère inconnu


def split_metaspace(text: str) -> list[str]:
    """« le chat » donne ["▁le", "▁chat"] ; un « ▁ » est mis devant le texte. C’est Metaspace."""
    marked = text.replace(" ", SPACE)
    if marked and not marked.startswith(SPACE):
        marked = SPACE + marked
    return re.findall(f"{SPACE}[^{SPACE}]*", marked)


def byte_pieces() -> list[str]:
    """Les 256 tokens du repli sur les octets : « <0x00> » à « <0xFF> »."""
    return [f"<0x{byte:02X}>" for byte in range(256)]


class Unigram:
    """Des tokens et leurs log-probabilités, en nats.

    pieces : (token, log-probabilité), de numéros 0, 1, 2… ; unk : numéro du token inconnu ;
    byte_fallback : un caractère inconnu s’écrit par ses octets, si leurs 256 tokens sont là ;
    split : découpe d’un texte en mots, qu’aucun token ne traverse.
    ValueError si un token figure deux fois, ou si `unk` n’est pas un numéro.
    """

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        *,
        unk: int = 0,
        byte_fallback: bool = False,
        split: Callable[[str], list[str]] = split_metaspace,
    ):
        self.tokens = [token for token, _ in pieces]
        self.scores = [float(score) for _, score in pieces]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            raise ValueError("un token figure deux fois dans le vocabulaire : retirez le doublon")
        if not 0 <= unk < len(self.tokens):
            raise ValueError(f"unk={unk} : un numéro entre 0 et {len(self.tokens) - 1} est attendu")
        self.unk, self.byte_fallback, self.split = unk, byte_fallback, split
        self.unk_score = min(self.scores) - UNK_PENALTY
        self.longest = max(map(len, self.tokens))

    # Le treillis : un arc par token possible

    def arcs(self, word: str) -> list[list[tuple[int, int, float]]]:
        """Pour chaque fin 0…n, les arcs (début, numéro, score) qui y arrivent, du plus long au plus
        court. Un caractère qui n’est pas un token reçoit un arc inconnu : tout mot a une découpe."""
        ending: list[list[tuple[int, int, float]]] = [[] for _ in range(len(word) + 1)]
        for start in range(len(word)):
            if word[start] not in self.ids:
                ending[start + 1].append((start, self.unk, self.unk_score))
            for end in range(start + 1, min(start + self.longest, len(word)) + 1):
                i = self.ids.get(word[start:end])
                if i is not None:
                    ending[end].append((start, i, self.scores[i]))
        return ending

    def viterbi(self, word: str) -> tuple[list[tuple[str, int]], float]:
        """La découpe la plus probable, en couples (morceau, numéro), et sa log-probabilité.

        À égalité, le dernier token est le plus long possible, comme dans `tokenizers`.
        """
        best, back = [0.0], [(0, self.unk)]
        for end, arcs in enumerate(self.arcs(word)[1:], start=1):
            best.append(-np.inf)
            back.append((end - 1, self.unk))
            for start, i, score in arcs:
                if best[start] + score > best[end]:
                    best[end], back[end] = best[start] + score, (start, i)
        path, end = [], len(word)
        while end:
            start, i = back[end]
            path.append((word[start:end], i))
            end = start
        return path[::-1], best[-1]

    def forward(self, word: str, alpha: float = 1.0) -> list[float]:
        """Log de la somme, sur les découpes des t premiers caractères, de leur probabilité puissance
        alpha ; (n + 1,). Le dernier terme est la log-probabilité du mot, quand alpha = 1."""
        total = [0.0]
        for arcs in self.arcs(word)[1:]:
            total.append(float(np.logaddexp.reduce([total[s] + alpha * p for s, _, p in arcs])))
        return total

    def log_probability(self, word: str) -> float:
        """Log-probabilité d’un mot, toutes découpes réunies, en nats."""
        return self.forward(word)[-1]

    # Découper

    def tokenize(self, word: str) -> list[str]:
        """Les morceaux de la découpe la plus probable ; les inconnus voisins n’en font qu’un."""
        return self._fuse(self.viterbi(word)[0])

    def sample(self, word: str, rng: np.random.Generator, alpha: float = 1.0) -> list[str]:
        """Une découpe tirée au hasard, en proportion de sa probabilité puissance alpha.

        alpha = 0 : toutes les découpes se valent ; alpha grand : la plus probable, presque sûrement.
        On remonte du dernier caractère au premier, en tirant chaque arc d’après `forward`.
        """
        total, ending, path, end = self.forward(word, alpha), self.arcs(word), [], len(word)
        while end:
            log_p = [total[start] + alpha * score - total[end] for start, _, score in ending[end]]
            p = np.exp(log_p)
            start, i, _ = ending[end][rng.choice(len(p), p=p / p.sum())]
            path.append((word[start:end], i))
            end = start
        return self._fuse(path[::-1])

    def _fuse(self, path: Iterable[tuple[str, int]]) -> list[str]:
        fused, unknown = [], False
        for piece, i in path:
            if i == self.unk and unknown:
                fused[-1] += piece
            else:
                fused.append(piece)
            unknown = i == self.unk
        return fused

    # Encoder, décoder

    def encode(self, text: str) -> list[int]:
        """Numéros d’un texte, découpé en mots par `split`."""
        return [i for word in self.split(text) for i in self.piece_ids(self.tokenize(word))]

    def piece_ids(self, pieces: Iterable[str]) -> list[int]:
        """Numéros de morceaux ; un morceau inconnu donne ses octets, ou `unk`."""
        found = []
        for piece in pieces:
            if piece in self.ids:
                found.append(self.ids[piece])
                continue
            spelled = [self.ids.get(f"<0x{byte:02X}>") for byte in piece.encode()]
            known = self.byte_fallback and None not in spelled
            found += spelled if known else [self.unk]
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """Texte d’une suite de numéros, sans l’espace mis au début ; exact avec le repli sur les octets."""
        data = b""
        for i in ids:
            byte = re.fullmatch("<0x([0-9A-F]{2})>", self.tokens[i]) if self.byte_fallback else None
            data += bytes.fromhex(byte[1]) if byte else self.tokens[i].encode()
        return data.decode(errors="replace").replace(SPACE, " ").removeprefix(" ")
