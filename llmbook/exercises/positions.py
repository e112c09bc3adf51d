"""Exercices de la section « Dire la position »."""

import numpy as np

from llmbook.exercise import Exercise

base_exercise = Exercise(
    "ex-positions-ntk", title="La base de NTK", level="facile", minutes=5,
    hints=("La paire la plus lente a pour vitesse base ** (-(D - 2) / D).",
           "Cherchez b tel que b ** (-(D - 2) / D) soit s fois plus petit."))


@base_exercise.reference
def ntk_base(base, s, D):
    """Base qui ralentit s fois la paire la plus lente d’une tête de D canaux."""
    return base * s ** (D / (D - 2))


@base_exercise.cases
def _(rng):
    yield 10_000.0, 3.0, 64
    yield 10_000.0, 8.0, 128
    yield 500_000.0, 4.0, 12


@base_exercise.trap("Multiplier la base par s ne ralentit pas assez la paire la plus lente : son "
                    "exposant est (D - 2) / D, un peu moins que 1.")
def _(base, s, D):
    return base * s


@base_exercise.trap("L’exposant est renversé : D / (D - 2), plus grand que 1.")
def _(base, s, D):
    return base * s ** ((D - 2) / D)


@base_exercise.trap("Une base plus petite accélère les paires : il faut l’agrandir.")
def _(base, s, D):
    return base / s ** (D / (D - 2))


@base_exercise.variant
def _(base, s, D):
    slowest = base ** (-(D - 2) / D) / s
    return float(np.exp(-np.log(slowest) * D / (D - 2)))


padding_exercise = Exercise(
    "ex-positions-remplissage", title="Compter malgré le remplissage", level="facile", minutes=6,
    hints=("Une somme cumulée du masque compte les tokens réels vus jusqu’ici.",
           "Le premier doit être à 0, et rien ne doit être négatif."))


@padding_exercise.reference
def position_ids(mask):
    """mask : (B, T), 1 où un token est réel, remplissage à gauche ; renvoie (B, T), entiers."""
    return np.maximum(np.cumsum(mask, axis=1) - 1, 0)


@padding_exercise.cases
def _(rng):
    yield np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    yield np.array([[0, 0, 0, 1]])
    lengths = rng.integers(1, 8, size=4)
    yield (np.arange(8) >= 8 - lengths[:, None]).astype(int)


@padding_exercise.trap("Vos positions comptent le remplissage : le premier token réel doit être à 0.")
def _(mask):
    return np.broadcast_to(np.arange(mask.shape[1]), mask.shape).copy()


@padding_exercise.trap("Le premier token réel est à 1 : retirez 1 à la somme cumulée.")
def _(mask):
    return np.cumsum(mask, axis=1)


@padding_exercise.trap("Le remplissage est à -1 : cet indice désignerait la dernière ligne de la table.")
def _(mask):
    return np.cumsum(mask, axis=1) - 1


@padding_exercise.trap("Vous cumulez d’une suite à l’autre : la somme va le long de T, axis=1.")
def _(mask):
    return np.maximum(np.cumsum(mask, axis=0) - 1, 0)


@padding_exercise.variant
def _(mask):
    first = np.argmax(mask, axis=1)
    return np.clip(np.arange(mask.shape[1]) - first[:, None], 0, None)


rope_exercise = Exercise(
    "ex-positions-rope", title="Tourner", level="moyen", minutes=15,
    hints=("L’angle est position × vitesse : un tableau (T, D/2).",
           "Coupez x en deux moitiés a et b : la paire i est (a[i], b[i]).",
           "Tourner donne (a cos - b sin, b cos + a sin), à recoller dans le même ordre."))


@rope_exercise.reference
def rope(x, start=0, base=10_000.0):
    """x : (T, D), le token t à la position start + t ; renvoie (T, D)."""
    T, D = x.shape
    angle = np.outer(np.arange(start, start + T), base ** (-np.arange(0, D, 2) / D))
    a, b = x[:, : D // 2], x[:, D // 2 :]
    return np.hstack([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)])


@rope_exercise.cases
def _(rng):
    yield rng.normal(size=(5, 8)),
    yield rng.normal(size=(3, 12)), 40
    yield rng.normal(size=(1, 4)), 7, 500.0


def _turn(x, start=0, base=10_000.0, step=2, sign=1, pairs="halves", positions=None):
    T, D = x.shape
    places = np.arange(start, start + T) if positions is None else positions
    angle = sign * np.outer(places, base ** (-step * np.arange(D // 2) / D))
    a, b = (x[:, : D // 2], x[:, D // 2 :]) if pairs == "halves" else (x[:, ::2], x[:, 1::2])
    u, v = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    return np.hstack([u, v]) if pairs == "halves" else np.stack([u, v], -1).reshape(T, D)


@rope_exercise.trap("Vous associez les canaux voisins ; ici la paire i est (x[i], x[i + D/2]).")
def _(x, start=0, base=10_000.0):
    return _turn(x, start, base, pairs="neighbours")


@rope_exercise.trap("Vous tournez dans l’autre sens : les écarts changeraient de signe.")
def _(x, start=0, base=10_000.0):
    return _turn(x, start, base, sign=-1)


@rope_exercise.trap("La vitesse de la paire i est base ** (-2 i / D) : le facteur 2 manque.")
def _(x, start=0, base=10_000.0):
    return _turn(x, start, base, step=1)


@rope_exercise.trap("start ne sert pas : avec un cache, les nouveaux tokens repartiraient de zéro.")
def _(x, start=0, base=10_000.0):
    return _turn(x, 0, base)


@rope_exercise.trap("La base est figée à 10 000 : servez-vous de l’argument.")
def _(x, start=0, base=10_000.0):
    return _turn(x, start)


@rope_exercise.trap("Les positions commencent à start, pas à start + 1.")
def _(x, start=0, base=10_000.0):
    return _turn(x, start + 1, base)


@rope_exercise.variant
def _(x, start=0, base=10_000.0):
    T, D = x.shape
    z = x[:, : D // 2] + 1j * x[:, D // 2 :]
    for t in range(T):
        z[t] *= np.exp(1j * (start + t) * base ** (-2 * np.arange(D // 2) / D))
    return np.concatenate([z.real, z.imag], axis=1)


shift_exercise = Exercise(
    "ex-positions-decalage", title="Avancer de k", level="moyen", minutes=15,
    hints=("La paire i occupe les canaux 2 i et 2 i + 1 : sinus, puis cosinus.",
           "sin(a + b) = sin a cos b + cos a sin b ; cos(a + b) = cos a cos b - sin a sin b.",
           "M est diagonale par blocs 2 × 2."))


@shift_exercise.reference
def advance(C, k):
    """Matrice M (C, C) telle que M @ p(t) = p(t + k) pour tout t."""
    M = np.zeros((C, C))
    for i in range(0, C, 2):
        angle = k * 10_000 ** (-i / C)
        c, s = np.cos(angle), np.sin(angle)
        M[i : i + 2, i : i + 2] = [[c, s], [-s, c]]
    return M


@shift_exercise.cases
def _(rng):
    yield 2, 1
    yield 8, 5
    yield 12, 64
    yield 6, -3


def _blocks(C, k, block, speed=lambda i, C: 10_000 ** (-i / C)):
    M = np.zeros((C, C))
    for i in range(0, C, 2):
        angle = k * speed(i, C)
        M[i : i + 2, i : i + 2] = block(np.cos(angle), np.sin(angle))
    return M


@shift_exercise.trap("Votre matrice recule : les signes des sinus sont échangés, parce que le sinus "
                     "vient avant le cosinus.")
def _(C, k):
    return _blocks(C, k, lambda c, s: [[c, -s], [s, c]])


@shift_exercise.trap("Cette matrice serait celle de [tous les sinus, puis tous les cosinus] ; ici ils "
                     "alternent.")
def _(C, k):
    angle = k * 10_000.0 ** (-np.arange(0, C, 2) / C)
    c, s = np.diag(np.cos(angle)), np.diag(np.sin(angle))
    M = np.block([[c, s], [-s, c]])
    if C == 2:  # les deux rangements n’en font qu’un
        return M[::-1, ::-1]
    return M


@shift_exercise.trap("La vitesse de la paire i est 10 000 ** (-2 i / C) : votre exposant est moitié "
                     "trop petit.")
def _(C, k):
    return _blocks(C, k, lambda c, s: [[c, s], [-s, c]], lambda i, C: 10_000 ** (-i / 2 / C))


@shift_exercise.trap("Toutes vos paires tournent à la même vitesse.")
def _(C, k):
    return _blocks(C, k, lambda c, s: [[c, s], [-s, c]], lambda i, C: 1.0)


@shift_exercise.variant
def _(C, k):
    t = np.arange(4 * C)[:, None]
    speed = 10_000.0 ** (-np.arange(0, C, 2) / C)
    angle = np.outer(speed, np.ones(1))[:, 0] * k
    even, odd = np.arange(0, C, 2), np.arange(1, C, 2)
    M = np.zeros((C, C))
    M[even, even] = M[odd, odd] = np.cos(angle)
    M[even, odd] = np.sin(angle)
    M[odd, even] = -np.sin(angle)
    p = np.stack([np.sin(t * speed), np.cos(t * speed)], -1).reshape(len(t), C)
    assert p.shape[1] == C
    return M


alibi_exercise = Exercise(
    "ex-positions-alibi", title="Le biais d’ALiBi, avec un cache", level="moyen", minutes=15,
    hints=("La requête numéro t est à la position S - T + t.",
           "Distance = position de la requête moins position de la clé : (T, S).",
           "Une distance négative est une clé future : -inf."))


@alibi_exercise.reference
def alibi(H, T, S):
    """Biais (H, T, S) : -pente × distance, -inf pour une clé future."""
    slopes = 2.0 ** (-8 * np.arange(1, H + 1) / H)
    distance = np.arange(S - T, S)[:, None] - np.arange(S)
    return np.where(distance < 0, -np.inf, -slopes[:, None, None] * distance)


@alibi_exercise.cases
def _(rng):
    yield 4, 5, 5
    yield 8, 1, 6
    yield 2, 3, 7


def _bias(H, T, S, slopes=None, past=True, sign=-1, hide=True):
    slopes = 2.0 ** (-8 * np.arange(1, H + 1) / H) if slopes is None else slopes
    distance = np.arange(T)[:, None] + (S - T if past else 0) - np.arange(S)
    bias = sign * slopes[:, None, None] * np.abs(distance)
    return np.where(distance < 0, -np.inf, bias) if hide else bias


@alibi_exercise.trap("Vos requêtes commencent à la position 0 : avec un cache, elles sont les T "
                     "dernières des S positions.")
def _(H, T, S):
    return _bias(H, T, S, past=False) if S > T else _bias(H, T, S, sign=0)


@alibi_exercise.trap("Le signe est renversé : c’est le lointain qu’il faut pénaliser.")
def _(H, T, S):
    return _bias(H, T, S, sign=1)


@alibi_exercise.trap("Une clé future doit recevoir -inf, pas une pénalité.")
def _(H, T, S):
    return _bias(H, T, S, hide=False)


@alibi_exercise.trap("Les pentes commencent à h = 1 : la première n’est pas 1.")
def _(H, T, S):
    return _bias(H, T, S, slopes=2.0 ** (-8 * np.arange(H) / H))


@alibi_exercise.trap("Les pentes décroissent en progression géométrique, jusqu’à 2 ** -8.")
def _(H, T, S):
    return _bias(H, T, S, slopes=1 / np.arange(1, H + 1))


@alibi_exercise.variant
def _(H, T, S):
    bias = np.full((H, T, S), -np.inf)
    for h in range(H):
        for t in range(T):
            for s in range(S - T + t + 1):
                bias[h, t, s] = -((S - T + t) - s) / 2 ** (8 * (h + 1) / H)
    return bias


weights_exercise = Exercise(
    "ex-positions-permutation", title="Convertir les poids", level="difficile", minutes=25,
    hints=("Séparez d’abord les têtes : (H, D, C).",
           "Dans une tête, la ligne 2 i de la sortie est la ligne i de l’entrée.",
           "Et la ligne 2 i + 1 est la ligne i + D/2 : voyez D comme (2, D/2), puis transposez."))


@weights_exercise.reference
def to_interleaved(W, H):
    """W : (H·D, C), paires par moitiés ; renvoie (H·D, C), paires voisines."""
    D = W.shape[0] // H
    return W.reshape(H, 2, D // 2, -1).swapaxes(1, 2).reshape(W.shape)


@weights_exercise.cases
def _(rng):
    yield rng.normal(size=(8, 3)), 1
    yield rng.normal(size=(16, 4)), 2
    yield rng.normal(size=(36, 5)), 3


@weights_exercise.trap("C’est la conversion inverse, des voisines vers les moitiés.")
def _(W, H):
    D = W.shape[0] // H
    return W.reshape(H, D // 2, 2, -1).swapaxes(1, 2).reshape(W.shape)


@weights_exercise.trap("Vous permutez sans séparer les têtes : des lignes passent de l’une à l’autre.")
def _(W, H):
    if H == 1:
        return W.copy()
    return W.reshape(2, W.shape[0] // 2, -1).swapaxes(0, 1).reshape(W.shape)


@weights_exercise.trap("Ce sont les lignes (les sorties de la projection) qu’il faut permuter, pas les "
                       "colonnes.")
def _(W, H):
    order = np.argsort(np.arange(W.shape[1]) % 2, kind="stable")
    return W[:, order]


@weights_exercise.trap("Vous échangez les deux moitiés au lieu de les entrelacer.")
def _(W, H):
    D = W.shape[0] // H
    return W.reshape(H, 2, D // 2, -1)[:, ::-1].reshape(W.shape)


@weights_exercise.variant
def _(W, H):
    D = W.shape[0] // H
    rows = []
    for h in range(H):
        for i in range(D // 2):
            rows += [W[h * D + i], W[h * D + i + D // 2]]
    return np.array(rows)
