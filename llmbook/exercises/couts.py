"""Exercices de la section « Ce que coûte un affinage »."""

import math

from llmbook.exercise import Exercise

flops_exercise = Exercise(
    "ex-couts-operations",
    title="Opérations par token",
    level="facile",
    minutes=4,
    hints=(
        "Deux en avant, deux pour le gradient des entrées, deux pour celui des poids.",
        "Un poids gelé n’a pas de gradient ; le recalcul refait la passe avant.",
    ),
)


@flops_exercise.reference
def training_flops(N, method, recompute):
    """Opérations par token, attention et adaptateur négligés."""
    per_weight = 6 if method == "full" else 4
    return (per_weight + (2 if recompute else 0)) * N


@flops_exercise.cases
def _(rng):
    for method in ("full", "lora", "qlora"):
        for recompute in (False, True):
            yield 7_000_000_000, method, recompute


@flops_exercise.trap(
    "Avec une base gelée, le gradient des poids n’est pas calculé : quatre, pas six."
)
def _(N, method, recompute):
    return (8 if recompute else 6) * N


@flops_exercise.trap("Le recalcul refait la passe avant : deux opérations de plus par poids.")
def _(N, method, recompute):
    return (6 if method == "full" else 4) * N


@flops_exercise.trap("QLoRA calcule comme LoRA : ses poids sont gelés aussi.")
def _(N, method, recompute):
    return ((4 if method == "lora" else 6) + (2 if recompute else 0)) * N


@flops_exercise.trap("Le gradient traverse les poids gelés pour atteindre les adaptateurs : quatre, "
                     "pas deux.")  # fmt: skip
def _(N, method, recompute):
    return ((6 if method == "full" else 2) + (2 if recompute else 0)) * N


@flops_exercise.variant
def _(N, method, recompute):
    passes = 1 + recompute + 1 + (method == "full")
    return 2 * N * passes


positions_exercise = Exercise(
    "ex-couts-positions",
    title="Positions calculées",
    level="facile",
    minutes=6,
    hints=(
        "lengths[i : i + batch_size] est un lot ; le dernier est plus court si besoin.",
        "Dans un lot, chaque exemple prend la longueur du plus long.",
    ),
)


@positions_exercise.reference
def padded_positions(lengths, batch_size, epochs):
    """Positions calculées, remplissage compris."""
    total = 0
    for i in range(0, len(lengths), batch_size):
        lot = lengths[i : i + batch_size]
        total += len(lot) * max(lot)
    return epochs * total


@positions_exercise.cases
def _(rng):
    yield [5, 9, 3, 3], 2, 1
    yield [5, 9, 3, 3, 12], 2, 3
    yield [int(x) for x in rng.integers(10, 90, 23)], 8, 2
    yield [40], 16, 4


@positions_exercise.trap("Vous comptez les vrais tokens : chaque exemple prend la longueur du plus "
                         "long de son lot.")  # fmt: skip
def _(lengths, batch_size, epochs):
    return epochs * sum(lengths)


@positions_exercise.trap("Les époques manquent.")
def _(lengths, batch_size, epochs):
    return padded_positions(lengths, batch_size, 1)


@positions_exercise.trap("Le plus long du jeu ne sert de mesure qu’à son propre lot.")
def _(lengths, batch_size, epochs):
    return epochs * len(lengths) * max(lengths)


@positions_exercise.trap("Le dernier lot, incomplet, n’a pas batch_size exemples.")
def _(lengths, batch_size, epochs):
    lots = [lengths[i : i + batch_size] for i in range(0, len(lengths), batch_size)]
    return epochs * sum(batch_size * max(lot) for lot in lots)


@positions_exercise.trap("Le dernier lot, incomplet, se calcule aussi.")
def _(lengths, batch_size, epochs):
    whole = len(lengths) // batch_size * batch_size
    return padded_positions(lengths[:whole], batch_size, epochs)


@positions_exercise.variant
def _(lengths, batch_size, epochs):
    tops = {}
    for i, length in enumerate(lengths):
        tops[i // batch_size] = max(length, tops.get(i // batch_size, 0))
    return epochs * sum(tops[i // batch_size] for i in range(len(lengths)))


mfu_exercise = Exercise(
    "ex-couts-mfu",
    title="Lire un rendement",
    level="facile",
    minutes=5,
    hints=(
        "Les opérations utiles par seconde sont flops * tokens / seconds.",
        "La crête de plusieurs cartes est leur somme.",
    ),
)


@mfu_exercise.reference
def utilization(tokens, seconds, flops, peak, cards):
    """Part de la puissance annoncée qui sert, entre 0 et 1."""
    return flops * tokens / seconds / (cards * peak)


@mfu_exercise.cases
def _(rng):
    yield 2048, 0.296, 27e9, 989e12, 1
    yield 512, 0.296, 27e9, 989e12, 1
    yield 4_000_000, 3.5, 42e9, 312e12, 512


@mfu_exercise.trap("La crête est celle de toutes les cartes.")
def _(tokens, seconds, flops, peak, cards):
    return flops * tokens / seconds / peak


@mfu_exercise.trap("Divisez par la durée : c’est un débit que l’on compare à la crête.")
def _(tokens, seconds, flops, peak, cards):
    return flops * tokens / (cards * peak)


@mfu_exercise.trap("flops est par token : multipliez par le nombre de tokens du pas.")
def _(tokens, seconds, flops, peak, cards):
    return flops / seconds / (cards * peak)


@mfu_exercise.trap("Le rapport est inversé : il dépasserait 1.")
def _(tokens, seconds, flops, peak, cards):
    return cards * peak / (flops * tokens / seconds)


@mfu_exercise.variant
def _(tokens, seconds, flops, peak, cards):
    ideal = tokens * flops / peak / cards  # secondes à pleine puissance
    return ideal / seconds


months_exercise = Exercise(
    "ex-couts-seuil",
    title="Le seuil, avec un hébergement",
    level="moyen",
    minutes=10,
    hints=(
        "Chaque mois, l’affinage épargne monthly * extra et coûte rent.",
        "Divisez fixed par ce qui reste chaque mois.",
        "S’il ne reste rien, ou moins que rien : math.inf.",
    ),
)


@months_exercise.reference
def months_to_break_even(fixed, rent, monthly, extra):
    """Mois au bout desquels l’affinage est remboursé ; math.inf s’il ne l’est jamais."""
    saved = monthly * extra - rent
    return fixed / saved if saved > 0 else math.inf


@months_exercise.cases
def _(rng):
    yield 2000, 0, 100_000, 0.002
    yield 2000, 500, 1_000_000, 0.002
    yield 2000, 2500, 1_000_000, 0.002
    yield 300, 20, 10_000, 0.002
    yield 500, 100, 25_000, 0.01


@months_exercise.trap("L’hébergement se paie chaque mois : retirez-le de l’économie.")
def _(fixed, rent, monthly, extra):
    return fixed / (monthly * extra)


@months_exercise.trap("L’hébergement n’est pas un coût unique : il revient chaque mois.")
def _(fixed, rent, monthly, extra):
    return (fixed + rent) / (monthly * extra)


@months_exercise.trap("Un nombre de mois négatif n’a pas de sens : renvoyez math.inf.")
def _(fixed, rent, monthly, extra):
    saved = monthly * extra - rent
    return fixed / saved if saved else math.inf


@months_exercise.trap("Vous renvoyez un nombre de requêtes ; on demande des mois.")
def _(fixed, rent, monthly, extra):
    saved = monthly * extra - rent
    return monthly * fixed / saved if saved > 0 else math.inf


@months_exercise.variant
def _(fixed, rent, monthly, extra):
    per_request = extra - rent / monthly
    if per_request <= 0:
        return math.inf
    return fixed / per_request / monthly


quote_exercise = Exercise(
    "ex-couts-devis",
    title="Un devis complet",
    level="difficile",
    minutes=30,
    hints=(
        "Trois étapes : les positions d’un essai, ses secondes, ses minutes entamées.",
        "Les secondes : (6 ou 4) × N × positions / (mfu × peak).",
        "L’arrondi à la minute se fait par essai, avant de multiplier par runs.",
    ),
)


@quote_exercise.reference
def full_quote(lengths, batch_size, epochs, N, method, mfu, peak, runs, hourly):
    """Euros de `runs` essais, chacun facturé à la minute entamée."""
    ordered = sorted(lengths)
    lots = [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    positions = epochs * sum(len(lot) * max(lot) for lot in lots)
    flops = (6 if method == "full" else 4) * N * positions
    minutes = math.ceil(flops / (mfu * peak) / 60)
    return runs * minutes * hourly / 60


@quote_exercise.cases
def _(rng):
    lengths = [int(x) for x in rng.integers(20, 400, 900)]
    yield lengths, 16, 3, 7e9, "lora", 0.19, 989e12, 10, 3.5
    yield lengths, 16, 3, 7e9, "full", 0.23, 989e12, 1, 3.5
    yield lengths[:50], 8, 1, 1e9, "qlora", 0.03, 989e12, 7, 1.2
    few = [int(x) for x in rng.integers(20, 900, 40)]
    yield few, 16, 10, 7e10, "lora", 0.02, 312e12, 3, 2.0


def _quoted(lengths, batch_size, epochs, N, per_weight, mfu, peak, runs, hourly, order=sorted,
            padded=True, whole=math.ceil):  # fmt: skip
    ordered = order(lengths)
    lots = [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    sizes = (len(lot) * max(lot) if padded else sum(lot) for lot in lots)
    seconds = per_weight * N * epochs * sum(sizes) / (mfu * peak)
    return runs * whole(seconds / 60) * hourly / 60


def _rate(method):
    return 6 if method == "full" else 4


@quote_exercise.trap("Les exemples sont triés avant d’être mis en lots.")
def _(lengths, batch_size, epochs, N, method, *rest):
    return _quoted(lengths, batch_size, epochs, N, _rate(method), *rest, order=list)


@quote_exercise.trap(
    "Le remplissage manque : chaque exemple prend la longueur du plus long du lot."
)
def _(lengths, batch_size, epochs, N, method, *rest):
    return _quoted(lengths, batch_size, epochs, N, _rate(method), *rest, padded=False)


@quote_exercise.trap("Une base gelée coûte quatre opérations par poids, pas six.")
def _(lengths, batch_size, epochs, N, method, *rest):
    return _quoted(lengths, batch_size, epochs, N, 6, *rest)


@quote_exercise.trap("Chaque minute entamée est due : arrondissez vers le haut.")
def _(lengths, batch_size, epochs, N, method, *rest):
    return _quoted(lengths, batch_size, epochs, N, _rate(method), *rest, whole=float)


@quote_exercise.trap("L’arrondi à la minute se fait pour chaque essai, pas sur leur somme.")
def _(lengths, batch_size, epochs, N, method, mfu, peak, runs, hourly):
    return _quoted(lengths, batch_size, epochs * runs, N, _rate(method), mfu, peak, 1, hourly)


@quote_exercise.trap("Les époques manquent : le jeu est lu epochs fois.")
def _(lengths, batch_size, epochs, N, method, *rest):
    return _quoted(lengths, batch_size, 1, N, _rate(method), *rest)


@quote_exercise.variant
def _(lengths, batch_size, epochs, N, method, mfu, peak, runs, hourly):
    ordered, positions = sorted(lengths), 0
    while ordered:
        lot, ordered = ordered[:batch_size], ordered[batch_size:]
        positions += lot[-1] * len(lot)
    useful = 2 * N * (3 if method == "full" else 2)
    seconds = positions * epochs * useful / mfu / peak
    return sum(-(-seconds // 60) * hourly / 60 for _ in range(runs))
