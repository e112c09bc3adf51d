"""Décodage spéculatif : un petit modèle propose plusieurs tokens, le grand les juge d’un coup.

Un token x du brouillon, tiré de q, est gardé avec la probabilité min(1, p(x) / q(x)) ; au premier
refus, le token est tiré de max(0, p - q), normalisé. La loi des tokens écrits est exactement celle du
grand modèle seul. Leviathan et coll., 2023, arXiv:2211.17192 ; Chen et coll., 2023, arXiv:2302.01318.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmbook.generation import check_prompt
from llmbook.generation_sampling import Sampling

Draw = Callable[[Tensor], int]  # une loi (n,) -> un numéro tiré selon elle


@dataclass(frozen=True)
class Speculation:
    """tokens écrits ; passes du grand modèle ; tokens proposés par le brouillon, et acceptés."""

    tokens: list[int]
    passes: int
    proposed: int
    accepted: int

    @property
    def acceptance(self) -> float:
        """Part des propositions acceptées, de 0 à 1 ; 0 si rien n’a été proposé."""
        return self.accepted / self.proposed if self.proposed else 0.0


class Reader:
    """Un modèle et son cache, qui sait revenir en arrière.

    Ce qui était lu reste vrai jusqu’au dernier token gardé, exclu : lui seul a pu être remplacé, et
    il fait partie des `last` positions relues.
    """

    def __init__(self, model, max_tokens: int):
        self.model, self.cache = model, model.new_cache(1, max_tokens)

    def logits(self, ids: list[int], last: int = 1) -> Tensor:
        """Logits qui suivent chacune des `last` dernières positions de ids : (last, V)."""
        self.cache.crop(min(self.cache.length, len(ids) - last))
        tokens = torch.tensor([ids[self.cache.length :]], device=self.model.device)
        return self.model.lm_head(self.model.hidden(tokens, self.cache)[0, -last:])


@torch.no_grad()
def speculative(
    model,
    draft,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    lookahead: int = 4,
    stop: Sequence[int] = (),
    generator: torch.Generator | None = None,
    draw: Draw | None = None,
    **sampling,
) -> Speculation:
    """Écrit comme `model`, en ne le faisant lire qu’une fois par groupe de tokens.

    draft : le brouillon, de même vocabulaire. lookahead : tokens proposés par groupe. stop : tokens
    après lesquels s’arrêter. sampling : temperature=None (glouton), top_k… : voir `Sampling`.
    draw : d’où vient le hasard ; par défaut torch.multinomial et generator.
    """
    if draft.config.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"le brouillon a {draft.config.vocab_size} tokens, la cible {model.config.vocab_size} : "
            "il faut deux modèles du même tokeniseur"
        )
    if lookahead < 1:
        raise ValueError(f"lookahead={lookahead} : proposez au moins un token")
    rules = Sampling(**sampling)
    prompt = check_prompt(model, prompt_ids, max_tokens)
    check_prompt(draft, prompt, max_tokens)
    if draw is None:

        def draw(law: Tensor) -> int:
            return int(torch.multinomial(law, 1, generator=generator))

    room = len(prompt) + max_tokens
    target_reader, draft_reader = Reader(model, room), Reader(draft, room)
    ids, passes, proposed, accepted = list(prompt), 0, 0, 0
    while len(ids) < room and not (ids[len(prompt) :] and ids[-1] in stop):
        ahead = min(lookahead, room - len(ids) - 1)  # la passe du grand modèle en ajoute un
        drafted, q = list(ids), []
        for _ in range(ahead):
            q.append(rules.probabilities(draft_reader.logits(drafted)[0], drafted))
            drafted.append(draw(q[-1]))
        proposals = drafted[len(ids) :]
        logits = target_reader.logits(drafted, last=ahead + 1)
        p = [rules.probabilities(row, drafted[: len(ids) + i]) for i, row in enumerate(logits)]
        kept = judge(p, q, proposals, draw)
        passes, proposed, accepted = passes + 1, proposed + ahead, accepted + len(kept) - 1
        for token in kept:
            ids.append(token)
            if token in stop:
                break
    return Speculation(ids[len(prompt) :], passes, proposed, accepted)


def judge(p: list[Tensor], q: list[Tensor], proposals: list[int], draw: Draw) -> list[int]:
    """Les propositions gardées, puis un token du grand modèle.

    p : les n + 1 lois (V,) de la cible ; q : les n lois dont les propositions sont tirées.
    """
    kept = []
    for target, drafted, token in zip(p, q, proposals, strict=False):
        accept = (target[token] / drafted[token]).clamp(max=1)
        if draw(torch.stack([1 - accept, accept])) == 0:
            return [*kept, draw(residual(target, drafted))]
        kept.append(token)
    return [*kept, draw(p[len(kept)])]


def residual(p: Tensor, q: Tensor) -> Tensor:
    """Ce qui manque à q pour valoir p : max(0, p - q), normalisé. (V,) -> (V,).

    Si les deux lois sont égales, un refus est impossible ; l’arrondi peut en simuler un : p alors.
    """
    missing = (p - q).clamp(min=0)
    total = missing.sum()
    return missing / total if total > 0 else p
