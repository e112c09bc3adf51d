"""Chercher des textes : documents, BM25, rangs, rappel, rang réciproque, fusion de classements.

Robertson et Zaragoza, 2009, doi:10.1561/1500000019 (BM25) ; Cormack et coll., 2009,
doi:10.1145/1571941.1572114 (fusion par rangs réciproques).
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Document:
    """text : première phrase de la docstring ; names : noms qualifiés qui la portent."""

    text: str
    names: tuple[str, ...]


def documents(source: str, min_words: int = 4) -> list[Document]:
    """Un document par première phrase de docstring, fonctions, méthodes et classes publiques.

    source : code Python. Les phrases de moins de `min_words` mots sont écartées ; deux objets de
    même phrase font un seul document. SyntaxError si source n’est pas du Python.
    """
    found: dict[str, list[str]] = {}
    for name, text in _docstrings(ast.parse(source)):
        sentence = first_sentence(text)
        private = any(part.startswith("_") for part in name.split("."))
        if not private and len(re.findall("[A-Za-z]+", sentence)) >= min_words:
            found.setdefault(sentence, []).append(name)
    return [Document(text, tuple(names)) for text, names in found.items()]


def first_sentence(text: str) -> str:
    """La première phrase du premier paragraphe, sur une ligne, sans son point."""
    paragraph = " ".join(re.split(r"\n\s*\n", text.strip())[0].split())
    return re.split(r"(?<=[a-z)\]'`*])[.!?:](?=\s|$)", paragraph)[0].strip()


def spoken_name(name: str) -> str:
    """Les mots d’un nom qualifié : `ZipFile.setpassword` donne « zip file setpassword »."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)).lower()


def words(text: str) -> list[str]:
    """Suites d’au moins deux lettres, en minuscules, dans l’ordre."""
    return re.findall(r"[^\W\d_]{2,}", text.lower())


class BM25:
    """Pondère chaque mot commun par sa rareté, avec une fréquence qui sature.

    k1 règle la saturation, b la correction de longueur (0 : aucune). `scores` renvoie (Q, N).
    """

    def __init__(
        self,
        texts: Sequence[str],
        k1: float = 1.2,
        b: float = 0.75,
        tokenize: Callable[[str], list[str]] = words,
    ):
        if not texts:
            raise ValueError("aucun document à indexer")
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"k1={k1}, b={b} : k1 positif et b entre 0 et 1 sont attendus")
        self.tokenize = tokenize
        counts = [Counter(tokenize(text)) for text in texts]
        lengths = np.array([sum(count.values()) for count in counts], dtype=float)
        self.index: dict[str, int] = {}
        for count in counts:
            for word in count:
                self.index.setdefault(word, len(self.index))
        frequency = np.zeros((len(texts), len(self.index)))
        for row, count in enumerate(counts):
            for word, n in count.items():
                frequency[row, self.index[word]] = n
        found = (frequency > 0).sum(axis=0)
        self.idf = np.log(1 + (len(texts) - found + 0.5) / (found + 0.5))
        slow = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-9))[:, None]
        self.weights = self.idf * frequency * (k1 + 1) / (frequency + slow + 1e-12)

    def scores(self, queries: Iterable[str]) -> np.ndarray:
        """Note de chaque document pour chaque requête : (Q, N). Un mot répété compte deux fois."""
        rows = []
        for query in queries:
            known = [self.index[word] for word in self.tokenize(query) if word in self.index]
            rows.append(self.weights[:, known].sum(axis=1))
        return np.array(rows)


def first_ranks(scores: np.ndarray, relevant: Sequence[set[int]]) -> np.ndarray:
    """Rang du premier document admis, à partir de 1. scores : (Q, N) ; renvoie (Q,).

    Les ex æquo sont comptés en moyenne : une note égale pour tous ne vaut pas mieux que le hasard.
    """
    ranks = []
    for row, allowed in zip(np.asarray(scores), relevant, strict=True):
        if not allowed:
            raise ValueError("une requête n’a aucun document admis")
        best = max(row[j] for j in allowed)
        before = int((row > best).sum())
        others = int((row == best).sum()) - sum(row[j] == best for j in allowed)
        ranks.append(1 + before + others / 2)
    return np.array(ranks)


def recall_at(ranks: np.ndarray, k: int) -> float:
    """Part des requêtes dont un document admis est parmi les k premiers."""
    return float(np.mean(np.asarray(ranks) <= k))


def reciprocal_rank(ranks: np.ndarray) -> float:
    """Moyenne de 1 / rang (*mean reciprocal rank*, MRR)."""
    return float(np.mean(1 / np.asarray(ranks)))


def bootstrap(values: np.ndarray, draws: int = 4000, level: float = 0.95, seed: int = 0):
    """Intervalle de la moyenne de `values`, par rééchantillonnage ; renvoie (bas, haut)."""
    values = np.asarray(values, dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(values), size=(draws, len(values)))
    tail = 50 * (1 - level)
    low, high = np.percentile(values[picks].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def fuse(*scores: np.ndarray, c: float = 60.0) -> np.ndarray:
    """Somme des 1 / (c + rang) de plusieurs classements (Q, N) : leurs échelles ne comptent pas."""
    total = np.zeros_like(np.asarray(scores[0], dtype=float))
    for each in scores:
        order = np.argsort(-np.asarray(each), axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
        total += 1 / (c + 1 + ranks)
    return total


def _docstrings(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, str]]:
    for child in getattr(node, "body", []):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if text := ast.get_docstring(child):
                yield prefix + child.name, text
            yield from _docstrings(child, f"{prefix}{child.name}.")
