"""Des logits au token : les filtres d’échantillonnage, fonctions pures logits -> logits.

Chaque filtre met à -inf les tokens qu’il écarte et laisse les autres intacts ; l’ordre est celui de
transformers : pénalité de répétition, température, top-k, top-p, min-p.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def penalize_repeats(logits: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Divise par `penalty` les logits positifs des tokens déjà vus, multiplie les négatifs.

    logits : (B, V) ; ids : (B, T), prompt compris. Keskar et coll., 2019, arXiv:1909.05858.
    """
    seen = logits.gather(-1, ids)
    seen = torch.where(seen < 0, seen * penalty, seen / penalty)
    return logits.scatter(-1, ids, seen)


def temperature(logits: Tensor, value: float) -> Tensor:
    """Sous 1, la loi se resserre sur les tokens probables ; au-dessus, elle s’aplatit."""
    return logits / value


def top_k(logits: Tensor, k: int) -> Tensor:
    """Garde les k plus grands logits, et les ex æquo du dernier. Fan et coll., 2018."""
    threshold = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Garde le noyau : les tokens les plus probables dont la somme atteint p, un au moins.

    Holtzman et coll., 2019, arXiv:1904.09751.
    """
    ascending, order = logits.sort()
    dropped = ascending.softmax(-1).cumsum(-1) <= 1 - p
    dropped[..., -1] = False
    return logits.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)


def min_p(logits: Tensor, p: float) -> Tensor:
    """Écarte les tokens moins probables que p fois le plus probable. arXiv:2407.01082."""
    probabilities = logits.softmax(-1)
    dropped = probabilities < p * probabilities.amax(-1, keepdim=True)
    dropped.scatter_(-1, probabilities.argmax(-1, keepdim=True), False)
    return logits.masked_fill(dropped, -torch.inf)


# Appliqués dans cet ordre ; un filtre du même nom qu’un champ de `Sampling` le lit comme réglage.
FILTERS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "temperature": temperature,
    "top_k": top_k,
    "top_p": top_p,
    "min_p": min_p,
}


@dataclass(frozen=True)
class Sampling:
    """Comment choisir le token suivant. temperature=None : glouton, le plus probable.

    Le décodage glouton ignore top_k, top_p, min_p et `more`, qui ne changent pas le maximum.
    more : d’autres filtres logits -> logits, appliqués après ceux du registre.
    """

    temperature: float | None = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    more: Sequence[Callable[[Tensor], Tensor]] = ()

    def __post_init__(self):
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"temperature={self.temperature} : un nombre positif est attendu ; pour toujours "
                "prendre le token le plus probable (glouton), passez temperature=None"
            )
        if self.top_k is not None and (self.top_k < 1 or self.top_k != int(self.top_k)):
            raise ValueError(f"top_k={self.top_k} : un entier d’au moins 1 est attendu, ou None")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} : une probabilité dans ]0, 1], ou None")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p={self.min_p} : une fraction dans [0, 1], ou None")
        if not 0 < self.repetition_penalty < float("inf"):
            raise ValueError(
                f"repetition_penalty={self.repetition_penalty} : un nombre positif est attendu ; "
                "1 ne change rien, au-dessus de 1 les répétitions reculent"
            )

    @property
    def greedy(self) -> bool:
        return self.temperature is None

    def penalized(self, logits: Tensor, ids: Sequence[int]) -> Tensor:
        """Logits (V,) en float32, répétitions pénalisées ; ids : tous les tokens déjà là."""
        logits = logits.float()
        if self.repetition_penalty == 1:
            return logits
        seen = torch.tensor([list(ids)], device=logits.device)
        return penalize_repeats(logits[None], seen, self.repetition_penalty)[0]

    def filtered(self, logits: Tensor) -> Tensor:
        """Les filtres du registre, puis `more` ; rien si le décodage est glouton."""
        if self.greedy:
            return logits
        for name, function in FILTERS.items():
            value = getattr(self, name)
            if value is not None and not (value == 1 and name in ("temperature", "top_p")):
                logits = function(logits, value)
        for function in self.more:
            logits = function(logits)
        return logits

    def probabilities(self, logits: Tensor, ids: Sequence[int]) -> Tensor:
        """La loi du token suivant, (V,) ; en glouton, tout le poids est sur le maximum."""
        logits = self.penalized(logits, ids)
        if self.greedy:
            return torch.zeros_like(logits).index_fill_(0, logits.argmax(), 1.0)
        return self.filtered(logits).softmax(-1)
