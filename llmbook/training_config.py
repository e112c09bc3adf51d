"""Les réglages d’un entraînement, vérifiés dès qu’ils sont écrits."""

import math
from dataclasses import dataclass

from llmbook.schedules import SCHEDULES


@dataclass(frozen=True)
class TrainConfig:
    """Les réglages d’un entraînement. Un pas voit batch_size × accumulate × context tokens.

    - batch_size : suites d’un passage avant-arrière, tous processus ensemble ; accumulate :
      passages par pas ; context : tokens d’une suite.
    - learning_rate : taux d’AdamW ; muon_lr : celui de Muon, pour les matrices cachées.
    - schedule : voir `llmbook.schedules` ; warmup : pas d’échauffement, le vingtième des pas par
      défaut ; decay et floor : fraction de la descente de « wsd », et facteur final.
    - clip : plus grande norme du gradient (None : pas d’écrêtage).
    - eval_every, save_every : tous les combien de pas, et au dernier (0 : au dernier seulement).
    - log_every : tous les combien de pas rendre un `Step`, outre ceux qui évaluent ou enregistrent ;
      sur une carte, lire la perte l’arrête, et 10 ou 20 la laissent travailler.
    - parallel : "ddp" (chaque processus a tout le modèle) ou "fsdp" (chacun en a une part).
    """

    steps: int = 1000
    batch_size: int = 16
    context: int = 256
    accumulate: int = 1
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    muon_lr: float = 0.02
    weight_decay: float = 0.1
    schedule: str = "wsd"
    warmup: int | None = None
    decay: float = 0.2
    floor: float = 0.0
    clip: float | None = 1.0
    precision: str = "bfloat16"
    compile: bool = False
    eval_every: int = 0
    save_every: int = 0
    log_every: int = 1
    keep: int = 2
    seed: int = 0
    parallel: str = "ddp"

    def __post_init__(self):
        for name in ("steps", "batch_size", "context", "accumulate", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} : au moins 1 est attendu")
        for name in ("eval_every", "save_every", "keep"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} : un nombre positif est attendu")
        for name in ("learning_rate", "muon_lr", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}={value} : un nombre strictement positif est attendu")
        for name, known in (
            ("precision", ("float32", "bfloat16")),
            ("schedule", tuple(SCHEDULES)),
            ("optimizer", ("muon", "adamw")),
            ("parallel", ("ddp", "fsdp")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} : choisir {' ou '.join(known)}")
        if self.warmup is None:
            object.__setattr__(self, "warmup", self.steps // 20)
        self.factor(0)  # warmup trop long, decay hors de [0, 1] : dits tout de suite

    def factor(self, step: int) -> float:
        """Ce qui multiplie les taux au pas `step`, de 0 à steps - 1."""
        options = {
            "wsd": {"decay": self.decay, "floor": self.floor},
            "cosine": {"floor": self.floor},
            "linear": {"floor": self.floor},
        }.get(self.schedule, {})
        return SCHEDULES[self.schedule](step, self.steps, self.warmup, **options)
