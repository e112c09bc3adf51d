"""Deux méthodes qui opposent : le token à son passé, puis un grand modèle à un petit.

La recherche contrastive écarte le candidat dont le vecteur ressemble trop à ceux du texte. Le
décodage contrastif préfère ce que l’expert sait et que l’amateur ignore. Malgré leurs noms, elles
n’ont rien d’autre en commun.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from llmbook.generation import Decoder, SimpleDecoder, check_prompt

# La recherche contrastive


def degeneration(candidates: Tensor, past: Tensor) -> Tensor:
    """La plus grande similarité cosinus de chaque candidat avec le passé : (k, C), (T, C) -> (k,)."""
    return (F.normalize(candidates, dim=-1) @ F.normalize(past, dim=-1).T).amax(-1)


@torch.no_grad()
def contrastive_search(
    model,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    k: int = 4,
    alpha: float = 0.6,
    stop: int | None = None,
) -> list[int]:
    """À chaque pas, le meilleur des k tokens les plus probables selon

    (1 - alpha) p(v) - alpha max_j cos(h_v, h_j), où h_v est l’état caché de v une fois lu, et h_j
    ceux du prompt et de la suite. alpha = 0 : glouton. Aucun hasard ; k lectures par token.
    Su et coll., 2022, arXiv:2202.06417.
    """
    prompt = check_prompt(model, prompt_ids, max_tokens)
    if not 1 <= k <= model.config.vocab_size:
        raise ValueError(f"k={k} : de 1 à {model.config.vocab_size} candidats")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} : une part entre 0 et 1 est attendue")
    cache = model.new_cache(1, len(prompt) + max_tokens)
    past = model.hidden(torch.tensor([prompt], device=model.device), cache)[0]  # (T, C)
    written: list[int] = []
    while True:
        best = model.lm_head(past[-1]).float().softmax(-1).topk(k)
        cache.reorder(
            torch.zeros(k, dtype=torch.long, device=model.device)
        )  # une copie par candidat
        hidden = model.hidden(best.indices[:, None], cache)[:, 0]  # (k, C)
        scores = (1 - alpha) * best.values - alpha * degeneration(hidden.float(), past.float())
        winner = scores.argmax()
        written.append(int(best.indices[winner]))
        if len(written) == max_tokens or written[-1] == stop:
            return written
        cache.reorder(winner[None])
        past = torch.cat([past, hidden[winner][None]])


# Le décodage contrastif


def contrast(
    expert: Tensor, amateur: Tensor, *, alpha: float = 0.1, beta: float | None = None
) -> Tensor:
    """Scores (…, V) à maximiser, ou à passer au softmax ; -inf hors des tokens plausibles.

    expert, amateur : logits (…, V). Plausible : au moins alpha fois la probabilité du token que
    l’expert préfère. beta=None : log p_expert - log p_amateur (Li et coll., 2023,
    arXiv:2210.15097) ; sinon (1 + beta) expert - beta amateur, sur les log-probabilités
    (O’Brien et Lewis, 2023, arXiv:2309.09117), où beta = 0 rend l’expert.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} : une fraction entre 0 et 1 est attendue")
    if expert.shape[-1] != amateur.shape[-1]:
        raise ValueError(
            f"vocabulaires de {expert.shape[-1]} et {amateur.shape[-1]} tokens : "
            "les deux modèles doivent partager leur tokeniseur"
        )
    log_p, log_q = expert.log_softmax(-1), amateur.log_softmax(-1)
    scores = log_p - log_q if beta is None else (1 + beta) * log_p - beta * log_q
    implausible = log_p.exp() < alpha * log_p.exp().amax(-1, keepdim=True)
    return scores.masked_fill(implausible, -torch.inf)


class ContrastiveDecoder:
    """Un `Decoder` (voir llmbook.generation) : les deux modèles lisent, leur contraste décide.

    expert, amateur : des `LanguageModel` de même tokeniseur, ou des `Decoder`. À employer avec
    temperature=None, comme l’article (qui y ajoute un faisceau), ou pour tirer.
    """

    def __init__(self, expert, amateur, *, alpha: float = 0.1, beta: float | None = None):
        self.expert, self.amateur = _decoder(expert), _decoder(amateur)
        self.alpha, self.beta = alpha, beta

    def start(self, prompt: Sequence[int]) -> Tensor:
        return self._contrast(self.expert.start(prompt), self.amateur.start(prompt))

    def step(self, token: int) -> Tensor:
        return self._contrast(self.expert.step(token), self.amateur.step(token))

    def _contrast(self, expert: Tensor, amateur: Tensor) -> Tensor:
        return contrast(expert.float(), amateur.float(), alpha=self.alpha, beta=self.beta)


def _decoder(model) -> Decoder:
    return model if hasattr(model, "start") else SimpleDecoder(model)
