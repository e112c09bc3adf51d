"""Écrire plusieurs suites du même prompt à la fois : le lot amortit la lecture des poids.

Pour mesurer un réglage, il faut beaucoup de textes et pas un seul vite. Les lois sont celles de
`llmbook.generation` ; seul l’ordre des tirages diffère.
"""

from collections.abc import Sequence

import torch

from llmbook.generation import check_prompt
from llmbook.generation_filters import HistoryFilter, apply_history
from llmbook.generation_sampling import Sampling, penalize_repeats


@torch.no_grad()
def generate_batch(
    model,
    prompt_ids: Sequence[int],
    n: int,
    *,
    max_tokens: int,
    sampling: Sampling | None = None,
    whole: Sequence[HistoryFilter] = (),
    written: Sequence[HistoryFilter] = (),
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """n suites du prompt, chacune de max_tokens tokens, ou coupée après le token stop, rendu.

    sampling : par défaut, température 1. whole, written : filtres qui lisent le texte (voir
    `HistoryDecoder`). ValueError si le prompt ou un réglage ne convient pas.
    """
    prompt = check_prompt(model, prompt_ids, max_tokens)
    if n < 1:
        raise ValueError(f"n={n} : demandez au moins une suite")
    sampling = sampling or Sampling()
    cache = model.new_cache(1, len(prompt) + max_tokens)
    read = torch.tensor([prompt], device=model.device)
    ids = read.expand(n, -1)  # (n, T)
    alive = torch.ones(n, dtype=torch.bool, device=model.device)
    for length in range(max_tokens):
        logits = model.lm_head(model.hidden(read, cache)[:, -1]).float()
        if length == 0:  # le prompt ne se lit qu’une fois
            cache.reorder(torch.zeros(n, dtype=torch.long, device=model.device))
            logits = logits.expand(n, -1)
        read = _choose(logits, ids, len(prompt), sampling, whole, written, generator)
        ids = torch.cat([ids, read], dim=1)
        alive &= read[:, 0] != (-1 if stop is None else stop)
        if not alive.any():
            break
    return [_cut(row, stop) for row in ids[:, len(prompt) :].tolist()]


def _choose(logits, ids, prompt_length, sampling, whole, written, generator):
    """Un token par ligne : logits (n, V), ids (n, T) -> (n, 1)."""
    logits = apply_history(logits, ids, prompt_length, whole, written)
    if sampling.repetition_penalty != 1:
        logits = penalize_repeats(logits, ids, sampling.repetition_penalty)
    if sampling.greedy:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial(sampling.filtered(logits).softmax(-1), 1, generator=generator)


def _cut(row: list[int], stop: int | None) -> list[int]:
    return row[: row.index(stop) + 1] if stop in row else row
