"""Les réglages d’un affinage, vérifiés dès qu’ils sont écrits."""

import math
from dataclasses import dataclass

from llmbook.schedules import SCHEDULES


@dataclass(frozen=True)
class FinetuneConfig:
    """Les réglages d’un affinage ; ceux par défaut conviennent à un adaptateur LoRA.

    - steps ou epochs, pas les deux : durée, 3 époques par défaut ; un pas voit `accumulate` lots.
    - learning_rate : pour tout le modèle, prenez dix fois moins. schedule : voir
      `llmbook.schedules` ; warmup : pas d’échauffement, le vingtième par défaut ; floor : facteur
      final de « linear », « cosine » et « wsd ».
    - clip : plus grande norme du gradient (None : pas d’écrêtage).
    - gradient_checkpointing : recalcule les activations, plus lent et moins gourmand.
    - log_every : tous les combien de pas rendre un `FinetuneStep`, outre ceux qui évaluent ; sur une
      carte, lire la perte l’arrête. eval_every, save_every : 0, au dernier pas seulement ; keep :
      points de reprise gardés (0 : tous).
    """

    steps: int | None = None
    epochs: float | None = None
    learning_rate: float = 2e-4
    schedule: str = "cosine"
    warmup: int | None = None
    floor: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = 1.0
    accumulate: int = 1
    precision: str = "float32"
    gradient_checkpointing: bool = False
    log_every: int = 1
    eval_every: int = 0
    save_every: int = 0
    keep: int = 2

    def __post_init__(self):
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"steps={self.steps} et epochs={self.epochs} : donnez l’un ou l’autre")
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "epochs", 3.0)
        for name in ("steps", "accumulate", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} : au moins 1 est attendu")
        for name in ("epochs", "learning_rate", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}={value} : un nombre strictement positif est attendu")
        for name in ("eval_every", "save_every", "keep", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} : un nombre positif est attendu")
        for name, known in (
            ("precision", ("float32", "bfloat16")),
            ("schedule", tuple(SCHEDULES)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} : choisir {' ou '.join(known)}")
        if self.warmup is not None and self.warmup < 0:
            raise ValueError(f"warmup={self.warmup} : un nombre de pas positif est attendu")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor={self.floor} : un facteur entre 0 et 1 est attendu")
        if self.steps is not None:
            self.factor(0, self.steps)  # un échauffement trop long : dit tout de suite

    def steps_for(self, batches) -> int:
        """Pas en tout, pour ces lots."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil(self.epochs * batches.per_epoch / self.accumulate - 1e-9))

    def factor(self, step: int, steps: int) -> float:
        """Ce qui multiplie le taux au pas `step`, de 0 à steps - 1."""
        options = {"floor": self.floor} if self.schedule in ("linear", "cosine", "wsd") else {}
        warmup = steps // 20 if self.warmup is None else self.warmup
        return SCHEDULES[self.schedule](step, steps, warmup, **options)
