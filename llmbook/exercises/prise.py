"""Premier exercice du livre : la page « Prise en main »."""

import numpy as np

from llmbook.exercise import Exercise

mean_exercise = Exercise(
    "ex-prise-moyenne",
    title="Moyenne d’une liste",
    level="facile",
    minutes=3,
    hints=(
        "La somme d’un tableau numpy s’écrit x.sum(), sa longueur len(x).",
        "Traitez d’abord le tableau vide : diviser par zéro donnerait nan.",
    ),
)


@mean_exercise.reference
def mean(x):
    """Moyenne de x : (n,) ; 0.0 si n = 0."""
    if len(x) == 0:
        return 0.0
    return x.sum() / len(x)


@mean_exercise.cases
def _(rng):
    yield (np.array([1.0, 2.0, 6.0]),)
    yield (rng.normal(size=10),)
    yield (np.array([]),)


@mean_exercise.trap("C’est la somme : il reste à diviser par le nombre d’éléments.")
def _(x):
    return x.sum()


@mean_exercise.trap("Le diviseur est n, pas n − 1 : c’est la moyenne, non une variance corrigée.")
def _(x):
    return x.sum() / (len(x) - 1) if len(x) > 1 else 0.0


@mean_exercise.trap("C’est la médiane : la valeur du milieu, et non la moyenne.")
def _(x):
    return float(np.median(x)) if len(x) else 0.0


@mean_exercise.variant
def _(x):
    total = 0.0
    for value in x:
        total += float(value) / max(len(x), 1)
    return total
