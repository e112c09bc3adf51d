"""Exercices de la section « Ce que la perte regarde »."""

import numpy as np

from llmbook.exercise import Exercise

targets_exercise = Exercise(
    "ex-masques-cibles",
    title="Les cibles",
    level="facile",
    minutes=6,
    hints=(
        "La cible de la position t est ids[t + 1].",
        "Elle compte si mask[t + 1] est vrai : np.where(mask[1:], …, -100).",
    ),
)


@targets_exercise.reference
def make_targets(ids, mask):
    """ids, mask : (n,) ; renvoie (n - 1,)."""
    return np.where(mask[1:], ids[1:], -100)


@targets_exercise.cases
def _(rng):
    yield np.array([2, 7, 8, 3, 9]), np.array([False, False, True, True, False])
    yield np.array([2, 5, 3, 9, 2, 6, 3, 9]), np.array([0, 0, 0, 0, 0, 1, 1, 0], dtype=bool)
    yield rng.integers(4, 50, 12), rng.random(12) < 0.5
    yield np.array([4, 5]), np.array([True, True])


@targets_exercise.trap(
    "Le masque se décale avec les tokens : c’est celui du token prédit qui compte."
)
def _(ids, mask):
    return np.where(mask[:-1], ids[1:], -100)


@targets_exercise.trap(
    "La cible est le token suivant : vous demandez de recopier celui qui est lu."
)
def _(ids, mask):
    return np.where(mask[:-1], ids[:-1], -100)


@targets_exercise.trap("Ce qui ne s’apprend pas vaut -100, pas 0 : 0 est un token.")
def _(ids, mask):
    return np.where(mask[1:], ids[1:], 0)


@targets_exercise.trap("Un exemple de n tokens donne n - 1 cibles : retirez la première.")
def _(ids, mask):
    return np.where(mask, ids, -100)


@targets_exercise.trap(
    "Vous masquez l’inverse : les positions du masque sont celles qui s’apprennent."
)
def _(ids, mask):
    return np.where(mask[1:], -100, ids[1:])


@targets_exercise.variant
def _(ids, mask):
    return np.array([ids[t + 1] if mask[t + 1] else -100 for t in range(len(ids) - 1)])


last_exercise = Exercise(
    "ex-masques-derniere",
    title="Seulement la dernière réponse",
    level="facile",
    minutes=8,
    hints=(
        "Le dernier vrai est la fin de la dernière réponse.",
        "Son début suit le dernier faux qui précède ce dernier vrai.",
    ),
)


@last_exercise.reference
def last_answer(mask):
    """mask : (n,) bool ; renvoie un nouveau masque (n,)."""
    last = np.flatnonzero(mask)[-1]
    before = np.flatnonzero(~mask[:last])
    first = before[-1] + 1 if len(before) else 0
    place = np.arange(len(mask))
    return (place >= first) & (place <= last)


def _runs(text):
    return np.array([letter == "1" for letter in text])


@last_exercise.cases
def _(rng):
    yield (_runs("0001110001100"),)
    yield (_runs("00011100"),)
    yield (_runs("0010010001111"),)
    yield (_runs("0110010"),)


@last_exercise.trap("Vous gardez toutes les réponses.")
def _(mask):
    return mask.copy()


@last_exercise.trap("Vous ne gardez que le dernier token : remontez au début de la réponse.")
def _(mask):
    return np.arange(len(mask)) == np.flatnonzero(mask)[-1]


@last_exercise.trap("Vous gardez la première réponse.")
def _(mask):
    return last_answer(mask[::-1])[::-1]


@last_exercise.trap("Le dernier token de la réponse, sa marque de fin, doit rester vrai.")
def _(mask):
    found = last_answer(mask)
    found[np.flatnonzero(found)[-1]] = False
    return found


@last_exercise.trap("Après la réponse, rien ne s’apprend : votre masque va trop loin.")
def _(mask):
    return np.arange(len(mask)) >= np.flatnonzero(last_answer(mask))[0]


@last_exercise.variant
def _(mask):
    found, inside, done = np.zeros(len(mask), dtype=bool), False, False
    for i in range(len(mask) - 1, -1, -1):
        if mask[i] and not done:
            found[i] = inside = True
        elif inside:
            done = True
    return found


mean_exercise = Exercise(
    "ex-masques-moyenne",
    title="La moyenne juste",
    level="moyen",
    minutes=10,
    hints=(
        "Gardez deux sommes : celle des pertes apprises, celle de leurs nombres.",
        "Une seule division, à la fin.",
    ),
)


@mean_exercise.reference
def step_loss(lots):
    """lots : [(losses (T,), targets (T,))] ; renvoie un nombre."""
    total = sum(losses[targets != -100].sum() for losses, targets in lots)
    return float(total / sum((targets != -100).sum() for _, targets in lots))


@mean_exercise.cases
def _(rng):
    def lot(size, learned):
        targets = np.full(size, -100)
        targets[rng.permutation(size)[:learned]] = rng.integers(0, 50, learned)
        return rng.uniform(0, 5, size), targets

    yield ([lot(6, 1), lot(6, 5)],)
    yield ([lot(4, 2), lot(9, 9), lot(5, 1)],)
    yield ([lot(5, 3), lot(5, 0), lot(8, 2)],)
    yield ([lot(7, 4)],)


@mean_exercise.trap("C’est la moyenne des moyennes : un token d’une réponse courte y pèse trop.")
def _(lots):
    means = [x[t != -100].mean() for x, t in lots if (t != -100).any()]
    return float(np.mean(means))


@mean_exercise.trap("Vous comptez aussi les positions qui ne s’apprennent pas.")
def _(lots):
    return float(np.concatenate([losses for losses, _ in lots]).mean())


@mean_exercise.trap("Divisez par le nombre de tokens appris, pas par celui des positions.")
def _(lots):
    total = sum(x[t != -100].sum() for x, t in lots)
    return float(total / sum(len(x) for x, _ in lots))


@mean_exercise.trap("C’est une somme : divisez-la par le nombre de tokens appris.")
def _(lots):
    return float(sum(x[t != -100].sum() for x, t in lots))


@mean_exercise.variant
def _(lots):
    losses = np.concatenate([x for x, _ in lots])
    targets = np.concatenate([t for _, t in lots])
    return float(np.average(losses, weights=targets >= 0))


cards_exercise = Exercise(
    "ex-masques-cartes",
    title="Plusieurs cartes",
    level="difficile",
    minutes=15,
    hints=(
        "Sans cartes, le facteur du petit lot est n divisé par le total du pas.",
        "La moyenne entre cartes divise tout par W : il faut la compenser.",
        "Le total est celui de toutes les cartes, pas de la sienne : il faut se le communiquer.",
    ),
)


@cards_exercise.reference
def loss_factors(counts):
    """counts : (W, K) ; renvoie (W, K)."""
    return counts * len(counts) / counts.sum()


@cards_exercise.cases
def _(rng):
    yield (np.array([[3, 5], [1, 11]]),)
    yield (rng.integers(1, 100, size=(4, 3)),)
    yield (np.array([[7, 2, 9]]),)
    yield (rng.integers(0, 20, size=(3, 2)) + np.eye(3, 2, dtype=int),)


@cards_exercise.trap("Les gradients des cartes sont moyennés : multipliez par leur nombre W.")
def _(counts):
    return counts / counts.sum()


@cards_exercise.trap(
    "Le total est celui de toutes les cartes : avec le sien, chacune pèserait autant."
)
def _(counts):
    return counts / counts.sum(axis=1, keepdims=True)


@cards_exercise.trap("C’est la moyenne des moyennes : les petits lots n’ont pas le même poids.")
def _(counts):
    return np.full(counts.shape, 1 / counts.shape[1])


@cards_exercise.trap("Le nombre à compenser est celui des cartes, W, pas celui des petits lots, K.")
def _(counts):
    return counts * counts.shape[1] / counts.sum()


@cards_exercise.variant
def _(counts):
    mean_per_card = counts.sum() / counts.shape[0]
    return np.array([[n / mean_per_card for n in row] for row in counts])


bug_exercise = Exercise(
    "ex-masques-bogue",
    title="Trouver le bogue",
    level="difficile",
    minutes=25,
    hints=(
        "Les positions apprises sont celles où targets n’est pas -100.",
        "Comparez-les à mask[1:], et leurs valeurs à ids[1:].",
        "Une marque de fin de l’assistant : ids[1:] == end et mask[1:] vrai.",
    ),
)


@bug_exercise.reference
def diagnose(ids, targets, mask, end):
    """Renvoie « décalage », « question », « fin », « trou » ou « juste »."""
    learned, wanted, following = targets != -100, mask[1:], ids[1:]
    missing = wanted & ~learned
    if (targets[learned] != following[learned]).any():
        return "décalage"
    if (learned & ~wanted).any():
        return "question"
    if (missing & (following == end)).any():
        return "fin"
    return "trou" if missing.any() else "juste"


_IDS = np.array([2, 7, 10, 11, 3, 9, 2, 8, 20, 21, 22, 3, 9, 2, 7, 12, 3, 9, 2, 8, 23, 3, 9])
_MASK = np.array([0] * 8 + [1] * 4 + [0] * 8 + [1] * 2 + [0], dtype=bool)


def _good():
    return np.where(_MASK[1:], _IDS[1:], -100)


@bug_exercise.cases
def _(rng):
    good = _good()
    yield _IDS, good, _MASK, 3
    without_end = np.where(_IDS[1:] == 3, -100, good)
    yield _IDS, without_end, _MASK, 3
    one_end = good.copy()
    one_end[20] = -100
    yield _IDS, one_end, _MASK, 3
    yield _IDS, _IDS[1:].copy(), _MASK, 3
    hole = good.copy()
    hole[8] = -100
    yield _IDS, hole, _MASK, 3
    twice = np.append(good[1:], -100)
    yield _IDS, twice, _MASK, 3
    late = np.where(_MASK[:-1], _IDS[1:], -100)
    yield _IDS, late, _MASK, 3
    user_end = good.copy()
    user_end[3] = 3
    yield _IDS, user_end, _MASK, 3


def _order(ids, targets, mask, end, names):
    learned, wanted, following = targets != -100, mask[1:], ids[1:]
    missing = wanted & ~learned
    tests = {
        "décalage": (targets[learned] != following[learned]).any(),
        "question": (learned & ~wanted).any(),
        "fin": (missing & (following == end)).any(),
        "trou": missing.any(),
    }
    return next((name for name in names if tests[name]), "juste")


@bug_exercise.trap("Vérifiez aussi les valeurs : une cible apprise doit être le token qui suit.")
def _(ids, targets, mask, end):
    return _order(ids, targets, mask, end, ("question", "fin", "trou"))


@bug_exercise.trap("Une marque de fin manquante est « fin », pas « trou » : cherchez-la d’abord.")
def _(ids, targets, mask, end):
    return _order(ids, targets, mask, end, ("décalage", "question", "trou"))


@bug_exercise.trap("Une seule marque de fin oubliée suffit : cherchez-les toutes.")
def _(ids, targets, mask, end):
    seen = (targets == end).any()
    found = diagnose(ids, targets, mask, end)
    return "juste" if found == "fin" and seen else found


@bug_exercise.trap(
    "Ce qui s’apprend hors du masque compte aussi, marques de l’utilisateur comprises."
)
def _(ids, targets, mask, end):
    return _order(ids, targets, mask, end, ("décalage", "fin", "trou"))


@bug_exercise.trap("Comparez à mask[1:] : le masque est celui des tokens prédits.")
def _(ids, targets, mask, end):
    return _order(
        ids, targets, np.append(False, mask[:-1]), end, ("décalage", "question", "fin", "trou")
    )


@bug_exercise.variant
def _(ids, targets, mask, end):
    kinds = set()
    for t, target in enumerate(targets):
        if target != -100 and target != ids[t + 1]:
            kinds.add("décalage")
        if target != -100 and not mask[t + 1]:
            kinds.add("question")
        if target == -100 and mask[t + 1]:
            kinds.add("fin" if ids[t + 1] == end else "trou")
    return next((k for k in ("décalage", "question", "fin", "trou") if k in kinds), "juste")
