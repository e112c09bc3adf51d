"""Exercices de la section « L’oubli catastrophique »."""

import math

import numpy as np

from llmbook.exercise import Exercise

measure_exercise = Exercise(
    "ex-oubli-mesure",
    title="L’oubli en bits par octet",
    level="facile",
    minutes=5,
    hints=(
        "La différence des sommes, en nats, puis la conversion en bits.",
        "Divisez par le nombre total d’octets : les grands textes pèsent davantage.",
    ),
)


@measure_exercise.reference
def forgetting(before, after, sizes):
    """Oubli de l’ensemble des textes, en bits par octet."""
    return (sum(after) - sum(before)) / (sum(sizes) * math.log(2))


@measure_exercise.cases
def _(rng):
    yield [600.0], [900.0], [1000]
    yield [100.0, 900.0], [300.0, 1000.0], [100, 3000]
    yield [50.0, 20.0, 10.0], [45.0, 30.0, 12.0], [60, 20, 300]


@measure_exercise.trap("Vos nats ne sont pas convertis : divisez par ln 2.")
def _(before, after, sizes):
    return (sum(after) - sum(before)) / sum(sizes)


@measure_exercise.trap("Vous moyennez les oublis des textes : un court y pèse autant qu’un long.")
def _(before, after, sizes):
    rows = zip(before, after, sizes, strict=True)
    return sum((a - b) / (size * math.log(2)) for b, a, size in rows) / len(sizes)


@measure_exercise.trap("Le signe est inversé : un oubli positif est une perte qui monte.")
def _(before, after, sizes):
    return -forgetting(before, after, sizes)


@measure_exercise.variant
def _(before, after, sizes):
    return (np.sum(after) - np.sum(before)) / np.log(2) / np.sum(sizes)


average_exercise = Exercise(
    "ex-oubli-moyenne",
    title="Le point du segment",
    level="facile",
    minutes=8,
    hints=(
        "Parcourez les noms de tuned.",
        "base + alpha (tuned - base) pour les noms communs ; une copie de tuned pour les autres.",
    ),
)


@average_exercise.reference
def interpolate(base, tuned, alpha):
    """Un nouveau dictionnaire : base + alpha (tuned - base), et les tableaux ajoutés."""
    return {
        name: base[name] + alpha * (w - base[name]) if name in base else w.copy()
        for name, w in tuned.items()
    }


@average_exercise.cases
def _(rng):
    a, b = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    yield {"w": a}, {"w": b}, 0.25
    yield {"w": a, "vieux": a}, {"w": b, "neuf": b[0]}, 0.75
    yield {"w": a, "v": a[0]}, {"w": b, "v": b[0]}, 1.0
    yield {"w": a}, {"w": b}, 1.5


@average_exercise.trap("Votre alpha est à l’envers : 0 doit rendre base, 1 doit rendre tuned.")
def _(base, tuned, alpha):
    return interpolate(base, tuned, 1 - alpha)


@average_exercise.trap("Une couche absente de base garde sa valeur, sans multiplication.")
def _(base, tuned, alpha):
    return {
        name: base[name] + alpha * (w - base[name]) if name in base else alpha * w
        for name, w in tuned.items()
    }


@average_exercise.trap("Vous ajoutez alpha fois tuned à base : c’est l’écart qu’il faut ajouter.")
def _(base, tuned, alpha):
    return {name: base.get(name, 0) + alpha * w for name, w in tuned.items()}


@average_exercise.trap("Un nom absent de tuned est abandonné.")
def _(base, tuned, alpha):
    return base | interpolate(base, tuned, alpha)


@average_exercise.trap("Ne bornez pas alpha : au-delà de 1, on extrapole.")
def _(base, tuned, alpha):
    return interpolate(base, tuned, min(alpha, 1.0))


@average_exercise.variant
def _(base, tuned, alpha):
    result = {name: np.array(w) for name, w in tuned.items()}
    for name in base.keys() & tuned.keys():
        result[name] = (1 - alpha) * base[name] + alpha * tuned[name]
    return result


frontier_exercise = Exercise(
    "ex-oubli-frontiere",
    title="La frontière",
    level="moyen",
    minutes=12,
    hints=(
        "Pour chaque point, cherchez-en un autre qui le domine.",
        "Au moins aussi bien : exactitude plus grande ou égale, oubli plus petit ou égal.",
        "Deux points égaux ne se dominent pas.",
    ),
)


def _dominates(a, b):
    return a[0] >= b[0] and a[1] <= b[1] and tuple(a) != tuple(b)


@frontier_exercise.reference
def frontier(points):
    """Indices des points qu’aucun autre ne domine. points : (exactitude, oubli)."""
    return [i for i, b in enumerate(points) if not any(_dominates(a, b) for a in points)]


@frontier_exercise.cases
def _(rng):
    yield [(50, 0.2), (40, 0.1), (45, 0.3), (55, 0.9)]
    yield [(50, 0.2), (50, 0.2), (50, 0.1)]
    yield [(50, 0.2), (50, 0.2)]
    yield [(10, 0.5), (20, 0.5), (20, 0.4)]
    yield [tuple(map(int, rng.integers(0, 6, 2))) for _ in range(12)]


@frontier_exercise.trap("Moins d’oubli vaut mieux : votre second axe est à l’envers.")
def _(points):
    return frontier([(x, -y) for x, y in points])


@frontier_exercise.trap("Vous exigez mieux sur les deux axes : l’égalité sur l’un suffit.")
def _(points):
    def beaten(b):
        return any(a[0] > b[0] and a[1] < b[1] for a in points)

    return [i for i, b in enumerate(points) if not beaten(b)]


@frontier_exercise.trap("Deux points égaux ne se dominent pas : gardez les deux.")
def _(points):
    def beaten(i, b):
        rest = points[:i] + points[i + 1 :]
        return any(a[0] >= b[0] and a[1] <= b[1] for a in rest)

    return [i for i, b in enumerate(points) if not beaten(i, b)]


@frontier_exercise.trap(
    "Vous ne gardez que la meilleure exactitude : un point qui oublie moins reste."
)
def _(points):
    best = max(x for x, _ in points)
    return [i for i in frontier(points) if points[i][0] == best]


@frontier_exercise.variant
def _(points):
    kept, least = [], math.inf
    for x in sorted({x for x, _ in points}, reverse=True):
        low = min(y for a, y in points if a == x)
        if low < least:
            least = low
            kept += [i for i, point in enumerate(points) if tuple(point) == (x, low)]
    return sorted(kept)


steps_exercise = Exercise(
    "ex-oubli-pas",
    title="Relire sans rien enlever",
    level="moyen",
    minutes=8,
    hints=(
        "Une époque voit chaque exemple une fois, et tous les extraits.",
        "Le dernier lot d’une époque peut être incomplet : arrondissez vers le haut à chaque époque.",
    ),
)


@steps_exercise.reference
def steps_with_replay(n, rho, batch, passes):
    """Nombre de pas pour `passes` passages sur chaque exemple, extraits compris."""
    return passes * -(-(n + round(rho * n)) // batch)


@steps_exercise.cases
def _(rng):
    yield 2000, 0.1, 32, 5
    yield 2000, 1.0, 32, 5
    yield 100, 0.0, 32, 3
    yield 105, 0.3, 10, 4


@steps_exercise.trap("Vous oubliez les extraits : ils occupent aussi les lots.")
def _(n, rho, batch, passes):
    return passes * -(-n // batch)


@steps_exercise.trap("L’arrondi se fait à chaque époque : son dernier lot peut être incomplet.")
def _(n, rho, batch, passes):
    return -(-passes * (n + round(rho * n)) // batch)


@steps_exercise.trap("Un lot incomplet compte pour un pas : arrondissez vers le haut.")
def _(n, rho, batch, passes):
    return passes * ((n + round(rho * n)) // batch)


@steps_exercise.trap("rho est une part des exemples, en plus d’eux, non une part du tout.")
def _(n, rho, batch, passes):
    total = n if rho == 1 else round(n / (1 - rho))
    return passes * -(-total // batch)


@steps_exercise.variant
def _(n, rho, batch, passes):
    return passes * math.ceil((n + int(round(n * rho))) / batch)


kl_exercise = Exercise(
    "ex-oubli-kl",
    title="La divergence à la base",
    level="moyen",
    minutes=15,
    hints=(
        "log softmax : retirez d’abord le maximum de chaque ligne.",
        "Σ p (log p - log q), où p vient de base.",
        "La moyenne ne porte que sur les positions gardées.",
    ),
)


def _log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


@kl_exercise.reference
def mean_kl(base, tuned, keep):
    """Moyenne, sur les positions gardées, de KL(base ‖ tuned), en nats. base, tuned : (T, V)."""
    p, q = _log_softmax(base[keep]), _log_softmax(tuned[keep])
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


@kl_exercise.cases
def _(rng):
    for T, V, size in ((5, 7, 1.0), (4, 3, 3.0), (3, 6, 400.0)):
        base = size * rng.normal(size=(T, V))
        yield base, base + rng.normal(size=(T, V)), np.arange(T) % 2 == 0
    yield rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), np.ones(6, dtype=bool)


@kl_exercise.trap("La divergence n’est pas symétrique : la loi qui pondère est celle de base.")
def _(base, tuned, keep):
    return mean_kl(tuned, base, keep)


@kl_exercise.trap("Vous moyennez sur toutes les positions : gardez celles de keep.")
def _(base, tuned, keep):
    return mean_kl(base, tuned, np.ones(len(keep), dtype=bool))


@kl_exercise.trap("Vous divisez par T : divisez par le nombre de positions gardées.")
def _(base, tuned, keep):
    return mean_kl(base, tuned, keep) * keep.sum() / len(keep)


@kl_exercise.trap("Les logits ne sont pas des log-probabilités : normalisez-les.")
def _(base, tuned, keep):
    p = np.exp(_log_softmax(base[keep]))
    return float((p * (base[keep] - tuned[keep])).sum(axis=-1).mean())


@kl_exercise.trap("L’exponentielle d’un grand logit déborde : retirez le maximum de la ligne.")
def _(base, tuned, keep):
    with np.errstate(all="ignore"):
        p, q = (np.exp(x[keep]) / np.exp(x[keep]).sum(-1, keepdims=True) for x in (base, tuned))
        return float((p * (np.log(p) - np.log(q))).sum(axis=-1).mean())


@kl_exercise.variant
def _(base, tuned, keep):
    total = 0.0
    for a, b in zip(base[keep], tuned[keep], strict=True):
        za, zb = (x.max() + math.log(np.exp(x - x.max()).sum()) for x in (a, b))
        total += sum(math.exp(x - za) * ((x - za) - (y - zb)) for x, y in zip(a, b, strict=True))
    return total / int(keep.sum())


choose_exercise = Exercise(
    "ex-oubli-point",
    title="Quel point livrer ?",
    level="moyen",
    minutes=12,
    hints=(
        "D’abord le budget, ensuite la meilleure exactitude de ceux qui restent.",
        "Puis ceux qui en sont à margin près, et parmi eux le plus petit oubli.",
        "min(indices, key=…) rend le premier à égalité.",
    ),
)


@choose_exercise.reference
def choose(exact, lost, budget, margin):
    """Indice du point qui oublie le moins, à margin près de la meilleure exactitude permise."""
    allowed = [i for i, x in enumerate(lost) if x <= budget]
    if not allowed:
        return -1
    best = max(exact[i] for i in allowed)
    return min((i for i in allowed if exact[i] >= best - margin), key=lambda i: lost[i])


@choose_exercise.cases
def _(rng):
    exact, lost = [10, 40, 52, 54, 60], [0.0, 0.1, 0.2, 0.5, 1.5]
    yield exact, lost, 0.6, 2
    yield exact, lost, 0.6, 1
    yield exact, lost, 2.0, 8
    yield exact, lost, -0.1, 5
    yield [50, 50, 48], [0.25, 0.25, 0.25], 0.25, 2
    yield [30, 50, 49], [0.0, 0.5, 0.25], 1.0, 5


@choose_exercise.trap("Vous livrez la meilleure exactitude : à margin près, préférez l’oubli.")
def _(exact, lost, budget, margin):
    return choose(exact, lost, budget, 0)


@choose_exercise.trap("La meilleure exactitude est celle des points qui tiennent dans le budget.")
def _(exact, lost, budget, margin):
    kept = [i for i in range(len(lost)) if lost[i] <= budget and exact[i] >= max(exact) - margin]
    return min(kept, key=lambda i: lost[i]) if kept else -1


@choose_exercise.trap(
    "Vous oubliez l’exactitude : le point de départ n’oublie rien, et n’a rien appris."
)
def _(exact, lost, budget, margin):
    return choose(exact, lost, budget, max(exact))


@choose_exercise.trap("Le budget est inclus : un oubli égal au budget convient.")
def _(exact, lost, budget, margin):
    return choose(exact, [x if x != budget else x + 1 for x in lost], budget, margin)


@choose_exercise.trap("Sans aucun point dans le budget, renvoyez -1.")
def _(exact, lost, budget, margin):
    return choose(exact, lost, max(budget, min(lost)), margin)


@choose_exercise.variant
def _(exact, lost, budget, margin):
    exact, lost = np.array(exact, dtype=float), np.array(lost, dtype=float)
    inside = lost <= budget
    if not inside.any():
        return -1
    good = inside & (exact >= exact[inside].max() - margin)
    return int(np.where(good, lost, np.inf).argmin())
