"""Exercices de la section « Quatre bits par poids »."""

from statistics import NormalDist

import numpy as np

from llmbook.exercise import Exercise

bits_exercise = Exercise(
    "ex-nf4-bits",
    title="Le vrai nombre de bits",
    level="facile",
    minutes=4,
    hints=(
        "Une échelle est partagée par block poids : divisez ses bits par block.",
        "Une échelle d’échelles est partagée par block × group poids.",
    ),
)


@bits_exercise.reference
def bits_per_weight(code_bits, block, scale_bits, group):
    """Bits par poids, échelles comprises."""
    bits = code_bits + scale_bits / block
    return bits + 32 / (block * group) if group else bits


@bits_exercise.cases
def _(rng):
    yield 4, 64, 32, 0
    yield 4, 64, 8, 256
    yield 4, 32, 8, 0
    yield 3, 128, 16, 64


@bits_exercise.trap("Les échelles manquent : elles se stockent aussi.")
def _(code_bits, block, scale_bits, group):
    return float(code_bits)


@bits_exercise.trap("Une échelle d’échelles couvre group blocs, soit block × group poids.")
def _(code_bits, block, scale_bits, group):
    bits = code_bits + scale_bits / block
    return bits + 32 / group if group else bits


@bits_exercise.trap("Vous comptez une échelle par poids : divisez par block.")
def _(code_bits, block, scale_bits, group):
    return code_bits + scale_bits + (32 / group if group else 0)


@bits_exercise.trap("Les échelles d’échelles manquent : 32 bits de plus par groupe.")
def _(code_bits, block, scale_bits, group):
    return code_bits + scale_bits / block


@bits_exercise.variant
def _(code_bits, block, scale_bits, group):
    n = block * max(group, 1)
    total = n * code_bits + n // block * scale_bits + (32 if group else 0)
    return total / n


pack_exercise = Exercise(
    "ex-nf4-ranger",
    title="Deux par octet",
    level="facile",
    minutes=8,
    hints=(
        "Complétez d’abord d’un 0 si n est impair.",
        "codes[0::2] sont les premiers de chaque paire ; un décalage de 4 bits multiplie par 16.",
        "Convertissez en uint8 avant de rendre : 16 × 15 + 15 = 255 y tient tout juste.",
    ),
)


@pack_exercise.reference
def pack(codes):
    """codes : (n,), de 0 à 15 ; renvoie (⌈n / 2⌉,) uint8."""
    padded = np.zeros(len(codes) + len(codes) % 2, dtype=np.uint8)
    padded[: len(codes)] = codes
    return padded[0::2] << 4 | padded[1::2]


@pack_exercise.cases
def _(rng):
    yield (np.array([1, 2, 3, 4]),)
    yield (np.array([15, 15, 0, 9, 7]),)
    yield (rng.integers(0, 16, 64),)
    yield (np.array([11]),)


@pack_exercise.trap("Les quartets sont inversés : le premier va dans les bits de poids fort.")
def _(codes):
    padded = np.append(codes, 0)[: len(codes) + len(codes) % 2].astype(np.uint8)
    return padded[1::2] << 4 | padded[0::2]


@pack_exercise.trap("Le dernier code est perdu quand n est impair : complétez d’un 0.")
def _(codes):
    codes = codes.astype(np.uint8)
    n = len(codes) // 2 * 2
    return codes[0:n:2] << 4 | codes[1:n:2]


@pack_exercise.trap("Vous ajoutez les deux codes sans décaler le premier : on ne saurait plus les "
                    "séparer.")  # fmt: skip
def _(codes):
    padded = np.append(codes, 0)[: len(codes) + len(codes) % 2].astype(np.uint8)
    return padded[0::2] + padded[1::2]


@pack_exercise.trap("Vous appariez la première moitié avec la seconde ; deux voisins partagent un "
                    "octet.")  # fmt: skip
def _(codes):
    padded = np.append(codes, 0)[: len(codes) + len(codes) % 2].astype(np.uint8)
    half = len(padded) // 2
    return padded[:half] << 4 | padded[half:]


@pack_exercise.variant
def _(codes):
    values = [*map(int, codes), 0]
    found = [16 * values[i] + values[i + 1] for i in range(0, len(codes), 2)]
    return np.array(found, dtype=np.uint8)


restore_exercise = Exercise(
    "ex-nf4-retrouver",
    title="Retrouver les poids",
    level="moyen",
    minutes=12,
    hints=(
        "packed >> 4 et packed & 15 donnent les deux numéros ; np.stack(…, axis=1).ravel() les "
        "remet à la suite.",
        "levels[codes] lit le niveau de chaque numéro.",
        "np.repeat(absmax, block)[:n] donne son échelle à chaque poids.",
    ),
)


@restore_exercise.reference
def restore(packed, absmax, levels, block, n):
    """Les n poids : le niveau de chaque code, fois l’échelle de son bloc."""
    codes = np.stack([packed >> 4, packed & 15], axis=1).ravel()[:n]
    return levels[codes] * np.repeat(absmax, block)[:n]


_LEVELS = np.array([-1, -0.7, -0.53, -0.39, -0.28, -0.18, -0.09, 0,
                    0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1])  # fmt: skip


@restore_exercise.cases
def _(rng):
    yield np.array([0xF0, 0x7A], np.uint8), np.array([2.0]), _LEVELS, 4, 4
    yield rng.integers(0, 256, 8).astype(np.uint8), np.array([1.0, 0.5]), _LEVELS, 8, 16
    yield rng.integers(0, 256, 5).astype(np.uint8), np.array([3.0, 0.1, 7.0]), _LEVELS, 4, 9


@restore_exercise.trap(
    "Les quartets sont inversés : les bits de poids fort portent le premier poids."
)
def _(packed, absmax, levels, block, n):
    codes = np.stack([packed & 15, packed >> 4], axis=1).ravel()[:n]
    return levels[codes] * np.repeat(absmax, block)[:n]


@restore_exercise.trap("Vous rendez les niveaux, entre -1 et 1 : il reste à multiplier par absmax.")
def _(packed, absmax, levels, block, n):
    codes = np.stack([packed >> 4, packed & 15], axis=1).ravel()[:n]
    return levels[codes]


@restore_exercise.trap("np.tile répète la liste des échelles ; chaque échelle sert à block poids de "
                       "suite : np.repeat.")  # fmt: skip
def _(packed, absmax, levels, block, n):
    codes = np.stack([packed >> 4, packed & 15], axis=1).ravel()[:n]
    return levels[codes] * np.tile(absmax, block * 2)[:n]


@restore_exercise.trap(
    "Vous mettez tous les premiers de paire, puis tous les seconds : entrelacez."
)
def _(packed, absmax, levels, block, n):
    codes = np.concatenate([packed >> 4, packed & 15])[:n]
    return levels[codes] * np.repeat(absmax, block)[:n]


@restore_exercise.variant
def _(packed, absmax, levels, block, n):
    out = np.empty(n)
    for i in range(n):
        high, low = divmod(int(packed[i // 2]), 16)
        out[i] = levels[low if i % 2 else high] * absmax[i // block]
    return out


levels_exercise = Exercise(
    "ex-nf4-niveaux",
    title="NormalFloat à n bits",
    level="moyen",
    minutes=15,
    hints=(
        "2^(n-1) niveaux positifs, 2^(n-1) - 1 négatifs, et un zéro.",
        "np.linspace(delta, 0.5, m + 1)[:-1] donne m probabilités, de delta à presque 1/2.",
        "Rangez, puis divisez par le plus grand.",
    ),
)


@levels_exercise.reference
def normal_levels(n, inverse):
    """Les 2^n niveaux rangés, de -1 à 1 ; inverse : Φ⁻¹, d’un nombre à la fois."""
    half = 2 ** (n - 1)
    delta = 1 - (1 / (2 * 2**n) + 1 / (2 * (2**n - 1))) / 2
    above = [inverse(p) for p in np.linspace(delta, 0.5, half + 1)[:-1]]
    below = [-inverse(p) for p in np.linspace(delta, 0.5, half)[:-1]]
    levels = np.array(sorted([*below, 0.0, *above]))
    return levels / levels.max()


@levels_exercise.cases
def _(rng):
    inverse = NormalDist().inv_cdf
    yield 4, inverse
    yield 3, inverse
    yield 5, inverse
    yield 4, lambda p: 2 * p - 1


def _build(n, inverse, up, down, zero=(0.0,), scale=True):
    delta = 1 - (1 / (2 * 2**n) + 1 / (2 * (2**n - 1))) / 2
    above = [inverse(p) for p in np.linspace(delta, 0.5, up + 1)[:-1]]
    below = [-inverse(p) for p in np.linspace(delta, 0.5, down + 1)[:-1]]
    levels = np.array(sorted([*below, *zero, *above]))
    return levels / levels.max() if scale else levels


@levels_exercise.trap("Autant de niveaux des deux côtés, et le zéro manque : il en faut un exact.")
def _(n, inverse):
    return _build(n, inverse, 2 ** (n - 1), 2 ** (n - 1), zero=())


@levels_exercise.trap(
    "L’asymétrie est à l’envers : c’est du côté positif qu’il y a un niveau de plus."
)
def _(n, inverse):
    return _build(n, inverse, 2 ** (n - 1) - 1, 2 ** (n - 1))


@levels_exercise.trap("Vous ne divisez pas par le plus grand : les niveaux vont de -1 à 1.")
def _(n, inverse):
    return _build(n, inverse, 2 ** (n - 1), 2 ** (n - 1) - 1, scale=False)


@levels_exercise.trap("Des niveaux réguliers : ce sont les probabilités qui le sont, passez-les à "
                      "inverse.")  # fmt: skip
def _(n, inverse):
    half = 2 ** (n - 1)
    return np.concatenate([np.linspace(-1, 0, half)[:-1], np.linspace(0, 1, half + 1)])


@levels_exercise.variant
def _(n, inverse):
    half = 2 ** (n - 1)
    delta = 1 - (1 / (2 * 2**n) + 1 / (2 * (2**n - 1))) / 2
    top = inverse(delta)
    above = [inverse(0.5 + j * (delta - 0.5) / half) / top for j in range(1, half + 1)]
    below = [-inverse(0.5 + j * (delta - 0.5) / (half - 1)) / top for j in range(half - 1, 0, -1)]
    return np.array([*below, 0.0, *above])


lloyd_exercise = Exercise(
    "ex-nf4-lloyd",
    title="Un code pour vos poids",
    level="difficile",
    minutes=30,
    hints=(
        "np.searchsorted(seuils, x), avec les milieux de deux niveaux pour seuils, donne le plus "
        "proche.",
        "np.bincount(codes, weights=…, minlength=K) fait les deux sommes.",
        "Remplacez seulement les niveaux dont la somme des importances est positive, puis remettez "
        "le premier, le dernier et le zéro.",
    ),
)


@lloyd_exercise.reference
def lloyd_step(x, weight, levels):
    """Un tour de Lloyd ; le premier, le dernier, le zéro et les niveaux vides restent."""
    codes = np.searchsorted((levels[:-1] + levels[1:]) / 2, x)
    total = np.bincount(codes, weights=weight, minlength=len(levels))
    moment = np.bincount(codes, weights=weight * x, minlength=len(levels))
    moves = (total > 0) & (levels != 0)
    moves[[0, -1]] = False
    return np.where(moves, moment / np.where(total > 0, total, 1), levels)


@lloyd_exercise.cases
def _(rng):
    levels = np.array([-1, -0.5, 0, 0.3, 0.6, 1.0])
    x = np.clip(rng.normal(0, 0.4, 200), -1, 1)
    yield x, np.ones(200), levels
    yield x, rng.uniform(0.1, 3, 200), levels
    yield np.array([-0.9, 0.05, 0.1, 0.95, 0.55]), np.array([1.0, 2.0, 1.0, 1.0, 4.0]), levels
    yield np.array([0.28, 0.4, -0.6]), np.array([1.0, 3.0, 1.0]), levels


def _means(x, weight, levels, frozen, keep_empty=True):
    codes = np.searchsorted((levels[:-1] + levels[1:]) / 2, x)
    total = np.bincount(codes, weights=weight, minlength=len(levels))
    moment = np.bincount(codes, weights=weight * x, minlength=len(levels))
    found = np.where(total > 0, moment / np.where(total > 0, total, 1), levels if keep_empty else 0)
    found[frozen] = levels[frozen]
    return found


@lloyd_exercise.trap("Vous oubliez les importances : la moyenne doit être pondérée par weight.")
def _(x, weight, levels):
    return _means(x, np.ones(len(x)), levels, (levels == 0) | (np.abs(levels) == 1))


@lloyd_exercise.trap("Le zéro a bougé : il doit rester exact.")
def _(x, weight, levels):
    return _means(x, weight, levels, np.abs(levels) == 1)


@lloyd_exercise.trap("Les extrémités ont bougé : le plus grand poids d’un bloc ne serait plus rendu "
                     "exactement.")  # fmt: skip
def _(x, weight, levels):
    return _means(x, weight, levels, levels == 0)


@lloyd_exercise.trap("Un niveau qui n’a reçu personne reste où il est ; le vôtre tombe à zéro.")
def _(x, weight, levels):
    frozen = (levels == 0) | (np.abs(levels) == 1)
    return _means(x, weight, levels, frozen, keep_empty=False)


@lloyd_exercise.variant
def _(x, weight, levels):
    codes = np.abs(x[:, None] - levels).argmin(axis=1)
    found = levels.astype(float).copy()
    for k in range(1, len(levels) - 1):
        mine = codes == k
        if levels[k] != 0 and mine.any():
            found[k] = np.average(x[mine], weights=weight[mine])
    return found
