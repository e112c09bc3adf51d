"""Exercices de la section « Notre boucle et celle de TRL »."""

import math

import numpy as np

from llmbook.exercise import Exercise

clip_exercise = Exercise(
    "ex-boucles-ecretage",
    title="Écrêter",
    level="facile",
    minutes=6,
    hints=(
        "Une seule norme, celle de tous les tableaux mis bout à bout.",
        "Le facteur ne dépasse jamais 1 : min(1, limit / norme).",
    ),
)


@clip_exercise.reference
def clip(grads, limit):
    """grads : tableaux de formes quelconques ; renvoie une nouvelle liste."""
    norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
    factor = min(1.0, limit / norm) if norm else 1.0
    return [g * factor for g in grads]


@clip_exercise.cases
def _(rng):
    yield [np.array([3.0, 0.0]), np.array([[4.0]])], 1.0
    yield [rng.normal(size=(3, 4)), 5 * rng.normal(size=6)], 2.0
    yield [np.array([0.1, -0.2]), np.array([0.05])], 1.0
    yield [np.array([3.0, -0.5, 0.2])], 1.5


@clip_exercise.trap("Une norme par tableau change la direction : prenez celle de l’ensemble.")
def _(grads, limit):
    return [g * min(1.0, limit / np.linalg.norm(g)) for g in grads]


@clip_exercise.trap("Un gradient plus petit que la limite ne doit pas être agrandi.")
def _(grads, limit):
    norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
    return [g * limit / norm for g in grads]


@clip_exercise.trap("Vous bornez chaque nombre : c’est la norme qu’il faut borner.")
def _(grads, limit):
    return [g.clip(-limit, limit) for g in grads]


@clip_exercise.trap("La norme est la racine de la somme des carrés : il manque la racine.")
def _(grads, limit):
    return [g * min(1.0, limit / sum(float((x**2).sum()) for x in grads)) for g in grads]


@clip_exercise.variant
def _(grads, limit):
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in grads]))
    return [g / max(1.0, norm / limit) for g in grads]


stop_exercise = Exercise(
    "ex-boucles-patience",
    title="S’arrêter à temps",
    level="moyen",
    minutes=10,
    hints=(
        "Gardez l’indice de la meilleure évaluation vue.",
        "On s’arrête quand l’indice courant moins celui de la meilleure atteint patience.",
    ),
)


@stop_exercise.reference
def early_stop(evaluations, patience):
    """Renvoie (indice de l’arrêt, indice du point à garder)."""
    best = 0
    for i, value in enumerate(evaluations):
        if value < evaluations[best]:
            best = i
        elif i - best == patience:
            return i, best
    return len(evaluations) - 1, best


@stop_exercise.cases
def _(rng):
    yield [3.0, 2.0, 2.1, 2.2, 1.0], 2
    yield [3.0, 2.0, 2.1, 1.9, 2.0, 2.0, 2.0, 1.0], 3
    yield [3.0, 2.5, 2.0, 1.5], 2
    yield [3.0, 2.0, 2.0, 2.0, 1.0], 2
    yield [3.0, 2.0, 2.5, 2.4, 2.3, 1.0], 3


@stop_exercise.trap("Gardez le meilleur point, pas le dernier.")
def _(evaluations, patience):
    stop, _ = early_stop(evaluations, patience)
    return stop, stop


@stop_exercise.trap("Comparez à la meilleure évaluation, pas à la précédente.")
def _(evaluations, patience):
    bad = 0
    for i in range(1, len(evaluations)):
        bad = bad + 1 if evaluations[i] >= evaluations[i - 1] else 0
        if bad == patience:
            return i, int(np.argmin(evaluations[: i + 1]))
    return len(evaluations) - 1, int(np.argmin(evaluations))


@stop_exercise.trap("Une égalité n’est pas un progrès : il faut strictement mieux.")
def _(evaluations, patience):
    best = 0
    for i, value in enumerate(evaluations):
        if value <= evaluations[best]:
            best = i
        elif i - best == patience:
            return i, best
    return len(evaluations) - 1, best


@stop_exercise.trap(
    "Vous regardez après l’arrêt : le meilleur de toute la suite n’était pas connu."
)
def _(evaluations, patience):
    stop, _ = early_stop(evaluations, patience)
    return stop, int(np.argmin(evaluations))


@stop_exercise.variant
def _(evaluations, patience):
    values = np.array(evaluations)
    for i in range(patience, len(values)):
        best = int(values[: i + 1].argmin())
        if i - best >= patience:
            return i, best
    return len(values) - 1, int(values.argmin())


cut_exercise = Exercise(
    "ex-boucles-coupe",
    title="Ce qui reste du jeu",
    level="moyen",
    minutes=10,
    hints=(
        "Après la coupe, un dialogue est mask[:max_length] ; il reste s’il contient un vrai.",
        "La réponse est entière si son dernier vrai est avant max_length.",
    ),
)


@cut_exercise.reference
def after_cut(masks, max_length):
    """Renvoie deux entiers : dialogues gardés, réponses entières."""
    kept = sum(bool(mask[:max_length].any()) for mask in masks)
    whole = sum(bool(mask[:max_length].sum() == mask.sum()) for mask in masks)
    return kept, whole


def _mask(before, answer, after=1):
    return np.array([False] * before + [True] * answer + [False] * after)


@cut_exercise.cases
def _(rng):
    masks = [_mask(3, 4), _mask(5, 2), _mask(8, 3), _mask(2, 9), _mask(6, 1)]
    for limit in (6, 7, 8, 20):
        yield masks, limit
    yield [_mask(*rng.integers(1, 12, 2)) for _ in range(12)], 10


@cut_exercise.trap("Vous gardez tous les dialogues : ceux où rien ne s’apprend sont écartés.")
def _(masks, max_length):
    return len(masks), after_cut(masks, max_length)[1]


@cut_exercise.trap("Le saut de ligne qui suit la réponse peut manquer : elle est entière sans lui.")
def _(masks, max_length):
    return after_cut(masks, max_length)[0], sum(len(mask) <= max_length for mask in masks)


@cut_exercise.trap("Un dialogue trop long n’est pas écarté, il est coupé.")
def _(masks, max_length):
    whole = sum(len(mask) <= max_length for mask in masks)
    return whole, whole


@cut_exercise.trap(
    "La coupe garde max_length tokens : l’indice du dernier vrai doit être plus petit."
)
def _(masks, max_length):
    kept = sum(bool(mask[: max_length + 1].any()) for mask in masks)
    return kept, sum(int(np.flatnonzero(mask)[-1]) <= max_length for mask in masks)


@cut_exercise.variant
def _(masks, max_length):
    spans = [np.flatnonzero(mask)[[0, -1]] for mask in masks]
    return (
        sum(int(first) < max_length for first, _ in spans),
        sum(int(last) < max_length for _, last in spans),
    )


steps_exercise = Exercise(
    "ex-boucles-pas",
    title="Combien de pas ?",
    level="facile",
    minutes=5,
    hints=(
        "Une époque a ⌈n / batch_size⌉ lots ; -(-a // b) est le plafond d’un quotient d’entiers.",
        "Nous arrondissons une fois, à la fin ; TRL une fois par époque.",
    ),
)


@steps_exercise.reference
def steps(n, batch_size, accumulate, epochs):
    """Renvoie (nos pas, ceux de TRL)."""
    lots = -(-n // batch_size)
    return -(-epochs * lots // accumulate), epochs * -(-lots // accumulate)


@steps_exercise.cases
def _(rng):
    yield 48, 8, 4, 3
    yield 100, 16, 1, 2
    yield 1000, 32, 8, 1
    yield 37, 5, 3, 4
    yield 64, 8, 4, 3


@steps_exercise.trap("Le dernier lot, incomplet, compte aussi : arrondissez vers le haut.")
def _(n, batch_size, accumulate, epochs):
    lots = n // batch_size
    return -(-epochs * lots // accumulate), epochs * -(-lots // accumulate)


@steps_exercise.trap("Les deux ne sont pas égaux : TRL finit chaque époque par un pas plus court.")
def _(n, batch_size, accumulate, epochs):
    ours, _ = steps(n, batch_size, accumulate, epochs)
    return ours, ours


@steps_exercise.trap("Vous comptez des lots : un pas en voit accumulate.")
def _(n, batch_size, accumulate, epochs):
    lots = -(-n // batch_size)
    return epochs * lots, epochs * lots


@steps_exercise.trap("L’ordre est (les nôtres, ceux de TRL).")
def _(n, batch_size, accumulate, epochs):
    return steps(n, batch_size, accumulate, epochs)[::-1]


@steps_exercise.variant
def _(n, batch_size, accumulate, epochs):
    lots = math.ceil(n / batch_size)
    per_epoch, rest = divmod(lots, accumulate)
    return math.ceil(lots * epochs / accumulate), epochs * (per_epoch + (rest > 0))


loop_exercise = Exercise(
    "ex-boucles-boucle",
    title="Une boucle entière",
    level="difficile",
    minutes=30,
    hints=(
        "Le gradient d’un pas est Σ Xᵀ(Xw − y) sur les lignes gardées, divisé par leur nombre.",
        "Additionnez les sommes de tous les petits lots, puis divisez une seule fois.",
        "L’ordre : gradient, norme finie ?, écrêtage, taux du pas, descente.",
    ),
)


def _fit(w, steps, rate, limit, *, means=False, masked=True, decay=True, clipped=True, stop=True):
    w = w.copy()
    for number, lots in enumerate(steps):
        sums, counts = [], []
        for X, y, mask in lots:
            keep = mask if masked else np.ones_like(mask)
            sums.append(X[keep].T @ (X[keep] @ w - y[keep]))
            counts.append(keep.sum())
        if means:
            g = np.mean([s / c for s, c in zip(sums, counts, strict=True)], axis=0)
        else:
            g = sum(sums) / sum(counts)
        norm = np.linalg.norm(g)
        if stop and not np.isfinite(norm):
            return w
        if clipped:
            g = g * min(1.0, limit / norm)
        w = w - rate * (1 - number / len(steps) if decay else 1) * g
    return w


@loop_exercise.reference
def fit(w, steps, rate, limit):
    """w : (C,) ; steps : listes de petits lots (X, y, mask) ; renvoie (C,)."""
    w = w.copy()
    for number, lots in enumerate(steps):
        total, count = np.zeros_like(w), 0
        for X, y, mask in lots:
            total += X[mask].T @ (X[mask] @ w - y[mask])
            count += mask.sum()
        g = total / count
        norm = np.linalg.norm(g)
        if not np.isfinite(norm):
            return w
        w = w - rate * (1 - number / len(steps)) * min(1.0, limit / norm) * g
    return w


@loop_exercise.cases
def _(rng):
    def lot(size, learned, scale=1.0):
        mask = np.zeros(size, dtype=bool)
        mask[rng.permutation(size)[:learned]] = True
        return rng.normal(size=(size, 3)), scale * rng.normal(size=size), mask

    def run(count, scale=1.0):
        return [[lot(6, 1, scale), lot(6, 5, scale)] for _ in range(count)]

    yield np.zeros(3), run(1), 0.1, 100.0
    yield rng.normal(size=3), run(4), 0.2, 100.0
    yield rng.normal(size=3), run(3, 20.0), 0.2, 1.0
    broken = run(4)
    X, y, mask = broken[2][1]
    broken[2][1] = X, np.where(mask, np.nan, y), mask
    yield rng.normal(size=3), broken, 0.2, 100.0


@loop_exercise.trap("C’est la moyenne des moyennes : divisez une seule fois, par le nombre total.")
def _(w, steps, rate, limit):
    return _fit(w, steps, rate, limit, means=True)


@loop_exercise.trap("Les lignes hors du masque n’entrent pas dans la perte.")
def _(w, steps, rate, limit):
    return _fit(w, steps, rate, limit, masked=False)


@loop_exercise.trap("Le taux décroît : rate * (1 - step / len(steps)).")
def _(w, steps, rate, limit):
    return _fit(w, steps, rate, limit, decay=False)


@loop_exercise.trap("Un grand gradient doit être écrêté avant la descente.")
def _(w, steps, rate, limit):
    return _fit(w, steps, rate, limit, clipped=False)


@loop_exercise.trap("Une norme qui n’est pas finie arrête la boucle avant que w ne change.")
def _(w, steps, rate, limit):
    return _fit(w, steps, rate, limit, stop=False)


@loop_exercise.variant
def _(w, steps, rate, limit):
    for number, lots in enumerate(steps):
        X, y, mask = (np.concatenate(part) for part in zip(*lots, strict=True))
        g = ((X @ w - y)[mask, None] * X[mask]).mean(0)
        norm = np.linalg.norm(g)
        if not np.isfinite(norm):
            break
        w = w - rate * (1 - number / len(steps)) * g / max(1.0, norm / limit)
    return w
