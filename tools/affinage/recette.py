"""La recette de models/nano-instruct : quoi apprendre, et avec quels réglages.

Trois sources : des questions composées sur la bibliothèque standard, des tâches vérifiables, des
dialogues écrits. Les parts de validation choisissent les réglages ; celles de test ne servent qu’à
la mesure publiée.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = 512
WEIGHTS = {"composes": 1, "taches": 1, "dialogues": 3}  # répétitions : les dialogues sont rares
STRAIGHT = str.maketrans({"’": "'", "«": '"', "»": '"'})


@dataclass(frozen=True)
class Recipe:
    """Réglages d’un essai ; rank 8 sur toutes les matrices tient dans les 12 Mo du dossier."""

    method: str = "lora"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("qkv", "out", "gate_up", "down")
    learning_rate: float = 2e-3
    epochs: float = 10.0
    batch_size: int = 32
    dropout: float = 0.0
    seed: int = 0


CANDIDATES = [
    *(Recipe(learning_rate=rate, epochs=n) for rate in (2e-3, 5e-3, 1e-2) for n in (8.0, 16.0)),
    Recipe(method="full", learning_rate=5e-4, epochs=8.0),
]


def tried(recipe: Recipe, epochs: float) -> Recipe:
    """La même recette, moins longue : pour un essai sur deux cœurs."""
    return replace(recipe, epochs=epochs)


def described(recipe: Recipe) -> dict:
    return asdict(recipe) | {"contexte": CONTEXT, "repetitions": WEIGHTS}


def records(split: str) -> list[dict]:
    """Tous les exemples d’une part, répétés selon leur poids à l’apprentissage."""
    from llmbook import instructions

    found = []
    for name, times in WEIGHTS.items():
        found += instructions.load(name, split) * (times if split == "train" else 1)
    return [typed(r) if split == "train" and n % 3 == 0 else r for n, r in enumerate(found)]


def typed(record: dict) -> dict:
    """La même question telle qu’un clavier l’écrit : apostrophes droites, sans guillemets français."""
    messages = [
        m | {"content": m["content"].translate(STRAIGHT)} if m["role"] == "user" else m
        for m in record["messages"]
    ]
    return record | {"messages": messages}
