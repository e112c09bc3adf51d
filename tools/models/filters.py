"""Ce qu’un document doit être pour entrer dans le corpus, et les fenêtres qui le comparent.

Une *fenêtre* est la suite de 13 mots que GPT-3 prenait pour chercher ses tests dans son corpus
(Brown et al., 2020, arXiv:2005.14165, annexe C). Réduite à un entier de 64 bits, elle sert deux
fois : à trouver les copies des textes retenus, et les documents presque égaux (Broder, 1997).
"""

import re
import zlib
from collections import Counter

import numpy as np

from tools.models.licences import FOREIGN

WINDOW = 13  # mots
SAMPLED = 32  # une fenêtre sur 32 est retenue pour chercher les presque-doublons
SMALLEST, LARGEST = 300, 250_000  # octets
WORD = re.compile(r"\w+")
GENERATED = re.compile(
    r"auto-?matically[ -]generated|auto-?generated|generated (?:by|from|file)|do not (?:edit|modify)"
    r"|GENERATED CODE",
    re.IGNORECASE,
)
HEADER = re.compile(r"\A(?:#[^\n]*\n|[ \t]*\n)+")
NOTICE = re.compile(r"licen[cs]e|copyright|SPDX|all rights reserved", re.IGNORECASE)


def rejection(text: str) -> str | None:
    """Pourquoi écarter ce fichier Python, en un mot ; None s’il est bon."""
    size = len(text.encode())
    if size < SMALLEST:
        return "trop petit"
    if size > LARGEST:
        return "trop grand"
    head = text[:3000]
    if FOREIGN.search(head):
        return "licence du fichier"
    if GENERATED.search(text[:1500]):
        return "engendré"
    lines = text.splitlines()
    if max(map(len, lines)) > 1000 or sum(map(len, lines)) > 90 * len(lines):
        return "lignes trop longues"
    if sum(map(text.count, "0123456789")) > 0.12 * len(text) or text.count("\\") > 0.04 * len(text):
        return "chiffres ou codes"
    if size - len(text) > 0.1 * size:
        return "peu d’ASCII"
    if sum(line.lstrip()[:1] in "'\"0123456789([{-" for line in lines if line.strip()) > 0.6 * len(
        lines
    ):
        return "table de données"
    if len(zlib.compress(text.encode(), 1)) < 0.13 * size:
        return "trop répétitif"
    return None


def without_notice(text: str) -> str:
    """Le fichier sans ses commentaires de tête, s’ils ne font que dire les droits.

    La même licence répétée en tête de mille fichiers n’apprendrait rien d’autre qu’elle-même.
    """
    header = HEADER.match(text)
    return text[header.end() :] if header and NOTICE.search(header[0]) else text


def hashed_words(text: str) -> np.ndarray:
    """Un entier de 32 bits par mot, dans l’ordre ; uint32, (nombre de mots,)."""
    return np.fromiter((zlib.crc32(word.encode()) for word in WORD.findall(text)), dtype=np.uint32)


def windows(words: np.ndarray) -> np.ndarray:
    """Empreintes des fenêtres de 13 mots consécutifs, dans l’ordre, répétitions gardées ; uint64.

    Polynôme des 13 mots modulo 2⁶⁴, puis mélangé (finaliseur de splitmix64) : sans cela, « une
    fenêtre sur 32 » choisirait d’après le dernier mot seul.
    """
    count = len(words) - WINDOW + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    hashed, wide = np.zeros(count, dtype=np.uint64), words.astype(np.uint64)
    for place in range(WINDOW):
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + wide[place : place + count]
    hashed ^= hashed >> np.uint64(30)
    hashed *= np.uint64(0xBF58476D1CE4E5B9)
    hashed ^= hashed >> np.uint64(27)
    hashed *= np.uint64(0x94D049BB133111EB)
    return hashed ^ (hashed >> np.uint64(31))


class HeldOut:
    """Les fenêtres des textes retenus ; dit si un document en recopie une part."""

    def __init__(self, documents: list[tuple[str, str]], share: float = 0.02):
        found = [np.unique(windows(hashed_words(text))) for _, text in documents]
        self.names = [name for name, _ in documents]
        self.share = share
        self.sizes = np.array([max(1, len(each)) for each in found])
        every = np.concatenate([*found, np.empty(0, dtype=np.uint64)])
        owner = np.repeat(np.arange(len(found)), [len(each) for each in found])
        order = np.argsort(every, kind="stable")
        self.windows, self.owner = every[order], owner[order]

    def contaminated_by(self, found: np.ndarray) -> str | None:
        """Nom du texte retenu dont un document, donné par ses fenêtres, recopie une part.

        Deux façons : plus de `share` des fenêtres du document sont dans les textes retenus, ou
        plus de `share` des fenêtres d’un texte retenu sont dans le document (et au moins trois).
        """
        if not len(self.windows):
            return None
        place = np.searchsorted(self.windows, found).clip(max=len(self.windows) - 1)
        copied = np.unique(found[self.windows[place] == found])
        if not len(copied):
            return None
        left = np.searchsorted(self.windows, copied, "left")
        right = np.searchsorted(self.windows, copied, "right")
        owners = np.concatenate([self.owner[a:b] for a, b in zip(left, right, strict=True)])
        hits = np.bincount(owners, minlength=len(self.names))
        share = np.where(hits >= 3, hits / self.sizes, 0)
        if len(copied) > self.share * len(np.unique(found)) or share.max() > self.share:
            return self.names[int(hits.argmax())]
        return None


class Sieve:
    """Le tamis : reçoit les documents dans l’ordre, dit pourquoi en écarter un, ou None.

    reasons compte les écartés par motif ; leaks nomme ceux qui recopient un texte retenu.
    """

    MAX_SEEN = 0.5  # part de fenêtres déjà vues ailleurs : au-delà, c’est une copie

    def __init__(self, held: list[tuple[str, str]]):
        self.held = HeldOut(held)
        self.seen: set[int] = set()
        self.reasons: Counter = Counter()
        self.leaks: dict[str, str] = {}

    def reject(self, name: str, text: str, is_code: bool = True) -> str | None:
        reason = rejection(text) if is_code else None
        if reason is None:
            found = windows(hashed_words(text))
            source = self.held.contaminated_by(found)
            sampled = set(found[found % SAMPLED == 0].tolist())
            if source is not None:
                self.leaks[name], reason = source, "proche d’un texte retenu"
            elif sampled and len(sampled & self.seen) > self.MAX_SEEN * len(sampled):
                reason = "copie"
            else:
                self.seen |= sampled
        if reason is not None:
            self.reasons[reason] += 1
        return reason
