"""Exercices de la section « Un assistant français, de bout en bout »."""

import math

from llmbook.exercise import Exercise

steps_exercise = Exercise(
    "ex-assistant-pas",
    title="Combien de pas",
    level="facile",
    minutes=6,
    hints=(
        "Une époque compte ceil(n / batch) lots.",
        "Les lots de toutes les époques se suivent ; un pas en prend `accumulate`.",
    ),
)


@steps_exercise.reference
def total_steps(n, batch, accumulate, epochs):
    """Pas en tout, entier."""
    return math.ceil(epochs * math.ceil(n / batch) / accumulate)


@steps_exercise.cases
def _(rng):
    yield 6746, 32, 1, 16
    yield 4938, 1, 16, 3
    yield 10, 4, 2, 1
    yield 100, 8, 3, 2
    yield 64, 8, 4, 1


@steps_exercise.trap(
    "Le dernier lot d’une époque, incomplet, compte aussi : arrondissez vers le haut."
)
def _(n, batch, accumulate, epochs):
    return math.ceil(epochs * (n // batch) / accumulate)


@steps_exercise.trap("Un pas prend `accumulate` lots : divisez.")
def _(n, batch, accumulate, epochs):
    return epochs * math.ceil(n / batch)


@steps_exercise.trap("Le dernier pas peut être incomplet : arrondissez vers le haut.")
def _(n, batch, accumulate, epochs):
    return epochs * math.ceil(n / batch) // accumulate


@steps_exercise.trap(
    "Un pas peut finir une époque et commencer la suivante : arrondissez à la fin."
)
def _(n, batch, accumulate, epochs):
    return epochs * math.ceil(math.ceil(n / batch) / accumulate)


@steps_exercise.trap("Les époques manquent : multipliez.")
def _(n, batch, accumulate, epochs):
    return math.ceil(math.ceil(n / batch) / accumulate)


@steps_exercise.variant
def _(n, batch, accumulate, epochs):
    lots = epochs * ((n + batch - 1) // batch)
    return -(-lots // accumulate)


stop_exercise = Exercise(
    "ex-assistant-arret",
    title="Couper à la fin",
    level="facile",
    minutes=6,
    hints=(
        "Parcourez ids avec enumerate, et rendez ids[:i] au premier token de stops.",
        "Si la boucle finit, rien n’a arrêté le modèle.",
    ),
)


@stop_exercise.reference
def cut(ids, stops):
    """(tokens avant le premier arrêt, vrai s’il y en a un)."""
    for i, token in enumerate(ids):
        if token in stops:
            return list(ids[:i]), True
    return list(ids), False


@stop_exercise.cases
def _(rng):
    yield [7, 8, 3, 9], {3, 0}
    yield [7, 8, 9], {3, 0}
    yield [5, 0, 6, 3], {3, 0}
    yield [3, 4], {3}
    yield [4, 6, 3, 7, 3], {3}
    yield [], {3}


@stop_exercise.trap("Le token d’arrêt ne fait pas partie du texte.")
def _(ids, stops):
    for i, token in enumerate(ids):
        if token in stops:
            return list(ids[: i + 1]), True
    return list(ids), False


@stop_exercise.trap("Coupez au premier arrêt, quel qu’il soit, pas au dernier.")
def _(ids, stops):
    for i in range(len(ids) - 1, -1, -1):
        if ids[i] in stops:
            return list(ids[:i]), True
    return list(ids), False


@stop_exercise.trap("Retirer les tokens d’arrêt ne suffit pas : ce qui suit le premier part aussi.")
def _(ids, stops):
    return [t for t in ids if t not in stops], any(t in stops for t in ids)


@stop_exercise.trap("Une suite sans arrêt n’est pas finie : la longueur l’a coupée.")
def _(ids, stops):
    return cut(ids, stops)[0], True


@stop_exercise.variant
def _(ids, stops):
    places = [i for i, token in enumerate(ids) if token in stops]
    return (list(ids[: places[0]]), True) if places else (list(ids), False)


shares_exercise = Exercise(
    "ex-assistant-poids",
    title="Ce que pèse chaque jeu",
    level="facile",
    minutes=8,
    hints=(
        "Le poids d’un jeu est la somme de ses tokens appris, fois ses répétitions.",
        "Divisez par la somme des poids.",
    ),
)


@shares_exercise.reference
def learned_shares(sets, repeats):
    """Nom de jeu -> part des tokens appris d’une époque."""
    weights = {name: repeats[name] * sum(sizes) for name, sizes in sets.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


@shares_exercise.cases
def _(rng):
    yield {"composes": [10, 12, 8], "dialogues": [90]}, {"composes": 1, "dialogues": 3}
    yield {"a": [5] * 20, "b": [40, 60], "c": [7]}, {"a": 1, "b": 2, "c": 10}
    yield {"a": [3, 9], "b": [4, 1, 1]}, {"a": 2, "b": 1}


@shares_exercise.trap("Vous comptez des exemples : ce sont leurs tokens appris qui pèsent.")
def _(sets, repeats):
    weights = {name: repeats[name] * len(sizes) for name, sizes in sets.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


@shares_exercise.trap("Les répétitions manquent.")
def _(sets, repeats):
    return learned_shares(sets, dict.fromkeys(sets, 1))


@shares_exercise.trap("Une part se divise par le total : vos valeurs n’ont pas 1 pour somme.")
def _(sets, repeats):
    return {name: float(repeats[name] * sum(sizes)) for name, sizes in sets.items()}


@shares_exercise.trap("C’est la longueur moyenne d’un exemple : il faut la somme.")
def _(sets, repeats):
    weights = {name: repeats[name] * sum(sizes) / len(sizes) for name, sizes in sets.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


@shares_exercise.variant
def _(sets, repeats):
    epoch = [(name, n) for name, sizes in sets.items() for n in sizes * repeats[name]]
    total = sum(n for _, n in epoch)
    return {name: sum(n for key, n in epoch if key == name) / total for name in sets}


history_exercise = Exercise(
    "ex-assistant-historique",
    title="Une conversation trop longue",
    level="difficile",
    minutes=25,
    hints=(
        "Mettez de côté le message system et sa taille, puis partez de la fin.",
        "Remontez tant que la somme tient ; gardez toujours le dernier message.",
        "Si le premier gardé est de l’assistant, retirez-le : il répond à une question absente.",
    ),
)


def _kept(messages, sizes, limit, system=True, count_system=True, pair=True):
    first = int(messages[0]["role"] == "system")
    room = limit - (sizes[0] if first and count_system else 0)
    start = len(messages) - 1
    room -= sizes[start]
    while start > first and sizes[start - 1] <= room:
        start -= 1
        room -= sizes[start]
    if pair and messages[start]["role"] == "assistant":
        start += 1
    head = [0] if first and system else []
    return head + list(range(start, len(messages)))


@history_exercise.reference
def kept_messages(messages, sizes, limit):
    """Numéros des messages gardés, dans l’ordre."""
    first = int(messages[0]["role"] == "system")
    start = len(messages) - 1
    room = limit - sum(sizes[:first]) - sizes[start]
    while start > first and sizes[start - 1] <= room:
        start -= 1
        room -= sizes[start]
    if messages[start]["role"] == "assistant":
        start += 1
    return list(range(first)) + list(range(start, len(messages)))


def _talk(turns, system):
    roles = ["system"] * system + ["user", "assistant"] * turns + ["user"]
    return [{"role": role, "content": f"message {i}"} for i, role in enumerate(roles)]


@history_exercise.cases
def _(rng):
    yield _talk(2, True), [20, 10, 30, 10, 30, 10], 1000
    yield _talk(2, True), [20, 10, 30, 10, 30, 10], 70
    yield _talk(2, True), [20, 10, 30, 10, 30, 10], 65
    yield _talk(3, False), [10, 30, 10, 30, 10, 30, 10], 85
    yield _talk(3, False), [10, 30, 10, 30, 10, 30, 10], 95
    yield _talk(1, True), [50, 10, 30, 40], 45
    yield _talk(2, False), [5, 5, 5, 100, 5], 50
    yield _talk(0, False), [12], 10


@history_exercise.trap("Le message system porte la consigne : il se garde toujours.")
def _(messages, sizes, limit):
    return _kept(messages, sizes, limit, system=False)


@history_exercise.trap("Le message system occupe aussi de la place : comptez-le.")
def _(messages, sizes, limit):
    return _kept(messages, sizes, limit, count_system=False)


@history_exercise.trap("Le premier tour gardé doit être de l’utilisateur : une réponse sans sa question "
                       "n’est pas un dialogue.")  # fmt: skip
def _(messages, sizes, limit):
    return _kept(messages, sizes, limit, pair=False)


@history_exercise.trap("Gardez les derniers messages, pas les premiers : la question est à la fin.")
def _(messages, sizes, limit):
    kept, room = [], limit
    for i, size in enumerate(sizes):
        if size > room:
            break
        kept.append(i)
        room -= size
    return kept


@history_exercise.trap("Pas de trou : un message trop long arrête la remontée.")
def _(messages, sizes, limit):
    first = int(messages[0]["role"] == "system")
    room = limit - sum(sizes[:first]) - sizes[-1]
    kept = [len(messages) - 1]
    for i in range(len(messages) - 2, first - 1, -1):
        if sizes[i] <= room:
            kept.insert(0, i)
            room -= sizes[i]
    if messages[kept[0]]["role"] == "assistant":
        kept.pop(0)
    return list(range(first)) + kept


@history_exercise.variant
def _(messages, sizes, limit):
    first = int(messages[0]["role"] == "system")
    last = len(messages) - 1
    for start in range(first, last, 2):  # les tours user, du plus ancien au plus récent
        if sum(sizes[:first]) + sum(sizes[start:]) <= limit:
            return list(range(first)) + list(range(start, last + 1))
    return list(range(first)) + [last]
