"""Exercices de la section « Planifier l’entraînement »."""

import math

import numpy as np

from llmbook.exercise import Exercise

tokens_exercise = Exercise(
    "ex-planification-tokens", title="Des tokens aux pas", level="facile", minutes=3,
    hints=("Un pas voit batch_size × context tokens.",
           "Un pas entamé compte : arrondissez vers le haut."))


@tokens_exercise.reference
def warmup_steps(tokens, batch_size, context):
    """Nombre de pas d’un échauffement de `tokens` tokens ; renvoie un entier."""
    return -(-tokens // (batch_size * context))


@tokens_exercise.cases
def _(rng):
    yield 8_388_608_000, 1024, 4096
    yield 1_000_000, 8, 128
    yield 1, 4, 32
    yield 10_000, 16, 64


@tokens_exercise.trap("Vous divisez par le nombre de suites : chacune contient context tokens.")
def _(tokens, batch_size, context):
    return -(-tokens // batch_size)


@tokens_exercise.trap("La division tronquée perd le pas entamé : l’échauffement serait trop court.")
def _(tokens, batch_size, context):
    return tokens // (batch_size * context)


@tokens_exercise.trap("Vous comptez un pas de trop quand la division tombe juste.")
def _(tokens, batch_size, context):
    return tokens // (batch_size * context) + 1


@tokens_exercise.trap("Vous multipliez au lieu de diviser.")
def _(tokens, batch_size, context):
    return tokens * batch_size * context


@tokens_exercise.variant
def _(tokens, batch_size, context):
    whole, rest = divmod(tokens, batch_size * context)
    return whole + (rest > 0)


wsd_exercise = Exercise(
    "ex-planification-wsd", title="Le facteur de WSD", level="facile", minutes=8,
    hints=("La descente commence au pas steps - round(decay * steps).",
           "Pendant la descente, le facteur est la part de la descente qu’il reste à faire."))


@wsd_exercise.reference
def wsd_factor(step, steps, warmup, decay):
    """Facteur du taux au pas `step` : montée de 0 à 1, plateau, ligne droite jusqu’à 0."""
    start = steps - round(decay * steps)
    if step < warmup:
        return step / warmup
    if step < start:
        return 1.0
    return (steps - step) / (steps - start)


@wsd_exercise.cases
def _(rng):
    for step in (0, 5, 10, 60, 80, 90, 99):
        yield step, 100, 10, 0.2
    yield 730, 1000, 50, 0.35
    yield 900, 1000, 50, 0.35


def _after(step, steps, warmup, shape, start):
    if step < warmup:
        return step / warmup
    return 1.0 if step < start else shape((step - start) / (steps - start))


@wsd_exercise.trap("Votre descente commence au pas decay × steps : decay est la part de la fin, "
                   "la descente commence decay × steps avant elle.")
def _(step, steps, warmup, decay):
    return _after(step, steps, warmup, lambda s: 1 - s, round(decay * steps))


@wsd_exercise.trap("Vous descendez depuis la fin de l’échauffement : c’est la planification "
                   "linéaire, il manque le plateau.")
def _(step, steps, warmup, decay):
    return _after(step, steps, warmup, lambda s: 1 - s, warmup)


@wsd_exercise.trap("La descente est un demi-cosinus ; on demande une ligne droite.")
def _(step, steps, warmup, decay):
    start = steps - round(decay * steps)
    return _after(step, steps, warmup, lambda s: (1 + math.cos(math.pi * s)) / 2, start)


@wsd_exercise.trap("La montée manque : avant warmup, le facteur est step / warmup.")
def _(step, steps, warmup, decay):
    return 1.0 if step < warmup else wsd_factor(step, steps, warmup, decay)


@wsd_exercise.trap("Vous divisez par steps la part qu’il reste : divisez par la longueur de la "
                   "descente, sinon le taux saute à son début.")
def _(step, steps, warmup, decay):
    start = steps - round(decay * steps)
    return _after(step, steps, warmup, lambda s: (steps - step) / steps, start)


@wsd_exercise.variant
def _(step, steps, warmup, decay):
    length = round(decay * steps)
    return min(1.0, step / warmup, (steps - step) / length)


branch_exercise = Exercise(
    "ex-planification-branche", title="D’où partir ?", level="moyen", minutes=10,
    hints=("La descente doit durer decay × steps pas et finir au pas steps.",
           "Le point cherché est le dernier multiple de save_every qui ne dépasse pas son début."))


@branch_exercise.reference
def branch_point(steps, decay, warmup, save_every):
    """Pas du point de reprise d’où brancher ; -1 si aucun n’est sur le plateau."""
    start = steps - round(decay * steps)
    point = start // save_every * save_every
    return point if point >= max(warmup, 1) else -1


@branch_exercise.cases
def _(rng):
    yield 1000, 0.2, 50, 100
    yield 1000, 0.25, 50, 200
    yield 5000, 0.1, 500, 1000
    yield 300, 0.5, 200, 100
    yield 100, 0.2, 10, 90
    yield 900, 0.2, 700, 100
    yield 400, 0.5, 200, 200


@branch_exercise.trap("Vous prenez le premier point après le début de la descente : partie de "
                      "là, elle serait trop courte.")
def _(steps, decay, warmup, save_every):
    start = steps - round(decay * steps)
    point = -(-start // save_every) * save_every
    return point if point >= max(warmup, 1) else -1


@branch_exercise.trap("Vous partez de la fin : le dernier point enregistré avant steps a déjà "
                      "dépassé le début de la descente.")
def _(steps, decay, warmup, save_every):
    return steps // save_every * save_every


@branch_exercise.trap("Un point pris pendant l’échauffement n’est pas sur le plateau : renvoyez -1.")
def _(steps, decay, warmup, save_every):
    return (steps - round(decay * steps)) // save_every * save_every


@branch_exercise.trap("Vous renvoyez le début de la descente : aucun point n’y a été enregistré, "
                      "sauf hasard.")
def _(steps, decay, warmup, save_every):
    start = steps - round(decay * steps)
    return start if start >= max(warmup, 1) else -1


@branch_exercise.variant
def _(steps, decay, warmup, save_every):
    saved = range(save_every, steps + 1, save_every)
    good = [s for s in saved if warmup <= s <= steps - round(decay * steps)]
    return good[-1] if good else -1


choice_exercise = Exercise(
    "ex-planification-choix", title="Lire un balayage", level="moyen", minutes=12,
    hints=("Moyenne et écart type par ligne, axis=1 ; nan se propage dans la moyenne.",
           "Le seuil est la meilleure moyenne plus l’écart type de ce même taux.",
           "Le premier taux dont la moyenne ne dépasse pas le seuil : rates est croissant."))


@choice_exercise.reference
def prudent_rate(rates, losses):
    """rates : (R,), croissants ; losses : (R, S), une colonne par graine, nan si divergé."""
    mean = np.where(np.isnan(losses).any(axis=1), np.inf, losses.mean(axis=1))
    best = mean.argmin()
    limit = mean[best] + losses[best].std(ddof=1)
    return float(rates[np.argmax(mean <= limit)])


@choice_exercise.cases
def _(rng):
    rates = np.array([1e-3, 3e-3, 1e-2, 3e-2])
    yield rates, np.array([[4.0, 4.1, 4.2], [3.5, 3.6, 3.7], [3.45, 3.55, 3.65], [3.8, 4.2, 4.6]])
    yield rates, np.array([[4.0, 4.1], [3.9, 4.0], [3.5, 3.52], [3.3, np.nan]])
    yield rates, np.array([[4.0, 4.1], [3.40, 3.44], [3.39, 3.43], [3.36, 3.42]])
    yield (np.array([1e-3, 2e-3, 4e-3, 8e-3]),
           np.array([[3.01, 3.07], [3.6, 3.9], [2.97, 3.12], [2.9, 3.08]]))
    yield rates, np.array([[3.56, 3.56], [3.56, 3.57], [3.5, 3.6], [3.47, 3.59]])
    yield rates, np.array([[3.6, 3.6], [3.564, 3.564], [3.45, 3.55], [3.9, 4.0]])


@choice_exercise.trap("Vous prenez le meilleur taux moyen : à un écart type près, un taux plus "
                      "petit fait aussi bien et risque moins.")
def _(rates, losses):
    mean = np.where(np.isnan(losses).any(axis=1), np.inf, losses.mean(axis=1))
    return float(rates[mean.argmin()])


@choice_exercise.trap("nanmean oublie les graines qui ont divergé : un taux qui diverge une fois "
                      "sur deux n’est pas un bon taux.")
def _(rates, losses):
    mean = np.nanmean(losses, axis=1)
    best = mean.argmin()
    with np.errstate(all="ignore"):
        limit = mean[best] + np.nan_to_num(np.nanstd(losses[best]))
    return float(rates[np.argmax(mean <= limit)])


@choice_exercise.trap("Vous choisissez la meilleure graine : c’est la chance que vous mesurez. "
                      "Prenez la moyenne.")
def _(rates, losses):
    filled = np.where(np.isnan(losses), np.inf, losses)
    return float(rates[filled.min(axis=1).argmin()])


@choice_exercise.trap("L’écart type d’un échantillon divise par S - 1 : ddof=1.")
def _(rates, losses):
    mean = np.where(np.isnan(losses).any(axis=1), np.inf, losses.mean(axis=1))
    best = mean.argmin()
    return float(rates[np.argmax(mean <= mean[best] + losses[best].std())])


@choice_exercise.trap("Vous renvoyez l’indice ; on demande le taux.")
def _(rates, losses):
    return float(np.flatnonzero(rates == prudent_rate(rates, losses))[0])


@choice_exercise.variant
def _(rates, losses):
    rows = [(rate, row) for rate, row in zip(rates, losses, strict=True) if not np.isnan(row).any()]
    _, best = min(rows, key=lambda pair: pair[1].sum())
    spread = math.sqrt(((best - best.mean()) ** 2).sum() / (len(best) - 1))
    return float(min(rate for rate, row in rows if row.mean() <= best.mean() + spread))


noise_exercise = Exercise(
    "ex-planification-bruit", title="Le lot critique en deux mesures", level="moyen", minutes=15,
    hints=("E‖g_B‖² = ‖G‖² + trace / B : deux tailles, deux équations, deux inconnues.",
           "Soustrayez les deux équations pour trouver la trace, puis revenez à ‖G‖².",
           "Le lot critique est trace / ‖G‖²."))


@noise_exercise.reference
def critical_batch(small, big, norm_small, norm_big):
    """norm_small, norm_big : moyennes de ‖g‖² aux lots small < big ; renvoie trace / ‖G‖²."""
    trace = (norm_small - norm_big) / (1 / small - 1 / big)
    signal = norm_big - trace / big
    return trace / signal


@noise_exercise.cases
def _(rng):
    yield 1, 16, 12.0, 3.0
    yield 4, 64, 2.5, 0.7
    for _ in range(2):
        signal, trace = rng.uniform(0.5, 2, size=2) * (1, 50)
        yield 8, 32, signal + trace / 8, signal + trace / 32


@noise_exercise.trap("La norme du grand lot contient encore du bruit, trace / big : retirez-le.")
def _(small, big, norm_small, norm_big):
    return (norm_small - norm_big) / (1 / small - 1 / big) / norm_big


@noise_exercise.trap("Vous tenez le grand lot pour le vrai gradient : corrigez par "
                     "1/small - 1/big.")
def _(small, big, norm_small, norm_big):
    return small * (norm_small - norm_big) / norm_big


@noise_exercise.trap("Vous renvoyez la trace : divisez-la par ‖G‖².")
def _(small, big, norm_small, norm_big):
    return (norm_small - norm_big) / (1 / small - 1 / big)


@noise_exercise.trap("Le rapport est inversé : c’est le bruit sur le signal.")
def _(small, big, norm_small, norm_big):
    return 1 / critical_batch(small, big, norm_small, norm_big)


@noise_exercise.variant
def _(small, big, norm_small, norm_big):
    signal, trace = np.linalg.solve([[1, 1 / small], [1, 1 / big]], [norm_small, norm_big])
    return trace / signal


pieces_exercise = Exercise(
    "ex-planification-pieces", title="Une planification en morceaux", level="difficile", minutes=30,
    hints=("Parcourez les morceaux en retirant leur longueur à step jusqu’à tomber dans le bon.",
           "Dans un morceau d’avancement s, le taux va de la fin du précédent à sa propre fin.",
           "« cosinus » remplace s par (1 - cos(π s)) / 2 ; après le dernier morceau, rien ne bouge."))


@pieces_exercise.reference
def rate_at(step, pieces):
    """pieces : liste de (pas, taux final, forme) ; part de 0 ; « droite » ou « cosinus »."""
    before = 0.0
    for length, after, shape in pieces:
        if step < length:
            s = step / length
            if shape == "cosinus":
                s = (1 - math.cos(math.pi * s)) / 2
            return before + (after - before) * s
        step, before = step - length, after
    return before


_LIKE_DEEPSEEK = [(2, 2.2e-4, "droite"), (10, 2.2e-4, "droite"), (4, 2.2e-5, "cosinus"),
                  (1, 2.2e-5, "droite")]


@pieces_exercise.cases
def _(rng):
    for step in (0, 1, 2, 7, 13, 14, 16, 30):
        yield step, _LIKE_DEEPSEEK
    yield 25, [(10, 1.0, "droite"), (40, 0.2, "cosinus")]
    yield 31, [(10, 1.0, "droite"), (40, 0.5, "droite")]
    yield 4, [(10, 1.0, "cosinus")]


def _pieces(step, pieces, ease=None, keep_step=False, from_zero=False, tail=True):
    before = 0.0
    for length, after, shape in pieces:
        if step < length:
            s = step / length
            if shape == "cosinus":
                s = ease(s) if ease else (1 - math.cos(math.pi * s)) / 2
            return before + (after - before) * s
        step = step if keep_step else step - length
        before = 0.0 if from_zero else after
    return before if tail else 0.0


@pieces_exercise.trap("Retirez à step la longueur des morceaux déjà passés : votre avancement est "
                      "compté depuis le début de l’entraînement.")
def _(step, pieces):
    return _pieces(step, pieces, keep_step=True)


@pieces_exercise.trap("Chaque morceau part de la fin du précédent, pas de zéro.")
def _(step, pieces):
    return _pieces(step, pieces, from_zero=True)


@pieces_exercise.trap("Votre cosinus va à l’envers : l’avancement corrigé est (1 - cos(π s)) / 2.")
def _(step, pieces):
    return _pieces(step, pieces, ease=lambda s: (1 + math.cos(math.pi * s)) / 2)


@pieces_exercise.trap("La forme « cosinus » est traitée comme une droite.")
def _(step, pieces):
    return _pieces(step, pieces, ease=lambda s: s)


@pieces_exercise.trap("Après le dernier morceau, le taux reste à sa valeur finale ; le vôtre "
                      "tombe à zéro.")
def _(step, pieces):
    return _pieces(step, pieces, tail=False)


@pieces_exercise.variant
def _(step, pieces):
    ends = np.cumsum([0] + [length for length, _, _ in pieces])
    values = [0.0] + [after for _, after, _ in pieces]
    k = int(np.searchsorted(ends, step, side="right")) - 1
    if k >= len(pieces):
        return values[-1]
    s = (step - ends[k]) / pieces[k][0]
    if pieces[k][2] == "cosinus":
        s = math.sin(math.pi * s / 2) ** 2
    return (1 - s) * values[k] + s * values[k + 1]
