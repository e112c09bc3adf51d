"""Exercices de la section « Lire un vrai journal d’entraînement »."""

import numpy as np

from llmbook.exercise import Exercise

epochs_exercise = Exercise(
    "ex-journal-epoques", title="À quelle relecture ?", level="facile", minutes=4,
    hints=("Un pas lit batch_size × context tokens.",
           "Le nombre de passages est le nombre de tokens lus divisé par celui du corpus."))


@epochs_exercise.reference
def epochs(step, batch_size, context, unique):
    """Nombre de passages sur le corpus après `step` pas : un réel."""
    return step * batch_size * context / unique


@epochs_exercise.cases
def _(rng):
    yield 7000, 64, 1024, 61_455_172
    yield 500, 8, 256, 2_000_000
    yield 10, 4, 64, 25_600


@epochs_exercise.trap("C’est le nombre de tokens lus ; divisez-le par la taille du corpus.")
def _(step, batch_size, context, unique):
    return step * batch_size * context


@epochs_exercise.trap("Un lot est fait de batch_size suites de context tokens : il manque context.")
def _(step, batch_size, context, unique):
    return step * batch_size / unique


@epochs_exercise.trap("C’est l’inverse : la part du corpus que vaut un token lu. Les tokens lus sont au "
                      "numérateur.")
def _(step, batch_size, context, unique):
    return unique / (step * batch_size * context)


@epochs_exercise.trap("On demande un réel : au milieu d’un passage, le nombre n’est pas entier. "
                      "Divisez par / et non par //.")
def _(step, batch_size, context, unique):
    return step * batch_size * context // unique


@epochs_exercise.trap("C’est le nombre de pas d’un passage ; on demande le nombre de passages.")
def _(step, batch_size, context, unique):
    return unique / (batch_size * context)


@epochs_exercise.variant
def _(step, batch_size, context, unique):
    steps_per_epoch = unique / (batch_size * context)
    return step / steps_per_epoch


pauses_exercise = Exercise(
    "ex-journal-pauses", title="Le temps que le journal tait", level="facile", minutes=8,
    hints=("Une ligne couvre les tokens lus depuis la ligne précédente : np.diff, précédé de 0.",
           "Sa durée est ce nombre de tokens divisé par son débit."))


@pauses_exercise.reference
def silent_seconds(tokens, rates, total):
    """tokens, rates : (n,), tokens cumulés et débit de chaque ligne ; total : secondes."""
    return total - (np.diff(tokens, prepend=0) / rates).sum()


@pauses_exercise.cases
def _(rng):
    yield np.array([100.0, 200.0, 300.0]), np.array([10.0, 50.0, 50.0]), 16.0
    gaps = rng.integers(50, 100, size=6).astype(float)
    yield np.cumsum(gaps), rng.uniform(5, 9, size=6), 120.0


@pauses_exercise.trap("tokens est cumulé depuis le début : chaque ligne ne couvre que la différence avec "
                      "la précédente.")
def _(tokens, rates, total):
    return total - (tokens / rates).sum()


@pauses_exercise.trap("Moyenner les débits ne donne pas le temps : un intervalle lent dure plus longtemps. "
                      "Additionnez les durées.")
def _(tokens, rates, total):
    return total - tokens[-1] / rates.mean()


@pauses_exercise.trap("La première ligne est oubliée : np.diff seul commence à la deuxième. Donnez-lui "
                      "prepend=0.")
def _(tokens, rates, total):
    return total - (np.diff(tokens) / rates[1:]).sum()


@pauses_exercise.trap("C’est le temps passé à apprendre ; on demande le reste.")
def _(tokens, rates, total):
    return (np.diff(tokens, prepend=0) / rates).sum()


@pauses_exercise.trap("Une durée est un nombre de tokens divisé par un débit, non multiplié.")
def _(tokens, rates, total):
    return total - (np.diff(tokens, prepend=0) * rates).sum()


@pauses_exercise.variant
def _(tokens, rates, total):
    before = 0.0
    for seen, rate in zip(tokens, rates, strict=True):
        total -= (seen - before) / rate
        before = seen
    return total


paired_exercise = Exercise(
    "ex-journal-apparie", title="Deux courses, les mêmes lots", level="moyen", minutes=12,
    hints=("Le bruit du lot est commun : il disparaît de la différence, ligne à ligne.",
           "Incertitude de la moyenne de n différences : leur écart type (ddof=1) sur la racine de n."))


@paired_exercise.reference
def paired_gap(a, b):
    """a, b : (n,), pertes aux mêmes pas ; renvoie (écart moyen a - b, son erreur type)."""
    gaps = a - b
    return gaps.mean(), gaps.std(ddof=1) / np.sqrt(len(gaps))


@paired_exercise.cases
def _(rng):
    yield np.array([2.0, 3.0, 2.5]), np.array([1.9, 2.8, 2.5])
    common = rng.normal(size=12)
    yield 2 + common + 0.1 * rng.normal(size=12), 1.8 + common + 0.1 * rng.normal(size=12)


@paired_exercise.trap("Vous traitez les deux courses comme indépendantes : elles ont lu les mêmes lots. "
                      "Faites d’abord la différence, puis son écart type.")
def _(a, b):
    return a.mean() - b.mean(), np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))


@paired_exercise.trap("C’est l’écart type d’une différence ; celui de leur moyenne est √n fois plus petit.")
def _(a, b):
    return (a - b).mean(), (a - b).std(ddof=1)


@paired_exercise.trap("Vous divisez par n : l’erreur type décroît comme la racine de n.")
def _(a, b):
    return (a - b).mean(), (a - b).std(ddof=1) / len(a)


@paired_exercise.trap("std divise par n par défaut : un écart type estimé demande ddof=1.")
def _(a, b):
    return (a - b).mean(), (a - b).std() / np.sqrt(len(a))


@paired_exercise.trap("Le signe est inversé : on demande a - b.")
def _(a, b):
    return (b - a).mean(), (a - b).std(ddof=1) / np.sqrt(len(a))


@paired_exercise.variant
def _(a, b):
    n = len(a)
    mean = float(np.sum(a) - np.sum(b)) / n
    covariance = np.cov(a, b)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return mean, (variance / n) ** 0.5


jump_exercise = Exercise(
    "ex-journal-marche", title="La marche d’un passage", level="moyen", minutes=15,
    hints=("Deux droites, par np.polyfit(steps, loss, 1) : une de chaque côté de la frontière.",
           "Les points retenus : boundary - width < step <= boundary, et "
           "boundary < step <= boundary + width.",
           "La marche est la droite de gauche moins celle de droite, toutes deux à la frontière."))


def _sides(steps, loss, boundary, width):
    left = (steps > boundary - width) & (steps <= boundary)
    right = (steps > boundary) & (steps <= boundary + width)
    return left, right


@jump_exercise.reference
def jump(steps, loss, boundary, width):
    """Baisse de la perte à la frontière, pente des deux côtés retirée. steps, loss : (n,)."""
    left = (steps > boundary - width) & (steps <= boundary)
    right = (steps > boundary) & (steps <= boundary + width)
    before = np.polyval(np.polyfit(steps[left], loss[left], 1), boundary)
    after = np.polyval(np.polyfit(steps[right], loss[right], 1), boundary)
    return before - after


@jump_exercise.cases
def _(rng):
    steps = np.arange(20, 2001, 20)
    yield steps, 3 - 0.001 * steps - 0.2 * (steps > 1010), 1010.0, 300.0
    noisy = 2 - 0.0003 * steps - 0.08 * (steps > 938) + 0.01 * rng.normal(size=len(steps))
    yield steps, noisy, 938.0, 250.0
    yield steps, 2.5 - 0.0005 * steps, 1400.0, 200.0


@jump_exercise.trap("La perte baissait déjà : une différence de moyennes compte aussi la pente. Ajustez "
                    "une droite de chaque côté, et comparez-les à la frontière.")
def _(steps, loss, boundary, width):
    left, right = _sides(steps, loss, boundary, width)
    return loss[left].mean() - loss[right].mean()


@jump_exercise.trap("Une seule droite traverse la frontière : elle ne peut pas y sauter. Il en faut deux.")
def _(steps, loss, boundary, width):
    left, right = _sides(steps, loss, boundary, width)
    line = np.polyfit(steps[left | right], loss[left | right], 1)
    return float(np.mean(loss[left] - np.polyval(line, steps[left])))


@jump_exercise.trap("Le signe est inversé : une baisse de la perte est une marche positive.")
def _(steps, loss, boundary, width):
    return -jump(steps, loss, boundary, width)


@jump_exercise.trap("La différence de deux points voisins porte tout le bruit de leurs lots : ajustez une "
                    "droite sur la largeur width de chaque côté.")
def _(steps, loss, boundary, width):
    left, right = _sides(steps, loss, boundary, width)
    return loss[left][-1] - loss[right][0]


@jump_exercise.trap("La droite de gauche est lue au dernier point de gauche, celle de droite au premier de "
                    "droite : lisez les deux à la frontière même.")
def _(steps, loss, boundary, width):
    left, right = _sides(steps, loss, boundary, width)
    before = np.polyval(np.polyfit(steps[left], loss[left], 1), steps[left][-1])
    after = np.polyval(np.polyfit(steps[right], loss[right], 1), steps[right][0])
    return before - after


@jump_exercise.variant
def _(steps, loss, boundary, width):
    near = np.abs(steps - boundary) <= width
    near &= steps != boundary - width
    x, y = steps[near] - boundary, loss[near]
    after = (x > 0).astype(float)
    design = np.stack([np.ones_like(x), after, x * (1 - after), x * after], axis=1)
    return -np.linalg.lstsq(design, y, rcond=None)[0][1]


slowdown_exercise = Exercise(
    "ex-journal-ralentit", title="Un débit qui s’effondre", level="moyen", minutes=12,
    hints=("Le temps d’un pas est tokens_per_step / rates.",
           "Ajustez-y une droite : np.polyfit(steps, seconds, 1) donne la pente, puis l’ordonnée.",
           "Le temps d’un pas a doublé quand la pente fois le pas vaut l’ordonnée."))


@slowdown_exercise.reference
def doubling_step(steps, rates, tokens_per_step):
    """Pas où un pas dure deux fois plus qu’au pas 0, si sa durée croît en ligne droite."""
    slope, intercept = np.polyfit(steps, tokens_per_step / rates, 1)
    return intercept / slope


@slowdown_exercise.cases
def _(rng):
    steps = np.arange(0.0, 1000.0, 50.0)
    yield steps, 4096 / (0.02 + 1e-4 * steps), 4096
    yield steps, 512 / (0.5 + 2e-3 * steps + 0.01 * rng.normal(size=len(steps))), 512


@slowdown_exercise.trap("C’est le débit qui est ajusté : il décroît comme 1 / (a + b n), qui n’est pas une "
                        "droite. Ajustez le temps d’un pas.")
def _(steps, rates, tokens_per_step):
    slope, intercept = np.polyfit(steps, rates, 1)
    return -intercept / (2 * slope)


@slowdown_exercise.trap("polyfit donne la pente d’abord, puis l’ordonnée : le pas cherché est "
                        "ordonnée / pente.")
def _(steps, rates, tokens_per_step):
    slope, intercept = np.polyfit(steps, tokens_per_step / rates, 1)
    return slope / intercept


@slowdown_exercise.trap("2 a / b est le pas où la durée a triplé : a + b n = 2 a donne n = a / b.")
def _(steps, rates, tokens_per_step):
    slope, intercept = np.polyfit(steps, tokens_per_step / rates, 1)
    return 2 * intercept / slope


@slowdown_exercise.trap("La durée au pas 0 est l’ordonnée de la droite ; la première mesure seule porte "
                        "tout son bruit.")
def _(steps, rates, tokens_per_step):
    seconds = tokens_per_step / rates
    return seconds[0] / np.polyfit(steps, seconds, 1)[0]


@slowdown_exercise.variant
def _(steps, rates, tokens_per_step):
    seconds = 1 / np.asarray(rates)
    centred = steps - steps.mean()
    slope = (centred * seconds).sum() / (centred**2).sum()
    return seconds.mean() / slope - steps.mean()


ring_exercise = Exercise(
    "ex-journal-anneau", title="La somme en anneau", level="difficile", minutes=40,
    hints=("Coupez le vecteur de chacun en G morceaux : np.split. Travaillez sur une copie.",
           "Tour t de la première moitié (0 à G - 2) : r envoie son morceau (r - t) % G à (r + 1) % G, "
           "qui l’ajoute au sien.",
           "Après elle, r possède la somme complète du morceau (r + 1) % G.",
           "Tour t de la seconde : r envoie son morceau (r + 1 - t) % G, que le voisin recopie.",
           "Tous envoient en même temps : lisez tous les envois d’un tour avant d’en écrire un."))


def _ring(vectors, scatter=True, gather=True, add=True):
    G = len(vectors)
    parts = [np.split(v.astype(float), G) for v in vectors]
    sent = np.zeros(G)
    phases = [(0, True)] * scatter + [(1, False)] * gather
    for shift, summing in phases:
        for t in range(G - 1):
            moving = [((r + shift - t) % G, parts[r][(r + shift - t) % G].copy()) for r in range(G)]
            for r, (k, piece) in enumerate(moving):
                to = (r + 1) % G
                parts[to][k] = parts[to][k] + piece if summing and add else piece
                sent[r] += piece.size
    return np.stack([np.concatenate(p) for p in parts]), sent


@ring_exercise.reference
def ring_all_reduce(vectors):
    """vectors : (G, n), G divise n ; renvoie (les G sommes (G, n), nombres envoyés par chacun (G,))."""
    G = len(vectors)
    parts = [list(np.split(v.astype(float), G)) for v in vectors]
    sent = np.zeros(G)
    for shift, summing in ((0, True), (1, False)):          # sommer par morceaux, puis distribuer
        for t in range(G - 1):
            moving = [(r + shift - t) % G for r in range(G)]
            pieces = [parts[r][k].copy() for r, k in enumerate(moving)]
            for r, (k, piece) in enumerate(zip(moving, pieces, strict=True)):
                neighbour = parts[(r + 1) % G]
                neighbour[k] = neighbour[k] + piece if summing else piece
                sent[r] += piece.size
    return np.stack([np.concatenate(p) for p in parts]), sent


@ring_exercise.cases
def _(rng):
    yield (np.array([[1.0, 2.0], [10.0, 20.0]]),)
    yield (rng.normal(size=(3, 6)),)
    yield (rng.normal(size=(4, 8)),)


@ring_exercise.trap("Chacun reçoit tous les vecteurs entiers : la somme est juste, mais chacun envoie "
                    "(G - 1) n nombres. L’anneau n’en envoie que 2 (G - 1) n / G.")
def _(vectors):
    G, n = vectors.shape
    return np.tile(vectors.sum(axis=0), (G, 1)), np.full(G, (G - 1) * n)


@ring_exercise.trap("Il manque la seconde moitié : chacun n’a la somme complète que d’un morceau sur G. "
                    "Faites encore G - 1 tours, où l’on recopie.")
def _(vectors):
    return _ring(vectors, gather=False)


@ring_exercise.trap("La première moitié recopie au lieu d’ajouter : les morceaux ne se somment pas.")
def _(vectors):
    return _ring(vectors, add=False)


@ring_exercise.trap("C’est la moyenne ; on demande la somme (DDP la divise ensuite par G).")
def _(vectors):
    total, sent = _ring(vectors)
    return total / len(vectors), sent


@ring_exercise.trap("Il n’y a que G - 1 tours par moitié : au G-ième, un morceau revient chez son "
                    "propriétaire et serait compté deux fois. Vérifiez le nombre d’envois.")
def _(vectors):
    total, sent = _ring(vectors)
    return total, sent / (len(vectors) - 1) * len(vectors)


@ring_exercise.trap("Le second résultat compte les nombres envoyés par chacun, non les messages.")
def _(vectors):
    total, sent = _ring(vectors)
    return total, np.full(len(vectors), 2.0 * (len(vectors) - 1))


@ring_exercise.variant
def _(vectors):
    """Un tableau (G, G, n / G), et des rotations d’indices."""
    G, n = vectors.shape
    parts, rank = vectors.astype(float).reshape(G, G, n // G).copy(), np.arange(G)
    for t in range(2 * (G - 1)):
        k = (rank - t) % G if t < G - 1 else (rank + 1 - (t - G + 1)) % G
        pieces, to = parts[rank, k].copy(), (rank + 1) % G
        parts[to, k] = parts[to, k] + pieces if t < G - 1 else pieces
    return parts.reshape(G, n), np.full(G, 2 * (G - 1) * (n // G))
