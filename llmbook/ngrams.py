"""Prédire le caractère suivant en comptant : n-grammes interpolés de Witten et Bell.

Witten et Bell, 1991, doi:10.1109/18.87000 ; Chen et Goodman, 1998, section 2.4.
"""

from collections import Counter

import numpy as np

UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # tout caractère absent du texte d’apprentissage
MAX_ORDER = 6


def ngram_counts(text: str, n: int) -> Counter:
    """Nombre d’occurrences de chaque suite de n caractères."""
    if n < 1:
        raise ValueError(f"n={n} : des suites d’au moins un caractère sont attendues")
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


class NgramModel:
    """Loi du caractère suivant sachant les `order - 1` précédents.

    p(c | h) = (N(hc) + T(h) p(c | h')) / (N(h) + T(h)), où N(h) compte les suites de h, T(h) ses
    suites différentes, et h' est h privé de son premier caractère. Sous l’ordre 1, la loi est
    uniforme sur l’alphabet : aucune probabilité n’est nulle.

    Limite : tous les caractères inconnus partagent le seul symbole UNKNOWN.
    """

    def __init__(self, text: str, order: int = 5):
        if not text:
            raise ValueError("le texte d’apprentissage est vide")
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(f"order={order} : un ordre entre 1 et {MAX_ORDER} est attendu")
        self.order = order
        self.alphabet = sorted(set(text) | {UNKNOWN})
        self.index = {char: i for i, char in enumerate(self.alphabet)}
        self.followers: dict[str, dict[str, int]] = {}  # h -> {c : N(hc)}
        for n in range(1, order + 1):
            for gram, count in ngram_counts(text, n).items():
                self.followers.setdefault(gram[:-1], {})[gram[-1]] = count
        self.totals = {h: sum(seen.values()) for h, seen in self.followers.items()}  # N(h)

    def prob(self, context: str = "") -> np.ndarray:
        """Loi du caractère suivant : (V,), dans l’ordre de `alphabet`, de somme 1."""
        p = np.full(len(self.alphabet), 1 / len(self.alphabet))
        for h in self._suffixes(context):
            seen = self.followers[h]
            p *= len(seen)
            p[[self.index[char] for char in seen]] += list(seen.values())
            p /= self.totals[h] + len(seen)
        return p

    def surprisals(self, text: str) -> np.ndarray:
        """-log2 p de chaque caractère sachant ceux qui le précèdent, en bits : (len(text),)."""
        text = self._known(text)
        p = [
            self._char_prob(text[max(0, i - self.order + 1) : i], char)
            for i, char in enumerate(text)
        ]
        return -np.log2(p)

    def bits_per_character(self, text: str) -> float:
        """Entropie croisée du modèle sur `text`, en bits par caractère."""
        if not text:
            raise ValueError("le texte à évaluer est vide")
        return float(self.surprisals(text).mean())

    def sample(
        self, length: int, rng: np.random.Generator, prompt: str = "", temperature: float = 1.0
    ) -> str:
        """Tire `length` caractères à la suite de `prompt` (non compris dans le résultat)."""
        if length < 0:
            raise ValueError(f"length={length} : une longueur positive est attendue")
        if not temperature > 0:
            raise ValueError(
                f"temperature={temperature} : un nombre strictement positif est attendu"
            )
        text = prompt
        for _ in range(length):
            p = self.prob(text)
            p[self.index[UNKNOWN]] = 0.0  # ce symbole ne s’écrit pas
            p = (p / p.max()) ** (1 / temperature)
            text += self.alphabet[rng.choice(len(p), p=p / p.sum())]
        return text[len(prompt) :]

    def _char_prob(self, context: str, char: str) -> float:
        """La même récurrence que `prob`, pour un seul caractère connu."""
        p = 1 / len(self.alphabet)
        for h in self._suffixes(context):
            seen = self.followers[h]
            p = (seen.get(char, 0) + len(seen) * p) / (self.totals[h] + len(seen))
        return p

    def _suffixes(self, context: str):
        """Fins de `context` déjà rencontrées, de la plus courte à la plus longue."""
        for n in range(min(len(context), self.order - 1) + 1):
            h = context[len(context) - n :]
            if h not in self.followers:  # plus long : inconnu aussi
                return
            yield h

    def _known(self, text: str) -> str:
        return "".join(char if char in self.index else UNKNOWN for char in text)
