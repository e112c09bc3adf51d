"""Exercices de la section « Précision, mémoire, vitesse »."""

import numpy as np

from llmbook.exercise import Exercise

spacing_exercise = Exercise(
    "ex-precision-ecart", title="L’écart au voisin", level="facile", minutes=5,
    hints=("Entre 2^k et 2^(k+1), les 2^M nombres sont à égale distance.",
           "k est la partie entière du logarithme en base 2 de |x|."))


@spacing_exercise.reference
def spacing(x, M):
    """Écart entre x et le nombre suivant, en s’éloignant de zéro."""
    return 2.0 ** (np.floor(np.log2(abs(x))) - M)


@spacing_exercise.cases
def _(rng):
    yield 1.0, 7
    yield 0.02, 7
    yield -300.0, 10
    yield 1.999, 23
    yield 5e-5, 3


@spacing_exercise.trap("Votre écart est proportionnel à x : il est le même pour tous les nombres d’une "
                       "puissance de deux à la suivante.")
def _(x, M):
    return 2.0**-M * abs(x)


@spacing_exercise.trap("C’est l’écart à 1 ; il double à chaque puissance de deux : ajoutez l’exposant "
                       "de x.")
def _(x, M):
    return 2.0**-M


@spacing_exercise.trap("C’est la moitié de l’écart, l’erreur d’arrondi la plus grande : l’exposant est "
                       "k - M.")
def _(x, M):
    return 2.0 ** (np.floor(np.log2(abs(x))) - M - 1)


@spacing_exercise.trap("L’exposant s’arrondit vers le bas : entre 2^k et 2^(k+1), c’est k, avec floor.")
def _(x, M):
    return 2.0 ** (np.round(np.log2(abs(x))) - M)


@spacing_exercise.variant
def _(x, M):
    return np.ldexp(1.0, int(np.frexp(x)[1]) - 1 - M)


days_exercise = Exercise(
    "ex-precision-facture", title="La facture", level="facile", minutes=8,
    hints=("Six opérations par paramètre et par token ; huit avec recalcul.",
           "Divisez par ce que toutes les cartes font en une seconde, puis par 86 400."))


@days_exercise.reference
def days(N, D, cards, peak, mfu, recompute):
    """Jours d’entraînement."""
    operations = (8 if recompute else 6) * N * D
    return operations / (cards * peak * mfu) / 86_400


@days_exercise.cases
def _(rng):
    yield 405e9, 15.6e12, 16_384, 989e12, 0.4, False
    yield 8e9, 1e12, 64, 989e12, 0.35, True
    yield 26e6, 5e9, 1, 100e9, 0.5, False


@days_exercise.trap("2 N D ne compte que la passe avant : l’arrière en fait deux fois plus.")
def _(N, D, cards, peak, mfu, recompute):
    return (4 if recompute else 2) * N * D / (cards * peak * mfu) / 86_400


@days_exercise.trap("Il manque le recalcul : huit opérations au lieu de six quand recompute est vrai.")
def _(N, D, cards, peak, mfu, recompute):
    return days(N, D, cards, peak, mfu, False)


@days_exercise.trap("Le taux d’utilisation est du mauvais côté : une machine moins bien employée met "
                    "plus de temps.")
def _(N, D, cards, peak, mfu, recompute):
    return days(N, D, cards, peak, 1 / mfu, recompute)


@days_exercise.trap("Ce sont des heures : divisez par 86 400 secondes par jour.")
def _(N, D, cards, peak, mfu, recompute):
    return 24 * days(N, D, cards, peak, mfu, recompute)


@days_exercise.trap("Ce sont des jours de carte : les cartes travaillent ensemble, divisez par leur "
                    "nombre.")
def _(N, D, cards, peak, mfu, recompute):
    return cards * days(N, D, cards, peak, mfu, recompute)


@days_exercise.variant
def _(N, D, cards, peak, mfu, recompute):
    per_day = cards * peak * mfu * 3600 * 24
    return N * D * (2 + 4 + 2 * bool(recompute)) / per_day


scale_exercise = Exercise(
    "ex-precision-echelle", title="L’échelle dynamique", level="moyen", minutes=15,
    hints=("Notez l’échelle avant de savoir si le pas a débordé : c’est elle qu’il a employée.",
           "Deux variables : l’échelle, et le nombre de bons pas depuis le dernier changement."))


@scale_exercise.reference
def loss_scales(finite, start, patience):
    """Échelle employée à chaque pas."""
    scale, good, used = start, 0, []
    for ok in finite:
        used.append(scale)
        good = good + 1 if ok else 0
        if not ok:
            scale /= 2
        elif good == patience:
            scale, good = 2 * scale, 0
    return used


@scale_exercise.cases
def _(rng):
    yield [True, True, True, True, True], 8.0, 2
    yield [True, False, True, True, True, False, False, True], 1024.0, 3
    yield [True] * 3 + [False] + [True] * 7, 4.0, 4
    yield [bool(b) for b in rng.random(40) < 0.8], 65536.0, 3


def _scales(finite, start, patience, *, before=True, reset=True, restart=True):
    scale, good, used = start, 0, []
    for ok in finite:
        if before:
            used.append(scale)
        if ok:
            good += 1
            if good == patience or (not restart and good > patience):
                scale *= 2
                good = 0 if restart else good
        else:
            scale /= 2
            good = 0 if reset else good
        if not before:
            used.append(scale)
    return used


@scale_exercise.trap("Vous notez l’échelle après la mise à jour : c’est celle du pas suivant.")
def _(finite, start, patience):
    return _scales(finite, start, patience, before=False)


@scale_exercise.trap("Un débordement doit remettre à zéro le compte des bons pas : ils ne sont plus de "
                     "suite.")
def _(finite, start, patience):
    return _scales(finite, start, patience, reset=False)


@scale_exercise.trap("Après avoir doublé, le compte repart de zéro ; le vôtre double à chaque pas.")
def _(finite, start, patience):
    return _scales(finite, start, patience, restart=False)


@scale_exercise.trap("Votre échelle ne remonte jamais : elle doit doubler après patience bons pas.")
def _(finite, start, patience):
    return _scales(finite, start, len(finite) + 1)


@scale_exercise.trap("L’échelle ne redescend pas : un pas non fini la divise par deux.")
def _(finite, start, patience):
    used, scale, good = [], start, 0
    for ok in finite:
        used.append(scale)
        good = good + 1 if ok else 0
        if good == patience:
            scale, good = 2 * scale, 0
    return used


@scale_exercise.variant
def _(finite, start, patience):
    exponent, streak, used = 0, 0, []
    for ok in finite:
        used.append(start * 2.0**exponent)
        streak = (streak + 1) * ok
        exponent += -1 if not ok else streak // patience
        streak %= patience
    return used


zero_exercise = Exercise(
    "ex-precision-zero", title="Des octets par carte", level="moyen", minutes=10,
    hints=("Chaque poste est soit entier, soit divisé par cards.",
           "Le niveau 1 divise les états, le 2 aussi les gradients, le 3 aussi les poids."))


@zero_exercise.reference
def bytes_per_card(N, cards, stage, state_bytes):
    """Octets par carte, au niveau `stage` de ZeRO."""
    weights = 2 / (cards if stage >= 3 else 1)
    gradients = 2 / (cards if stage >= 2 else 1)
    states = state_bytes / (cards if stage >= 1 else 1)
    return N * (weights + gradients + states)


@zero_exercise.cases
def _(rng):
    for stage in range(4):
        yield 7.5e9, 64, stage, 12
    yield 1e9, 8, 2, 8
    yield 405e9, 1024, 3, 12


@zero_exercise.trap("Vous divisez tout dès le niveau 1 : il ne partage que les états.")
def _(N, cards, stage, state_bytes):
    return N * (4 + state_bytes) / (cards if stage else 1)


@zero_exercise.trap("Les niveaux s’ajoutent : le 2 partage les gradients et les états.")
def _(N, cards, stage, state_bytes):
    parts = [state_bytes, 2, 2]
    return N * sum(part / (cards if stage == i + 1 else 1) for i, part in enumerate(parts))


@zero_exercise.trap("L’ordre est celui du gain : les états d’abord, puis les gradients, puis les poids. "
                    "Vous commencez par les poids.")
def _(N, cards, stage, state_bytes):
    parts = [2, 2, state_bytes]
    return N * sum(part / (cards if stage > i else 1) for i, part in enumerate(parts))


@zero_exercise.trap("Vous avez fixé douze octets d’états : prenez state_bytes, qui dépend de "
                    "l’optimiseur.")
def _(N, cards, stage, state_bytes):
    return bytes_per_card(N, cards, stage, 12)


@zero_exercise.trap("Poids et gradients sont ici sur deux octets : vous les comptez sur quatre.")
def _(N, cards, stage, state_bytes):
    parts = [state_bytes, 4, 4]
    return N * sum(part / (cards if stage > i else 1) for i, part in enumerate(parts))


@zero_exercise.variant
def _(N, cards, stage, state_bytes):
    parts = np.array([state_bytes, 2, 2])
    shared = np.arange(3) < stage
    return float(N * (parts[~shared].sum() + parts[shared].sum() / cards))


stochastic_exercise = Exercise(
    "ex-precision-stochastique", title="Arrondir au hasard", level="moyen", minutes=20,
    hints=("Divisez x par l’écart entre voisins : les nombres représentables deviennent les entiers.",
           "np.trunc va vers zéro ; le reste, en valeur absolue, est la part du chemin.",
           "Ajoutez le signe de x là où u est inférieur au reste."))


@stochastic_exercise.reference
def stochastic_round(x, u, M):
    """x, u : (n,) ; renvoie (n,), des nombres du format."""
    step = 2.0 ** (np.floor(np.log2(np.abs(x))) - M)
    units = x / step
    low = np.trunc(units)
    away = u < np.abs(units - low)
    return (low + np.sign(x) * away) * step


@stochastic_exercise.cases
def _(rng):
    yield np.array([1.001, -1.001, 1.5]), np.array([0.1, 0.1, 0.0]), 7
    yield rng.normal(size=40), rng.random(40), 7
    yield rng.normal(size=40) * 1e-3, rng.random(40), 2
    yield np.array([1.0, -2.0, 0.75]), np.zeros(3), 3


def _units(x, M):
    step = 2.0 ** (np.floor(np.log2(np.abs(x))) - M)
    return x / step, step


@stochastic_exercise.trap("Pour un nombre négatif, floor s’éloigne de zéro : prenez trunc, puis ajoutez "
                          "le signe.")
def _(x, u, M):
    units, step = _units(x, M)
    return (np.floor(units) + (u < units - np.floor(units))) * step


@stochastic_exercise.trap("La probabilité est renversée : plus x est près du voisin éloigné, plus "
                          "celui-ci doit être choisi.")
def _(x, u, M):
    units, step = _units(x, M)
    low = np.trunc(units)
    away = (u >= np.abs(units - low)) & (units != low)
    return (low + np.sign(x) * away) * step


@stochastic_exercise.trap("C’est l’arrondi au plus proche : u ne sert pas.")
def _(x, u, M):
    units, step = _units(x, M)
    return np.round(units) * step


@stochastic_exercise.trap("Vous tirez à pile ou face : la probabilité doit être la part du chemin, et "
                          "non un demi.")
def _(x, u, M):
    units, step = _units(x, M)
    low = np.trunc(units)
    return (low + np.sign(x) * ((u < 0.5) & (units != low))) * step


@stochastic_exercise.trap("L’écart dépend de la grandeur de x : vous employez celui des nombres entre "
                          "1 et 2.")
def _(x, u, M):
    units, step = x * 2.0**M, 2.0**-M
    low = np.trunc(units)
    return (low + np.sign(x) * (u < np.abs(units - low))) * step


@stochastic_exercise.variant
def _(x, u, M):
    mantissa, exponent = np.frexp(np.abs(x))            # dans [0,5, 1[
    units = np.ldexp(mantissa, M + 1)
    whole = np.floor(units)
    chosen = np.where(u < units - whole, whole + 1, whole)
    return np.copysign(np.ldexp(chosen, exponent - M - 1), x)


round_exercise = Exercise(
    "ex-precision-arrondir", title="Votre propre float8", level="difficile", minutes=40,
    hints=("Comme pour l’arrondi stochastique : divisez par l’écart, arrondissez, remultipliez.",
           "np.round arrondit les demis au pair.",
           "Sous 2^(1-b), l’exposant ne descend plus : bornez-le par le bas avec np.maximum.",
           "Traitez x = 0 avant le logarithme, et finissez par np.clip."))


@round_exercise.reference
def round_to(x, E, M):
    """x : (n,) ; renvoie (n,), les nombres du format les plus proches."""
    bias = 2 ** (E - 1) - 1
    size = np.where(x == 0, 1.0, np.abs(x))
    exponent = np.maximum(np.floor(np.log2(size)), 1 - bias)
    step = 2.0 ** (exponent - M)
    largest = 2.0**bias * (2 - 2.0**-M)
    return np.clip(np.round(x / step) * step, -largest, largest)


@round_exercise.cases
def _(rng):
    yield np.array([0.1, 1.0, -3.14159, 1000.0]), 5, 2
    yield rng.normal(size=30), 5, 10
    yield np.array([0.0, 1e-5, -3e-5, 2e-6, 6e-8, 1e-9]), 5, 10
    yield np.array([1.125, 1.375, -1.125, 2.25, 2.75]), 5, 2
    yield np.array([1e6, -70_000.0, 65_504.0, 5e4]), 5, 10
    yield np.exp2(rng.uniform(-9, 7, 40)) * rng.choice([-1, 1], 40), 4, 3


def _round(x, E, M, *, low=None, rounding=np.round, clip=True, shift=0, largest=None):
    bias = 2 ** (E - 1) - 1 + shift
    size = np.where(x == 0, 1.0, np.abs(x))
    exponent = np.floor(np.log2(size))
    exponent = np.maximum(exponent, 1 - bias if low is None else low)
    step = 2.0 ** (exponent - M)
    largest = 2.0**bias * (2 - 2.0**-M) if largest is None else largest
    y = rounding(x / step) * step
    return np.clip(y, -largest, largest) if clip else y


@round_exercise.trap("Les sous-normaux manquent : sous 2^(1-b), l’écart ne diminue plus.")
def _(x, E, M):
    return _round(x, E, M, low=-1074)


@round_exercise.trap("Vous effacez les sous-normaux : entre zéro et 2^(1-b), il reste 2^M - 1 nombres.")
def _(x, E, M):
    y = _round(x, E, M)
    return np.where(np.abs(y) < 2.0 ** (2 - 2 ** (E - 1)), 0.0, y)


@round_exercise.trap("Les demis vont au pair, non toujours vers le haut : np.round le fait.")
def _(x, E, M):
    return _round(x, E, M, rounding=lambda r: np.sign(r) * np.floor(np.abs(r) + 0.5))


@round_exercise.trap("Vous tronquez : il faut le plus proche, non le voisin vers zéro.")
def _(x, E, M):
    return _round(x, E, M, rounding=np.trunc)


@round_exercise.trap("Au-delà du plus grand nombre fini, il faut saturer (np.clip).")
def _(x, E, M):
    return _round(x, E, M, clip=False)


@round_exercise.trap("Le plus grand nombre est 2^b (2 - 2^-M), et non 2^b : la fraction est pleine.")
def _(x, E, M):
    return _round(x, E, M, largest=2.0 ** (2 ** (E - 1) - 1))


@round_exercise.trap("Le décalage est 2^(E-1) - 1, et non 2^(E-1).")
def _(x, E, M):
    return _round(x, E, M, shift=1)


@round_exercise.variant
def _(x, E, M):
    """La table de tous les nombres finis et positifs, puis le plus proche, de code pair à égalité."""
    bias, code = 2 ** (E - 1) - 1, np.arange((2**E - 1) * 2**M)
    exponent, fraction = code >> M, code % 2**M / 2**M
    table = np.where(exponent > 0, 2.0 ** (exponent - bias) * (1 + fraction),
                     2.0 ** (1 - bias) * fraction)
    size = np.minimum(np.abs(x), table[-1])
    above = np.minimum(np.searchsorted(table, size), len(table) - 1)
    below = np.maximum(above - 1, 0)
    up, down = table[above] - size, size - table[below]
    chosen = np.where((up < down) | ((up == down) & (above % 2 == 0)), above, below)
    return np.copysign(table[chosen], x)
