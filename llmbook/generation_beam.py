"""Recherche en faisceau : garder à chaque pas les N débuts de texte les plus probables.

Les mêmes règles que transformers, arrêt compris : un texte fini ne compte que s’il est parmi les N
premiers candidats de son pas, et son score est sa log-probabilité divisée par longueur^length_penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llmbook.generation import check_prompt
from llmbook.generation_sampling import Sampling, penalize_repeats


@dataclass(frozen=True)
class Beam:
    """tokens : la suite du prompt, fin comprise ; score : log-probabilité, en nats, normalisée."""

    tokens: list[int]
    score: float


@torch.no_grad()
def beam_search(
    model,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    beams: int = 4,
    length_penalty: float = 1.0,
    eos: int | None = None,
    early_stopping: bool = False,
    repetition_penalty: float = 1.0,
) -> list[Beam]:
    """Les meilleurs textes trouvés, `beams` au plus, du meilleur au moins bon.

    eos : le token qui finit un texte. early_stopping : s’arrêter dès que `beams` textes sont finis ;
    sinon, dès que le meilleur en cours, à sa longueur présente, ne dépasse plus le moins bon fini
    (une heuristique si length_penalty > 0 : les scores d’un texte long peuvent remonter).
    Un seul faisceau est le décodage glouton.
    """
    prompt = check_prompt(model, prompt_ids, max_tokens)
    vocab_size = model.config.vocab_size
    if not 1 <= beams <= vocab_size // 2:
        raise ValueError(f"beams={beams} : de 1 à {vocab_size // 2}, la moitié du vocabulaire")
    if eos is not None and not 0 <= eos < vocab_size:
        raise ValueError(f"eos={eos} : le vocabulaire va de 0 à {vocab_size - 1}")
    Sampling(None, repetition_penalty=repetition_penalty)  # vérifie le réglage

    early_stopping = early_stopping or beams == 1  # le glouton s’arrête à la première fin
    cache = model.new_cache(1, len(prompt) + max_tokens)
    read = torch.tensor([prompt], device=model.device)
    running = [Beam([], 0.0)]  # au premier pas, tous les faisceaux sont le même
    finished: list[Beam] = []
    for length in range(1, max_tokens + 1):
        logits = model.lm_head(model.hidden(read, cache)[:, -1]).float()
        scores = logits.log_softmax(-1)
        if repetition_penalty != 1:
            seen = torch.tensor([prompt + beam.tokens for beam in running], device=model.device)
            # transformers pénalise des log-probabilités, mais des logits s’il n’a qu’un faisceau
            penalized = logits if beams == 1 else scores
            scores = penalize_repeats(penalized, seen, repetition_penalty)
        before = torch.tensor([beam.score for beam in running], device=scores.device)
        best = (scores + before[:, None]).flatten().topk(2 * beams)  # assez si `beams` finissent

        parents, survivors = [], []
        for rank, (score, index) in enumerate(
            zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ):
            parent, token = divmod(index, vocab_size)
            beam = Beam([*running[parent].tokens, token], score)
            if token == eos or length == max_tokens:
                if rank < beams:
                    finished.append(Beam(beam.tokens, score / length**length_penalty))
            elif len(survivors) < beams:
                survivors.append(beam)
                parents.append(parent)
        finished = sorted(finished, key=lambda beam: -beam.score)[:beams]
        if not survivors or (len(finished) == beams and early_stopping):
            break
        hopeful = survivors[0].score / length**length_penalty
        if len(finished) == beams and hopeful <= finished[-1].score:
            break
        running = survivors
        cache.reorder(torch.tensor(parents, device=model.device))
        read = torch.tensor([[beam.tokens[-1]] for beam in running], device=model.device)
    return finished
