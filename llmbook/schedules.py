"""Planifier le taux d’apprentissage : par quoi le multiplier à chaque pas.

Chaque planification est une fonction (step, steps, warmup, …) -> facteur, égale à celle de
`transformers`. step : nombre de pas déjà faits, de 0 à steps. steps : pas en tout. warmup : pas
d’échauffement, où le facteur monte de 0 à 1. floor : facteur final. Après `steps`, rien ne bouge.
"""

import math
from collections.abc import Callable


def constant(step: int, steps: int, warmup: int = 0) -> float:
    """1, après l’échauffement."""
    _check(step, steps, warmup)
    return _warm(step, warmup)


def linear(step: int, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """Descend en ligne droite de 1 à `floor`."""
    _check(step, steps, warmup, floor)
    if step < warmup:
        return _warm(step, warmup)
    return _between(1 - _progress(step, warmup, steps), floor)


def cosine(step: int, steps: int, warmup: int = 0, floor: float = 0.1) -> float:
    """Descend de 1 à `floor` comme une demi-période de cosinus.

    Loshchilov et Hutter, 2016, arXiv:1608.03983.
    """
    _check(step, steps, warmup, floor)
    if step < warmup:
        return _warm(step, warmup)
    return _between((1 + math.cos(math.pi * _progress(step, warmup, steps))) / 2, floor)


def wsd(
    step: int,
    steps: int,
    warmup: int = 0,
    decay: float = 0.2,
    floor: float = 0.0,
    shape: str = "linear",
) -> float:
    """Échauffement, plateau, descente (*warmup-stable-decay*) sur la fraction finale `decay`.

    Du plateau, on prolonge l’apprentissage sans avoir choisi sa durée d’avance.
    shape : "linear", ou "sqrt" (1 - √ de l’avancement, qui descend plus vite au début).
    Hu et coll., 2024, arXiv:2404.06395 ; Hägele et coll., 2024, arXiv:2405.18392.
    """
    _check(step, steps, warmup, floor)
    if not 0 <= decay <= 1:
        raise ValueError(f"decay={decay} : une fraction des pas, entre 0 et 1, est attendue")
    if shape not in ("linear", "sqrt"):
        raise ValueError(f"shape={shape!r} : « linear » ou « sqrt » est attendu")
    start = steps - round(decay * steps)  # premier pas de la descente
    if warmup > start:
        raise ValueError(
            f"warmup={warmup} et decay={decay} se recouvrent sur {steps} pas : réduisez l’un d’eux"
        )
    if step < start:
        return _warm(step, warmup)
    progress = _progress(step, start, steps)
    return _between(1 - (progress if shape == "linear" else math.sqrt(progress)), floor)


def inverse_sqrt(step: int, steps: int, warmup: int = 1) -> float:
    """√(warmup / step) : descend toujours moins vite, sans connaître la fin.

    Vaswani et coll., 2017, arXiv:1706.03762.
    """
    _check(step, steps, warmup)
    if warmup < 1:
        raise ValueError("warmup=0 : l’échauffement fixe l’échelle de temps, donnez au moins 1")
    return _warm(step, warmup) if step < warmup else math.sqrt(warmup / min(step, steps))


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "wsd": wsd,
    "inverse_sqrt": inverse_sqrt,
}


def _warm(step: int, warmup: int) -> float:
    return min(1.0, step / warmup) if warmup else 1.0


def _progress(step: int, start: int, end: int) -> float:
    """Avancement dans [start, end], entre 0 et 1."""
    return min(1.0, (step - start) / (end - start)) if end > start else 1.0


def _between(factor: float, floor: float) -> float:
    return floor + (1 - floor) * factor


def _check(step: int, steps: int, warmup: int, floor: float = 0.0) -> None:
    if step < 0:
        raise ValueError(f"step={step} : un nombre de pas positif est attendu")
    if steps < 1:
        raise ValueError(f"steps={steps} : au moins un pas est attendu")
    if not 0 <= warmup <= steps:
        raise ValueError(f"warmup={warmup} : un nombre de pas entre 0 et steps={steps} est attendu")
    if not 0 <= floor <= 1:
        raise ValueError(f"floor={floor} : un facteur entre 0 et 1 est attendu")
