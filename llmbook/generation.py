"""Écrire : le modèle propose une loi sur le token suivant, nous y choisissons, et recommençons.

`stream` rend les tokens un à un et s’arrête quand on cesse de l’écouter ; `generate` les rassemble.
Le cache KV évite de relire le texte entier à chaque token. Mêmes tokens que transformers.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from llmbook.generation_sampling import Sampling

Stop = Sequence[int | Sequence[int]]  # des tokens, ou des suites de tokens


class Decoder(Protocol):
    """Ce qui lit les tokens. `FastDecoder` et `StaticDecoder` sont d’autres façons de le faire."""

    def start(self, prompt: Sequence[int]) -> Tensor:
        """Oublie tout, lit le prompt ; renvoie les logits (V,) du token suivant."""

    def step(self, token: int) -> Tensor:
        """Lit un token de plus ; renvoie les logits (V,) du suivant."""


class SimpleDecoder:
    """Le modèle et son cache, sans rien d’autre : la version à lire."""

    def __init__(self, model):
        self.model = model

    @torch.no_grad()
    def start(self, prompt: Sequence[int]) -> Tensor:
        self.cache = self.model.new_cache()
        return self._read(prompt)

    @torch.no_grad()
    def step(self, token: int) -> Tensor:
        return self._read([token])

    def _read(self, ids: Sequence[int]) -> Tensor:
        tokens = torch.tensor([list(ids)], device=self.model.device)
        hidden = self.model.hidden(tokens, self.cache)[0, -1]  # seule la dernière position prédit
        return self.model.lm_head(hidden)


def stream(
    model,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    temperature: float | None = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    more: Sequence[Callable[[Tensor], Tensor]] = (),
    stop: Stop = (),
    generator: torch.Generator | None = None,
    decoder: Decoder | None = None,
) -> Iterator[int]:
    """Les tokens qui suivent le prompt, un à un, dès qu’ils sont choisis.

    temperature=None : glouton. stop : tokens, ou suites de tokens, après lesquels s’arrêter ; ils
    font partie de ce qui est rendu. generator : source du hasard, sur le périphérique du modèle ;
    sans lui, celle de torch. decoder : `FastDecoder(model)` va plus vite, mêmes tokens.
    ValueError, dès l’appel, si un réglage ou le prompt ne convient pas.
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, more)
    prompt = check_prompt(model, prompt_ids, max_tokens)
    endings = _endings(stop, model.config.vocab_size)
    return _stream(
        decoder or SimpleDecoder(model), prompt, max_tokens, sampling, endings, generator
    )


def generate(model, prompt_ids: Sequence[int], *, max_tokens: int, **options) -> list[int]:
    """Les tokens qui suivent le prompt, au plus max_tokens ; options : celles de `stream`."""
    return list(stream(model, prompt_ids, max_tokens=max_tokens, **options))


def _stream(decoder, prompt, max_tokens, sampling, endings, generator) -> Iterator[int]:
    ids = list(prompt)
    logits = decoder.start(prompt)
    for remaining in range(max_tokens - 1, -1, -1):
        token = choose(logits, ids, sampling, generator)
        ids.append(token)
        yield token
        written = len(ids) - len(prompt)
        if any(len(end) <= written and ids[-len(end) :] == end for end in endings):
            return
        if remaining:
            logits = decoder.step(token)


def choose(
    logits: Tensor,
    ids: Sequence[int],
    sampling: Sampling,
    generator: torch.Generator | None = None,
    allowed: Tensor | None = None,
) -> int:
    """Un token, d’après ses logits (V,) et les tokens déjà là.

    allowed : (V,) booléen, faux pour les tokens interdits ; il agit avant les filtres, pour que
    top-k ou top-p ne gardent jamais que des tokens permis.
    """
    logits = sampling.penalized(logits, ids)
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    if sampling.greedy:
        return int(logits.argmax())
    probabilities = sampling.filtered(logits).softmax(-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))


# Vérifier


def check_prompt(model, prompt_ids: Sequence[int], max_tokens: int) -> list[int]:
    """Le prompt en liste d’entiers ; ValueError s’il est vide, trop long ou hors vocabulaire."""
    prompt = [int(token) for token in prompt_ids]
    config = model.config
    if not prompt:
        raise ValueError(
            "le prompt est vide : donnez au moins un token, par exemple celui de fin de document"
        )
    if max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens} : demandez au moins un token")
    if len(prompt) > config.context:
        raise ValueError(
            f"le prompt a {len(prompt)} tokens, le contexte du modèle {config.context} : "
            f"gardez-en la fin, prompt_ids[-{config.context - 1}:]"
        )
    if len(prompt) + max_tokens > config.context:
        raise ValueError(
            f"{len(prompt)} tokens de prompt et max_tokens={max_tokens} dépassent le contexte, "
            f"{config.context} : passez max_tokens={config.context - len(prompt)} au plus, "
            "ou raccourcissez le prompt"
        )
    _check_ids(prompt, config.vocab_size, "prompt_ids")
    return prompt


def _endings(stop: Stop, vocab_size: int) -> list[list[int]]:
    """Chaque arrêt sous forme de suite de tokens."""
    endings = [[int(end)] if not hasattr(end, "__len__") else list(end) for end in stop]
    for end in endings:
        if not end:
            raise ValueError("stop contient une suite vide : retirez-la, elle arrêterait partout")
        _check_ids(end, vocab_size, "stop")
    return endings


def _check_ids(ids: list[int], vocab_size: int, name: str) -> None:
    wrong = list(islice((token for token in ids if not 0 <= token < vocab_size), 1))
    if wrong:
        raise ValueError(
            f"{name} contient le numéro {wrong[0]} : le vocabulaire va de 0 à {vocab_size - 1}. "
            "Ce tokeniseur est-il celui du modèle ?"
        )
