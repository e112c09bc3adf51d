"""Exercices de la section « Ranger sans mélanger »."""

import numpy as np

from llmbook.exercise import Exercise

share_exercise = Exercise(
    "ex-paquets-part",
    title="La part utile",
    level="facile",
    minutes=6,
    hints=(
        "Un lot de k exemples, dont le plus long a m positions, en occupe k × m.",
        "range(0, len(sizes), batch_size) donne le début de chaque lot.",
        "Additionnez d’abord toutes les positions, divisez une seule fois.",
    ),
)


@share_exercise.reference
def useful_share(sizes, batch_size):
    """sizes : positions de chaque exemple. Renvoie une part, entre 0 et 1."""
    lots = [sizes[i : i + batch_size] for i in range(0, len(sizes), batch_size)]
    return sum(sizes) / sum(len(lot) * max(lot) for lot in lots)


@share_exercise.cases
def _(rng):
    yield [3, 5, 2, 8], 2
    yield [10, 10, 10], 2
    yield [4, 1, 1, 1, 9], 4
    yield rng.integers(20, 200, 37).tolist(), 8


@share_exercise.trap("Vous complétez au plus long du jeu entier : chaque lot a sa propre largeur.")
def _(sizes, batch_size):
    return sum(sizes) / (len(sizes) * max(sizes))


@share_exercise.trap("Le dernier lot peut être plus petit : il n’a pas batch_size rangées.")
def _(sizes, batch_size):
    lots = [sizes[i : i + batch_size] for i in range(0, len(sizes), batch_size)]
    return sum(sizes) / sum(batch_size * max(lot) for lot in lots)


@share_exercise.trap(
    "Vous faites la moyenne des parts des lots : un lot large pèse plus, divisez les totaux."
)
def _(sizes, batch_size):
    lots = [sizes[i : i + batch_size] for i in range(0, len(sizes), batch_size)]
    return sum(sum(lot) / (len(lot) * max(lot)) for lot in lots) / len(lots)


@share_exercise.trap("Vous renvoyez la part perdue : la part utile est son complément.")
def _(sizes, batch_size):
    return 1 - useful_share(sizes, batch_size)


@share_exercise.variant
def _(sizes, batch_size):
    sizes = np.asarray(sizes)
    groups = np.arange(len(sizes)) // batch_size
    widths = np.array([sizes[groups == g].max() for g in groups])
    return sizes.mean() / widths.mean()


fit_exercise = Exercise(
    "ex-paquets-meilleur",
    title="Best-fit decreasing",
    level="moyen",
    minutes=12,
    hints=(
        "Gardez, à côté des rangées, la place qui reste dans chacune.",
        "sorted(range(len(sizes)), key=lambda k: -sizes[k]) est stable : les égaux restent en ordre.",
        "Parmi les rangées où il tient, min(…, key=lambda r: room[r]) rend la première la plus pleine.",
    ),
)


def _fit(sizes, capacity, choose, order=None):
    rows, room = [], []
    for number in order or sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        fits = [r for r in range(len(rows)) if room[r] >= sizes[number]]
        row = choose(fits, room) if fits else len(rows)
        if row == len(rows):
            rows.append([])
            room.append(capacity)
        rows[row].append(number)
        room[row] -= sizes[number]
    return rows


@fit_exercise.reference
def best_fit_decreasing(sizes, capacity):
    """Renvoie les numéros des exemples de chaque rangée : une liste de listes."""
    rows, room = [], []
    for number in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        fits = [r for r in range(len(rows)) if room[r] >= sizes[number]]
        if not fits:
            rows.append([])
            room.append(capacity)
        row = min(fits, key=lambda r: room[r]) if fits else len(rows) - 1
        rows[row].append(number)
        room[row] -= sizes[number]
    return rows


@fit_exercise.cases
def _(rng):
    yield [6, 5, 4, 3, 2], 10
    yield [3, 3, 7, 7], 10
    yield [6, 7, 3, 4, 2], 10
    yield [5, 8, 2, 2, 5], 10
    yield [4, 5, 7, 8, 1], 10
    yield [3, 8, 1, 7, 6, 3, 6, 4], 10
    yield rng.integers(10, 60, 15).tolist(), 100


@fit_exercise.trap("C’est first-fit : parmi les rangées où il tient, prenez la plus remplie.")
def _(sizes, capacity):
    return _fit(sizes, capacity, lambda fits, room: fits[0])


@fit_exercise.trap(
    "Vous prenez la rangée la plus vide : c’est worst-fit, qui gaspille les grands trous."
)
def _(sizes, capacity):
    return _fit(sizes, capacity, lambda fits, room: max(fits, key=lambda r: room[r]))


@fit_exercise.trap("Commencez par les plus longs : l’ordre du jeu laisse des trous.")
def _(sizes, capacity):
    return _fit(
        sizes,
        capacity,
        lambda f, room: min(f, key=lambda r: room[r]),
        order=list(range(len(sizes))),
    )


@fit_exercise.trap("Renvoyez les numéros des exemples, pas leurs tailles.")
def _(sizes, capacity):
    return [[int(sizes[k]) for k in row] for row in best_fit_decreasing(sizes, capacity)]


@fit_exercise.variant
def _(sizes, capacity):
    used, members = np.zeros(len(sizes), int), [[] for _ in sizes]
    opened = 0
    for number in np.argsort(-np.asarray(sizes), kind="stable"):
        after = used[:opened] + sizes[number]
        after = np.where(after > capacity, -1, after)
        row = int(after.argmax()) if opened and after.max() >= 0 else opened
        opened = max(opened, row + 1)
        used[row] += sizes[number]
        members[row].append(int(number))
    return members[:opened]


mask_exercise = Exercise(
    "ex-paquets-masque",
    title="Le masque d’une rangée",
    level="facile",
    minutes=8,
    hints=(
        "numbers[:, None] == numbers[None, :] compare toutes les paires.",
        "np.tril garde le triangle du bas : j ≤ i.",
        "Retirez les colonnes de remplissage, puis remettez leur diagonale.",
    ),
)


@mask_exercise.reference
def visible(numbers):
    """numbers : (T,), -1 au remplissage. Renvoie (T, T) booléen, vrai : i peut regarder j."""
    same = np.tril(numbers[:, None] == numbers[None, :])
    pad = numbers < 0
    return (same & ~pad[None, :]) | np.diag(pad)


@mask_exercise.cases
def _(rng):
    yield np.array([0, 0, 0, 1, 1])
    yield np.array([4, 4, 2, 2, 2, -1, -1, -1])
    yield np.array([0, 1, 2])
    yield np.array([-1, -1])


@mask_exercise.trap("Il manque la causalité : une position ne regarde pas après elle.")
def _(numbers):
    pad = numbers < 0
    return ((numbers[:, None] == numbers[None, :]) & ~pad[None, :]) | np.diag(pad)


@mask_exercise.trap(
    "Vous laissez passer d’un exemple à l’autre : les deux numéros doivent être égaux."
)
def _(numbers):
    pad = numbers < 0
    return (np.tril(np.ones((len(numbers),) * 2, bool)) & ~pad[None, :] & ~pad[:, None]) | np.diag(
        pad
    )


@mask_exercise.trap(
    "Le remplissage n’est pas un exemple : ses positions ne se regardent pas entre elles."
)
def _(numbers):
    return np.tril(numbers[:, None] == numbers[None, :])


@mask_exercise.trap(
    "Une ligne de remplissage tout à faux donne un softmax de -inf, donc des nan : laissez-lui "
    "sa diagonale."
)
def _(numbers):
    pad = numbers < 0
    return np.tril(numbers[:, None] == numbers[None, :]) & ~pad[None, :]


@mask_exercise.variant
def _(numbers):
    T = len(numbers)
    return np.array(
        [[i == j or (j < i and numbers[i] == numbers[j] >= 0) for j in range(T)] for i in range(T)],
        bool,
    )


bounds_exercise = Exercise(
    "ex-paquets-frontieres",
    title="Les frontières, pour FlashAttention",
    level="facile",
    minutes=8,
    hints=(
        "Un exemple commence là où la position vaut 0.",
        "np.flatnonzero(positions == 0) donne les débuts ; ajoutez T à la fin.",
        "np.diff des frontières donne les longueurs.",
    ),
)


@bounds_exercise.reference
def boundaries(positions):
    """positions : (T,). Renvoie (cu_seqlens (N + 1,) int32, max_seqlen int)."""
    starts = np.flatnonzero(positions == 0)
    cumulated = np.append(starts, len(positions)).astype(np.int32)
    return cumulated, int(np.diff(cumulated).max())


@bounds_exercise.cases
def _(rng):
    yield np.array([0, 1, 2, 0, 1])
    yield np.array([0, 0, 0, 1])
    yield np.arange(5)
    yield np.concatenate([np.arange(k) for k in rng.integers(1, 9, 6)])


@bounds_exercise.trap("La dernière frontière est T : sans elle, le dernier exemple n’a pas de fin.")
def _(positions):
    starts = np.flatnonzero(positions == 0).astype(np.int32)
    return starts, boundaries(positions)[1]


@bounds_exercise.trap(
    "Une position qui ne diminue pas peut commencer un exemple : après 0, un second 0 en est un."
)
def _(positions):
    starts = np.append(0, np.flatnonzero(np.diff(positions) < 0) + 1)
    cumulated = np.append(starts, len(positions)).astype(np.int32)
    return cumulated, int(np.diff(cumulated).max())


@bounds_exercise.trap("max_seqlen est une longueur : la plus grande position, plus un.")
def _(positions):
    return boundaries(positions)[0], int(positions.max())


@bounds_exercise.trap("max_seqlen est la longueur du plus long exemple, pas celle de la rangée.")
def _(positions):
    return boundaries(positions)[0], len(positions)


@bounds_exercise.variant
def _(positions):
    edges = [t for t, p in enumerate(positions) if p == 0] + [len(positions)]
    return np.array(edges, np.int32), int(positions.max()) + 1


leak_exercise = Exercise(
    "ex-paquets-fuite",
    title="Un détecteur de fuites",
    level="difficile",
    minutes=25,
    hints=(
        "Pour chaque exemple a : copiez ids, changez ses tokens, comparez les sorties.",
        "(ids + 1) % vocab_size change sûrement chaque token, sans sortir du vocabulaire.",
        "Comparez la sortie de chaque exemple b ≠ a, b ≥ 0, à celle d’avant : écart maximal.",
        "Changez tous les tokens de a : un seul pourrait ne servir à personne.",
    ),
)


@leak_exercise.reference
def leaks(forward, ids, numbers, vocab_size):
    """Paires (a, b), triées : b lit a."""
    before, found = forward(ids, numbers), []
    for a in np.unique(numbers).tolist():
        changed = ids.copy()
        changed[numbers == a] = (changed[numbers == a] + 1) % vocab_size
        gap = np.abs(forward(changed, numbers) - before).max(axis=1)  # (T,)
        for b in np.unique(numbers[numbers >= 0]).tolist():
            if b != a and gap[numbers == b].max() > 1e-6:
                found.append((a, b))
    return sorted(found)


def _model(visible):
    """Une couche d’attention uniforme sur ce que `visible` laisse voir. numbers : (T,)."""

    def forward(ids, numbers):
        T = len(ids)
        allowed = np.array([[visible(i, j, numbers) for j in range(T)] for i in range(T)], float)
        values = np.stack([np.sin(ids + 1.0), np.cos(2.0 * ids)], axis=1)
        return allowed @ values / np.maximum(allowed.sum(axis=1, keepdims=True), 1)

    return forward


@leak_exercise.cases
def _(rng):
    row = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    padded = np.array([3, 3, 1, 1, 1, -1, -1])
    before_pad = np.array([-1, -1, 0, 0, 1, 1])
    causal = _model(lambda i, j, n: j <= i)
    closed = _model(lambda i, j, n: j <= i and n[i] == n[j])
    last_only = _model(lambda i, j, n: j == i or (j == i - 1))  # ne fuit que par la frontière
    full = _model(lambda i, j, n: True)
    yield causal, rng.integers(0, 9, 8), row, 9
    yield closed, rng.integers(0, 9, 8), row, 9
    yield last_only, rng.integers(0, 9, 8), row, 9
    yield causal, rng.integers(0, 9, 7), padded, 9
    yield full, rng.integers(0, 9, 7), padded, 9
    yield causal, np.full(6, 8), before_pad, 9


@leak_exercise.trap(
    "Vous ne changez que le premier token de a : la fuite passe peut-être par un autre."
)
def _(forward, ids, numbers, vocab_size):
    before, found = forward(ids, numbers), []
    for a in np.unique(numbers).tolist():
        changed = ids.copy()
        place = int(np.flatnonzero(numbers == a)[0])
        changed[place] = (changed[place] + 1) % vocab_size
        gap = np.abs(forward(changed, numbers) - before).max(axis=1)
        found += [
            (a, b)
            for b in np.unique(numbers[numbers >= 0]).tolist()
            if b != a and gap[numbers == b].max() > 1e-6
        ]
    return sorted(found)


@leak_exercise.trap("Un exemple se lit lui-même, et c’est permis : ne gardez que a ≠ b.")
def _(forward, ids, numbers, vocab_size):
    real = np.unique(numbers[numbers >= 0]).tolist()
    return sorted(leaks(forward, ids, numbers, vocab_size) + [(a, a) for a in real])


@leak_exercise.trap("Vous inversez la paire : (a, b) veut dire que b lit a.")
def _(forward, ids, numbers, vocab_size):
    return sorted((b, a) for a, b in leaks(forward, ids, numbers, vocab_size))


@leak_exercise.trap("Le remplissage peut aussi être lu : essayez -1 pour a, et seulement pour a.")
def _(forward, ids, numbers, vocab_size):
    return [pair for pair in leaks(forward, ids, numbers, vocab_size) if pair[0] >= 0]


@leak_exercise.variant
def _(forward, ids, numbers, vocab_size):
    found = set()
    for a in set(numbers.tolist()):
        other = np.where(numbers == a, (ids + vocab_size - 1) % vocab_size, ids)
        moved = np.abs(forward(other, numbers) - forward(ids, numbers)).sum(axis=1) > 1e-6
        found |= {(a, int(b)) for b in numbers[moved] if b not in (a, -1)}
    return sorted(found)
