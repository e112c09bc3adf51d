"""Les recettes des modèles livrés : leurs dimensions et leurs réglages d’entraînement.

Les réglages sont ceux d’une carte ; `tried` les réduit pour un essai sur deux cœurs.
"""

from dataclasses import dataclass, replace

from llmbook.layers import ModelConfig
from llmbook.training import TrainConfig
from tools.models.corpus import VOCAB_SIZE

CONTEXT = 1024


@dataclass(frozen=True)
class Recipe:
    """quantized : livré en int8 plutôt qu’en bfloat16."""

    name: str
    model: ModelConfig
    train: TrainConfig
    quantized: bool = False

    def tried(self, steps: int, batch_size: int, context: int) -> "Recipe":
        """La même recette en petit : d’autres pas, lots et contexte d’apprentissage."""
        small = replace(
            self.train,
            steps=steps,
            batch_size=batch_size,
            context=context,
            accumulate=1,
            warmup=steps // 20,
            eval_every=max(1, steps // 4),
            save_every=max(1, steps // 4),
            log_every=1,
            compile=False,
        )
        return replace(self, train=small)


NANO = Recipe(
    "nano",
    ModelConfig.sized(6, VOCAB_SIZE, context=CONTEXT),
    TrainConfig(
        steps=7000,
        batch_size=64,
        context=CONTEXT,
        learning_rate=3e-3,
        muon_lr=0.02,
        weight_decay=0.1,
        warmup=200,
        decay=0.3,
        eval_every=250,
        save_every=1000,
        log_every=20,
        compile=True,
    ),
)
PETIT = Recipe(
    "petit",
    ModelConfig(
        VOCAB_SIZE, d_model=512, n_layers=9, n_heads=8, n_kv_heads=2, d_ff=1344, context=CONTEXT
    ),
    replace(NANO.train, steps=5000, learning_rate=2e-3),
    quantized=True,
)
RECIPES = {recipe.name: recipe for recipe in (NANO, PETIT)}
