"""Exercices de la section « Le modèle écrit dans la page »."""

import hashlib

import numpy as np

from llmbook.exercise import Exercise

bf16 = Exercise(
    "ex-navigateur-bf16", title="Seize bits de plus", level="facile", minutes=5,
    hints=("Un float32 dont les seize derniers bits sont nuls.",
           "Passez d’abord en entiers de 32 bits : décaler un uint16 de seize rangs donne zéro.",
           "`.view(np.float32)` relit les mêmes bits autrement, sans convertir."))  # fmt: skip


@bf16.reference
def to_float32(halves):
    """Bits bfloat16 (uint16) -> les mêmes nombres en float32."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


@bf16.cases
def _(rng):
    yield (np.array([0x3F80, 0xC000, 0x3DCD, 0x0000], np.uint16),)
    yield (rng.integers(0x3800, 0x4300, 12).astype(np.uint16),)
    yield (rng.integers(0xB800, 0xC300, 5).astype(np.uint16),)


@bf16.trap("Vous lisez ces bits comme du float16 : l’exposant y a cinq bits, pas huit.")
def _(halves):
    return halves.view(np.float16).astype(np.float32)


@bf16.trap("Vous convertissez l’entier en nombre : relisez ses bits, par view, sans astype.")
def _(halves):
    return halves.astype(np.float32)


@bf16.trap("Les seize bits vont à gauche d’un entier de 32 bits : sans décalage ils tombent dans la "
           "fraction, et décalés en 16 bits ils sortent. Passez d’abord en uint32.")  # fmt: skip
def _(halves):
    return halves.astype(np.uint32).view(np.float32)


@bf16.variant
def _(halves):
    pairs = np.zeros((len(halves), 2), np.uint16)
    pairs[:, 1] = halves
    return pairs.reshape(-1).view(np.float32).copy()


cuts_exercise = Exercise(
    "ex-navigateur-eclats", title="Où couper", level="facile", minutes=8,
    hints=("La taille d’un éclat est le plus grand multiple de item qui ne dépasse pas limit.",
           "Le dernier éclat est plus court : sa fin est size."))  # fmt: skip


@cuts_exercise.reference
def cuts(size, limit, item):
    """Couples (début, fin) d’éclats aussi grands que possible, sans couper un nombre."""
    step = limit // item * item
    return [(start, min(start + step, size)) for start in range(0, size, step)]


@cuts_exercise.cases
def _(rng):
    yield 100, 30, 2
    yield 100, 31, 2
    yield 64, 10, 4
    yield 20, 50, 4
    yield 60, 20, 4


def _pieces(size, step):
    return [(start, min(start + step, size)) for start in range(0, size, step)]


@cuts_exercise.trap("Votre éclat coupe un nombre en deux quand limit n’est pas un multiple de item.")
def _(size, limit, item):
    return _pieces(size, limit)


@cuts_exercise.trap("La fin du dernier éclat dépasse les données : prenez min(fin, size).")
def _(size, limit, item):
    step = limit // item * item
    return [(start, start + step) for start in range(0, size, step)]


@cuts_exercise.trap("Le reste est perdu : il faut un dernier éclat, plus court.")
def _(size, limit, item):
    step = limit // item * item
    return [(i * step, (i + 1) * step) for i in range(size // step)]


@cuts_exercise.trap("limit est en octets, vous l’employez comme un nombre de nombres.")
def _(size, limit, item):
    return _pieces(size, limit * item)


@cuts_exercise.variant
def _(size, limit, item):
    found, start, step = [], 0, limit - limit % item
    while start < size:
        end = min(size, start + step)
        found.append((start, end))
        start = end
    return found


first = Exercise(
    "ex-navigateur-empreinte", title="Le premier éclat à refaire", level="moyen", minutes=12,
    hints=("`hashlib.sha256(octets).hexdigest()` donne l’empreinte.",
           "Regardez d’abord s’il manque : `None` n’a pas d’empreinte.",
           "Deux contenus différents peuvent avoir la même taille : la taille ne suffit pas."))  # fmt: skip


def _digest(piece):
    return hashlib.sha256(piece).hexdigest()


@first.reference
def first_bad(pieces, expected):
    """Indice du premier éclat absent, tronqué ou altéré ; -1 si tous sont bons."""
    for i, (piece, (size, sha256)) in enumerate(zip(pieces, expected, strict=True)):
        if piece is None or len(piece) != size:
            return i
        if hashlib.sha256(piece).hexdigest() != sha256:
            return i
    return -1


@first.cases
def _(rng):
    good = [rng.bytes(n) for n in (40, 40, 40, 12)]
    expected = [(len(piece), _digest(piece)) for piece in good]
    yield list(good), expected
    yield [good[0], None, good[2], None], expected
    yield [good[0], good[1], good[2][:-3], good[3]], expected
    altered = bytearray(good[1])
    altered[7] ^= 1
    yield [good[0], bytes(altered), good[2], None], expected
    yield [good[1], good[0], good[2], good[3]], expected


@first.trap("Vous ne comparez que les tailles : un octet altéré n’en change aucune.")
def _(pieces, expected):
    wrong = [p is None or len(p) != size for p, (size, _) in zip(pieces, expected, strict=True)]
    return wrong.index(True) if True in wrong else -1


@first.trap("Vous rendez le dernier éclat fautif : on demande le premier.")
def _(pieces, expected):
    found = -1
    for i, (piece, (_, sha256)) in enumerate(zip(pieces, expected, strict=True)):
        if piece is None or _digest(piece) != sha256:
            found = i
    return found


@first.trap("L’ordre compte : un éclat juste, mais à la place d’un autre, est à refaire.")
def _(pieces, expected):
    known = {sha256 for _, sha256 in expected}
    for i, piece in enumerate(pieces):
        if piece is None or _digest(piece) not in known:
            return i
    return -1


@first.trap("Vous sautez les éclats absents : ils sont à refaire eux aussi.")
def _(pieces, expected):
    for i, (piece, (_, sha256)) in enumerate(zip(pieces, expected, strict=True)):
        if piece is not None and _digest(piece) != sha256:
            return i
    return -1


@first.variant
def _(pieces, expected):
    bad = (i for i, piece in enumerate(pieces) if _digest(piece or b"?") != expected[i][1])
    return next(bad, -1)


flat = Exercise(
    "ex-navigateur-attention", title="Trouver un poids d’attention", level="facile", minutes=6,
    hints=("La dernière dimension, la clé, est celle qui avance d’un en un.",
           "Chaque couche occupe H × T × T cases."))  # fmt: skip


@flat.reference
def flat_index(layer, head, i, j, H, T):
    """Indice, dans le tableau plat (L, H, T, T), du poids de la requête i pour la clé j."""
    return ((layer * H + head) * T + i) * T + j


@flat.cases
def _(rng):
    yield 0, 0, 0, 0, 4, 10
    yield 0, 0, 3, 1, 4, 10
    yield 2, 1, 7, 5, 4, 10
    yield 5, 3, 2, 2, 8, 33


@flat.trap("Vous échangez la requête et la clé : la ligne est celle de la requête.")
def _(layer, head, i, j, H, T):
    return ((layer * H + head) * T + j) * T + i


@flat.trap("Une tête occupe T × T cases, une couche H fois plus.")
def _(layer, head, i, j, H, T):
    return (layer + head) * T * T + i * T + j


@flat.trap("La couche vient avant la tête : c’est elle qui saute H têtes.")
def _(layer, head, i, j, H, T):
    return ((head * H + layer) * T + i) * T + j


@flat.variant
def _(layer, head, i, j, H, T):
    return int(np.ravel_multi_index((layer, head, i, j), (layer + 1, H, T, T)))


prefix = Exercise(
    "ex-navigateur-prefixe", title="Ce qu’il reste à lire", level="moyen", minutes=15,
    hints=("On garde le plus long début commun aux deux listes.",
           "Si tout `ids` est déjà dans le cache, il faut quand même relire un token.",
           "Le cache peut être plus long que ids : il est alors coupé."))  # fmt: skip


@prefix.reference
def to_read(cached, ids):
    """(positions du cache à garder, tokens à donner au graphe), un au moins."""
    kept = 0
    while kept < min(len(cached), len(ids)) and cached[kept] == ids[kept]:
        kept += 1
    kept = min(kept, len(ids) - 1)
    return kept, ids[kept:]


@prefix.cases
def _(rng):
    yield [0, 5, 6], [0, 5, 6, 7]
    yield [0, 5, 6, 9, 9], [0, 5, 6, 7, 8]
    yield [], [3, 1]
    yield [4, 4], [3, 1]
    yield [0, 5, 6], [0, 5, 6]
    yield [0, 5, 6, 7], [0, 5]
    yield [0, 7, 6, 8], [0, 5, 6, 8]


def _common(cached, ids):
    kept = 0
    while kept < min(len(cached), len(ids)) and cached[kept] == ids[kept]:
        kept += 1
    return kept


@prefix.trap("Quand le cache contient déjà tout, vous ne donnez rien au graphe : il ne rendrait "
             "aucun logit. Relisez le dernier token.")  # fmt: skip
def _(cached, ids):
    kept = _common(cached, ids)
    return kept, ids[kept:]


@prefix.trap("Vous gardez tout le cache sans le comparer : le texte a pu changer.")
def _(cached, ids):
    kept = min(len(cached), len(ids) - 1)
    return kept, ids[kept:]


@prefix.trap("Un token égal après une différence ne compte plus : ses clés dépendent de tout ce qui "
             "le précède.")  # fmt: skip
def _(cached, ids):
    kept = sum(a == b for a, b in zip(cached, ids, strict=False))
    kept = min(kept, len(ids) - 1)
    return kept, ids[kept:]


@prefix.trap("Vous jetez tout le cache à la première différence : le début commun sert encore.")
def _(cached, ids):
    kept = _common(cached, ids)
    kept = kept if kept == len(cached) else 0
    kept = min(kept, len(ids) - 1)
    return kept, ids[kept:]


@prefix.variant
def _(cached, ids):
    pairs = list(zip(cached, ids[:-1], strict=False))
    kept = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    return kept, ids[kept:]


four = Exercise(
    "ex-navigateur-quatre", title="Deux poids par octet", level="difficile", minutes=30,
    hints=("`weights.reshape(-1, group)` range un groupe par ligne.",
           "Après l’arrondi, ajoutez 8 : les entiers vont de 1 à 15 et tiennent en quatre bits.",
           "`codes[0::2] | codes[1::2] << 4` réunit deux voisins."))  # fmt: skip


@four.reference
def pack4(weights, group):
    """Quatre bits par poids : (octets (N/2,) uint8, échelles (N/group,) float32)."""
    groups = weights.reshape(-1, group)
    scales = np.abs(groups).max(1) / 7
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    codes = (np.round(groups / scales[:, None]).clip(-7, 7) + 8).astype(np.uint8).ravel()
    return codes[0::2] | codes[1::2] << 4, scales


@four.cases
def _(rng):
    yield np.array([7, -7, 3, 0, 1, -2, 5, 6], np.float32), 8
    yield rng.normal(size=64).astype(np.float32), 16
    yield np.concatenate([np.zeros(8), rng.normal(size=8)]).astype(np.float32), 8
    yield (10 * rng.normal(size=48)).astype(np.float32), 4


def _codes(weights, group, scales):
    groups = weights.reshape(-1, group)
    return (np.round(groups / scales[:, None]).clip(-7, 7) + 8).astype(np.uint8).ravel()


def _scales(weights, group):
    scales = np.abs(weights.reshape(-1, group)).max(1) / 7
    return np.where(scales == 0, 1, scales).astype(np.float32)


@four.trap("Les deux moitiés de l’octet sont échangées : le premier poids va dans les bits de "
           "poids faible.")  # fmt: skip
def _(weights, group):
    scales = _scales(weights, group)
    codes = _codes(weights, group, scales)
    return codes[0::2] << 4 | codes[1::2], scales


@four.trap("Une seule échelle pour tout le vecteur : il en faut une par groupe.")
def _(weights, group):
    scales = np.full(len(weights) // group, np.abs(weights).max() / 7, np.float32)
    codes = _codes(weights, group, scales)
    return codes[0::2] | codes[1::2] << 4, scales


@four.trap("Vous divisez par 8 : -8 n’est pas employé, le plus grand entier est 7.")
def _(weights, group):
    scales = (_scales(weights, group) * 7 / 8).astype(np.float32)
    codes = _codes(weights, group, scales)
    return codes[0::2] | codes[1::2] << 4, scales


@four.trap("Le maximum se prend sur les valeurs absolues : sinon un poids très négatif déborde.")
def _(weights, group):
    top = weights.reshape(-1, group).max(1) / 7
    scales = np.where(top <= 0, 1, top).astype(np.float32)
    codes = _codes(weights, group, scales)
    return codes[0::2] | codes[1::2] << 4, scales


@four.trap("Vous tronquez au lieu d’arrondir : l’erreur double.")
def _(weights, group):
    scales = _scales(weights, group)
    groups = weights.reshape(-1, group)
    codes = (np.trunc(groups / scales[:, None]) + 8).astype(np.uint8).ravel()
    return codes[0::2] | codes[1::2] << 4, scales


@four.variant
def _(weights, group):
    octets, scales = [], []
    for start in range(0, len(weights), group):
        part = weights[start : start + group]
        scale = np.float32(np.abs(part).max() / 7) or np.float32(1)
        scales.append(scale)
        codes = [int(np.round(w / scale)) + 8 for w in part]
        octets += [low + 16 * high for low, high in zip(codes[::2], codes[1::2], strict=True)]
    return np.array(octets, np.uint8), np.array(scales, np.float32)
