"""Continuer beaucoup de prompts à la fois, de longueurs différentes : le lot amortit les poids.

Les prompts d’un lot sont complétés à gauche ; l’attention ne voit pas ce remplissage, et chaque ligne
a ses propres positions. Leur début commun, les exemples d’une invite par exemple, n’est lu
qu’une fois. Les tokens sont ceux de `llmbook.generation.generate`, un prompt à la fois ; avec un
modèle de transformers, ceux de son `generate`.
"""

import functools
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from llmbook.attention import sdpa
from llmbook.generation import check_prompt
from llmbook.generation_sampling import Sampling
from llmbook.training import attending


def generate_prompts(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    temperature: float | None = None,
    stop: Collection[int] = (),
    batch_size: int = 32,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """La suite de chaque prompt, dans l’ordre : au plus max_tokens tokens, coupée après un arrêt.

    model : `LanguageModel`, ou modèle causal de transformers. temperature=None : glouton. Un tirage
    ne dépend que de la graine, des prompts et de batch_size. on_progress(faits, total) est appelé
    après chaque lot. ValueError si un prompt est vide, trop long ou hors du vocabulaire.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} : au moins un prompt par lot est attendu")
    sampling, generator = Sampling(temperature), torch.Generator(model.device).manual_seed(seed)
    ours = hasattr(model, "new_cache")
    limits = model if ours else _Limits(model)
    prompts = [check_prompt(limits, prompt, max_tokens) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))  # peu de remplissage
    answers: list[list[int]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    try:
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            batch = [prompts[i] for i in rows]
            write = _write if ours else _write_transformers
            written = write(model, batch, max_tokens, sampling, stop, generator)
            for i, ids in zip(rows, written, strict=True):
                answers[i] = _cut(ids, stop)
            if on_progress is not None:
                on_progress(first + len(rows), len(order))
    finally:
        model.train(was_training)
    return answers


def pad_left(prompts: Sequence[Sequence[int]], device=None) -> tuple[Tensor, Tensor]:
    """Prompts complétés à gauche par des 0 : tokens et masque (vrai : un vrai token), (B, T)."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=device)
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    return tokens, torch.arange(longest, device=device) >= longest - lengths[:, None]


@torch.no_grad()
def _write(model, prompts, max_tokens, sampling, stop, generator) -> list[list[int]]:
    """Tous les pas d’un lot. Les lignes finies quittent le lot, dès qu’un quart l’est."""
    device, B = model.device, len(prompts)
    ends = torch.tensor(sorted(stop), dtype=torch.long, device=device)
    written = torch.zeros(B, max_tokens, dtype=torch.long, device=device)
    rows = torch.arange(B, device=device)  # la ligne de `written` de chaque texte du lot
    alive = torch.ones_like(rows, dtype=torch.bool)

    shared = 0 if model.config.window else _shared_length(prompts)
    cache = model.new_cache(1, max(map(len, prompts)) + max_tokens)
    if shared:
        model.hidden(torch.tensor([prompts[0][:shared]], device=device), cache)
    cache.reorder(torch.zeros(B, dtype=torch.long, device=device))
    read, visible = pad_left([prompt[shared:] for prompt in prompts], device)
    positions = (visible.cumsum(1) - 1).clamp(min=0) + shared  # (B, T)
    visible = torch.nn.functional.pad(visible, (shared, 0), value=True)  # (B, S)
    for step in range(max_tokens):
        logits = model.lm_head(_hidden(model, read, positions, cache, visible)).float()  # (B, V)
        read, positions = _choose(logits, sampling, generator), positions[:, -1:] + 1
        written[rows, step] = read[:, 0]
        alive &= ~torch.isin(read[:, 0], ends)
        if not alive.any():
            break
        if alive.sum() <= 0.75 * len(rows):
            kept = alive.nonzero()[:, 0]
            rows, read, positions, visible = rows[kept], read[kept], positions[kept], visible[kept]
            alive = alive[kept]
            cache.reorder(kept)
        visible = torch.nn.functional.pad(visible, (0, 1), value=True)
    return written[:, : step + 1].tolist()


def _shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens de tête communs à tous, en laissant au moins un token à chacun."""
    first, last = min(prompts), max(prompts)  # dans l’ordre alphabétique, les plus éloignés
    most = min(map(len, prompts)) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)


def _hidden(model, tokens: Tensor, positions: Tensor, cache, visible: Tensor) -> Tensor:
    """Dernier état caché de chaque ligne, (B, C) : `model.hidden`, une position par ligne.

    tokens, positions : (B, T) ; visible : (B, S), faux pour le remplissage.
    """
    T, S = tokens.shape[1], visible.shape[1]
    kernel = None
    if not visible.all():
        mask = visible[:, None, None, :]
        if T > 1:  # un remplissage se voit lui-même : sans aucune clé, il vaudrait NaN
            mask = mask | torch.eye(S, dtype=torch.bool, device=mask.device)[S - T :]
        kernel = functools.partial(sdpa, mask=mask)
    cos, sin = model.cos[positions][:, None], model.sin[positions][:, None]  # (B, 1, T, D/2)
    x = model.embed(tokens)
    with attending(model, kernel):
        for block in model.blocks:
            x = block(x, cos, sin, cache)
    cache.length += T
    return model.norm(x[:, -1])


def _choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """Un token par ligne : logits (B, V) -> (B, 1)."""
    if sampling.greedy:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial(sampling.filtered(logits).softmax(-1), 1, generator=generator)


@torch.no_grad()
def _write_transformers(model, prompts, max_tokens, sampling, stop, generator) -> list[list[int]]:
    """Le même lot par `model.generate`, sans les réglages d’échantillonnage qu’un modèle apporte."""
    from transformers import GenerationConfig

    tokens, mask = pad_left(prompts, model.device)
    options = dict(do_sample=False)
    if not sampling.greedy:
        options = dict(do_sample=True, temperature=sampling.temperature, top_k=0, top_p=1.0)
    config = GenerationConfig(
        max_new_tokens=max_tokens,
        eos_token_id=sorted(stop) or [-1],
        pad_token_id=min(stop, default=0),
        repetition_penalty=1.0,
        num_beams=1,
        **options,
    )
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator, device=model.device)))
        found = model.generate(tokens, attention_mask=mask.long(), generation_config=config)
    return found[:, tokens.shape[1] :].tolist()


class _Limits:
    """Le vocabulaire et le contexte d’un modèle de transformers, sous nos noms."""

    def __init__(self, model):
        config = model.config.get_text_config()
        self.config, self.vocab_size = self, config.vocab_size
        self.context = getattr(config, "max_position_embeddings", None) or 1 << 30


def _cut(ids: list[int], stop: Collection[int]) -> list[int]:
    return ids[: next((i + 1 for i, token in enumerate(ids) if token in stop), len(ids))]
