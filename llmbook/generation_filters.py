"""D’autres façons d’écarter ou de pénaliser des tokens, à brancher sur `llmbook.generation`.

Deux familles. Les premières ne regardent que la loi : logits (…, V) -> logits, à passer à
`Sampling(more=(partial(typical, mass=0.9),))`. Les secondes regardent aussi ce qui est écrit :
(logits (B, V), tokens (B, T)) -> logits ; `HistoryDecoder` les applique avant tout le reste, comme
transformers le fait de ses pénalités.
"""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

HistoryFilter = Callable[[Tensor, Tensor], Tensor]


# La loi seule


def entropy(logits: Tensor) -> Tensor:
    """Entropie de la loi, en nats : (…, V) -> (…, 1). Un token écarté, à -inf, ne compte pas."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).nansum(-1, keepdim=True)


def typical(logits: Tensor, mass: float) -> Tensor:
    """Garde les tokens dont la surprise est la plus proche de l’entropie, jusqu’à la masse donnée.

    Le plus probable peut donc être écarté. Meister et coll., 2022, arXiv:2202.00666.
    """
    _inside("mass", mass)
    gap = (-logits.log_softmax(-1) - entropy(logits)).abs()
    ascending, order = gap.sort()
    reached = logits.gather(-1, order).softmax(-1).cumsum(-1) < mass
    last = reached.sum(-1, keepdim=True).clamp_max(logits.shape[-1] - 1)
    return logits.masked_fill(gap > ascending.gather(-1, last), -torch.inf)


def epsilon(logits: Tensor, cutoff: float) -> Tensor:
    """Écarte les tokens de probabilité inférieure à cutoff. Hewitt et coll., 2022."""
    _inside("cutoff", cutoff)
    return _keep_above(logits, cutoff)


def eta(logits: Tensor, cutoff: float) -> Tensor:
    """Écarte les tokens sous min(ε, √ε exp(-H)) : le seuil descend quand la loi est étalée.

    H : entropie en nats ; cutoff : ε. Hewitt et coll., 2022, arXiv:2210.15191.
    """
    _inside("cutoff", cutoff)
    limit = torch.tensor(cutoff, device=logits.device)
    return _keep_above(logits, torch.min(limit, limit.sqrt() * torch.exp(-entropy(logits))))


def top_n_sigma(logits: Tensor, n: float) -> Tensor:
    """Garde les logits à moins de n écarts types du plus grand : la température n’y change rien.

    Les tokens déjà écartés, à -inf, ne comptent pas. Tang et coll., 2024, arXiv:2411.07641.
    """
    if not n > 0:
        raise ValueError(f"n={n} : un nombre d’écarts types positif est attendu")
    alive = logits.isfinite()
    count = alive.sum(-1, keepdim=True)
    mean = logits.masked_fill(~alive, 0).sum(-1, keepdim=True) / count
    variance = (logits - mean).masked_fill(~alive, 0).square().sum(-1, keepdim=True) / count
    return logits.masked_fill(
        logits < logits.amax(-1, keepdim=True) - n * variance.sqrt(), -torch.inf
    )


def _keep_above(logits: Tensor, limit: float | Tensor) -> Tensor:
    """Écarte les probabilités sous limit, jamais la plus grande."""
    dropped = (logits.softmax(-1) < limit) & (logits < logits.amax(-1, keepdim=True))
    return logits.masked_fill(dropped, -torch.inf)


def _inside(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name}={value} : un nombre entre 0 et 1, bornes exclues, est attendu")


# Ce qui est déjà écrit


def no_repeat_ngram(logits: Tensor, ids: Tensor, n: int) -> Tensor:
    """Interdit tout token qui finirait une suite de n tokens déjà présente dans ids.

    logits : (B, V) ; ids : (B, T), prompt compris. Paulus et coll., 2018 (n = 3).
    """
    if n < 1 or n != int(n):
        raise ValueError(f"n={n} : un entier d’au moins 1 est attendu")
    if ids.shape[1] < n:
        return logits
    windows = ids.unfold(1, n, 1)  # (B, T - n + 1, n)
    suffix = ids[:, ids.shape[1] - (n - 1) :]  # les n - 1 derniers, aucun si n = 1
    same = (windows[..., :-1] == suffix[:, None]).all(-1)
    banned = torch.zeros_like(logits, dtype=torch.int)
    banned.scatter_add_(1, windows[..., -1], same.int())
    return logits.masked_fill(banned > 0, -torch.inf)


def penalize_counts(
    logits: Tensor, ids: Tensor, frequency: float = 0.0, presence: float = 0.0
) -> Tensor:
    """Retire frequency par occurrence, et presence à la première : les pénalités de l’API OpenAI.

    logits : (B, V) ; ids : (B, T), les tokens écrits, sans le prompt. Négatives, elles encouragent
    les répétitions. Formule : platform.openai.com/docs/advanced-usage.
    """
    counts = torch.zeros_like(logits).scatter_add_(
        -1, ids, torch.ones_like(ids, dtype=logits.dtype)
    )
    return logits - frequency * counts - presence * (counts > 0)


def dry(
    logits: Tensor,
    ids: Tensor,
    *,
    multiplier: float = 0.8,
    base: float = 1.75,
    allowed: int = 2,
    breakers: Collection[int] = (),
) -> Tensor:
    """Retire multiplier × base^(L - allowed) au token qui allongerait une répétition de L tokens.

    Une répétition de moins de `allowed` tokens est permise ; un token de breakers (la fin de ligne,
    par exemple) interrompt la comparaison. P. E. Weidmann, 2024 (*Don’t Repeat Yourself*),
    text-generation-webui, demande 5677. Coût : T² au pire, T d’ordinaire.
    """
    if allowed < 1:
        raise ValueError(f"allowed={allowed} : une longueur d’au moins 1 est attendue")
    penalty = torch.zeros_like(logits)
    breakers = set(breakers)
    for row, tokens in enumerate(ids.tolist()):
        longest: dict[int, int] = {}
        for here in range(1, len(tokens)):  # tokens[here] a suivi tokens[:here]
            length = _common_suffix(tokens, here, breakers)
            if length >= allowed:
                longest[tokens[here]] = max(length, longest.get(tokens[here], 0))
        for token, length in longest.items():
            penalty[row, token] = multiplier * base ** (length - allowed)
    return logits - penalty


def _common_suffix(tokens: list[int], end: int, breakers: set[int]) -> int:
    """Combien de tokens tokens[:end] et tokens entier ont en commun, en partant de la fin."""
    length = 0
    while length < end and tokens[end - 1 - length] == tokens[-1 - length]:
        if tokens[-1 - length] in breakers:
            break
        length += 1
    return length


class HistoryDecoder:
    """Un `Decoder` (voir llmbook.generation) dont les logits tiennent compte du texte.

    whole : filtres qui lisent le prompt et la suite ; written : ceux qui ne lisent que la suite.
    Ils s’appliquent d’abord whole puis written, avant la température et les autres filtres.
    """

    def __init__(
        self,
        decoder,
        whole: Sequence[HistoryFilter] = (),
        written: Sequence[HistoryFilter] = (),
    ):
        self.decoder, self.whole, self.written = decoder, tuple(whole), tuple(written)

    def start(self, prompt: Sequence[int]) -> Tensor:
        self.ids, self.prompt_length = list(prompt), len(prompt)
        return self._filtered(self.decoder.start(prompt))

    def step(self, token: int) -> Tensor:
        self.ids.append(token)
        return self._filtered(self.decoder.step(token))

    def _filtered(self, logits: Tensor) -> Tensor:
        ids = torch.tensor([self.ids], device=logits.device)
        return apply_history(
            logits.float()[None], ids, self.prompt_length, self.whole, self.written
        )[0]


def apply_history(
    logits: Tensor,
    ids: Tensor,
    prompt_length: int,
    whole: Sequence[HistoryFilter] = (),
    written: Sequence[HistoryFilter] = (),
) -> Tensor:
    """Les filtres d’histoire sur un lot : logits (B, V), ids (B, T), prompt compris."""
    for function in whole:
        logits = function(logits, ids)
    for function in written:
        logits = function(logits, ids[:, prompt_length:])
    return logits
