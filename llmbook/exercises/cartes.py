"""Exercices de la section « Voir l’attention du modèle du livre »."""

import numpy as np

from llmbook.exercise import Exercise


def _causal(rng, *shape):
    """Cartes causales au hasard, lignes de somme 1 : shape se termine par (T, T)."""
    P = np.tril(rng.random(shape) + 0.02)
    return P / P.sum(axis=-1, keepdims=True)


sink_exercise = Exercise(
    "ex-cartes-puits",
    title="La part du puits",
    level="facile",
    minutes=4,
    hints=(
        "La colonne 0 est ce que chaque token donne au premier.",
        "Le premier token ne voit que lui : sautez sa ligne.",
    ),
)


@sink_exercise.reference
def sink_share(P):
    """P : (T, T) ; renvoie la moyenne de P[t, 0] pour t ≥ 1."""
    return float(P[1:, 0].mean())


@sink_exercise.cases
def _(rng):
    for T in (4, 9):
        yield (_causal(rng, T, T),)


@sink_exercise.trap("La ligne 0 vaut toujours 1 : le premier token ne voit que lui. Ôtez-la.")
def _(P):
    return float(P[:, 0].mean())


@sink_exercise.trap("Vous lisez la première ligne ; il faut la première colonne.")
def _(P):
    return float(P[0, 1:].mean())


@sink_exercise.trap("Une moyenne, pas une somme.")
def _(P):
    return float(P[1:, 0].sum())


@sink_exercise.variant
def _(P):
    return sum(P[t, 0] for t in range(1, len(P))) / (len(P) - 1)


cut_exercise = Exercise(
    "ex-cartes-coupe",
    title="Couper un trait",
    level="moyen",
    minutes=10,
    hints=(
        "Sans j, les autres poids gardent leurs rapports, et leur somme redevient 1.",
        "Enlevez a[j] v[j] de la sortie, puis divisez par 1 - a[j].",
    ),
)


@cut_exercise.reference
def without_key(a, v, j):
    """a : (n,) ; v : (n, D) ; renvoie la sortie sans la clé j, (D,)."""
    return (a @ v - a[j] * v[j]) / (1 - a[j])


@cut_exercise.cases
def _(rng):
    for n, D, j in ((5, 3, 2), (8, 4, 0), (3, 2, 2)):
        a = rng.random(n) + 0.05
        yield a / a.sum(), rng.normal(size=(n, D)), j


@cut_exercise.trap("Le poids de j est perdu : le softmax le redistribue, divisez par 1 - a[j].")
def _(a, v, j):
    return a @ v - a[j] * v[j]


@cut_exercise.trap("C’est le changement de la sortie ; on demande la nouvelle sortie.")
def _(a, v, j):
    return a[j] / (1 - a[j]) * (a @ v - v[j])


@cut_exercise.trap("Divisez par le poids qui reste, 1 - a[j], et non par celui qui part.")
def _(a, v, j):
    return (a @ v - a[j] * v[j]) / a[j]


@cut_exercise.trap(
    "Le poids libéré va aux autres en proportion de leurs poids, pas à parts égales."
)
def _(a, v, j):
    b = a + a[j] / (len(a) - 1)
    b[j] = 0
    return b @ v


@cut_exercise.variant
def _(a, v, j):
    keep = np.arange(len(a)) != j
    b = a[keep] / a[keep].sum()
    return b @ v[keep]


rollout_exercise = Exercise(
    "ex-cartes-deroule",
    title="Dérouler",
    level="moyen",
    minutes=12,
    hints=(
        "Moyennez d’abord chaque couche sur ses têtes.",
        "Une demi-identité, une demi-carte ; les lignes gardent leur somme.",
        "La couche suivante multiplie à gauche ce qui a été déroulé jusque-là.",
    ),
)


def _rolled(maps, *, mix=0.5, left=True, mean=True):
    T = maps.shape[-1]
    R = np.eye(T)
    for layer in maps:
        A = mix * np.eye(T) + (1 - mix) * (layer.mean(axis=0) if mean else layer.sum(axis=0))
        R = A @ R if left else R @ A
    return R


@rollout_exercise.reference
def attention_rollout(maps):
    """maps : (L, H, T, T), couche 1 d’abord ; renvoie (T, T)."""
    return _rolled(maps)


@rollout_exercise.cases
def _(rng):
    for L, H, T in ((2, 3, 4), (4, 2, 6)):
        yield (_causal(rng, L, H, T, T),)


@rollout_exercise.trap("L’ordre est inversé : la dernière couche est à gauche du produit.")
def _(maps):
    return _rolled(maps, left=False)


@rollout_exercise.trap("Il manque le flux résiduel : mêlez chaque couche à l’identité.")
def _(maps):
    return _rolled(maps, mix=0.0)


@rollout_exercise.trap("Moyennez les têtes : leur somme ne fait plus des lignes de somme 1.")
def _(maps):
    return _rolled(maps, mean=False)


@rollout_exercise.trap("Composer, c’est multiplier les matrices, pas moyenner les couches.")
def _(maps):
    return 0.5 * np.eye(maps.shape[-1]) + 0.5 * maps.mean(axis=(0, 1))


@rollout_exercise.variant
def _(maps):
    eye = np.eye(maps.shape[-1])
    return np.linalg.multi_dot([(eye + layer.mean(axis=0)) / 2 for layer in maps[::-1]])


padded_exercise = Exercise(
    "ex-cartes-gauche",
    title="Le puits d’un lot rempli à gauche",
    level="moyen",
    minutes=12,
    hints=(
        "Le premier vrai token du texte b est en colonne T - mask[b].sum().",
        "Les lignes qui comptent viennent après lui.",
        "Une moyenne par texte.",
    ),
)


@padded_exercise.reference
def padded_sink_share(P, mask):
    """P : (B, T, T) ; mask : (B, T), 1 sur les vrais tokens, à droite ; renvoie (B,)."""
    first = mask.shape[1] - mask.sum(axis=1)
    return np.array([p[f + 1 :, f].mean() for p, f in zip(P, first, strict=True)])


@padded_exercise.cases
def _(rng):
    for sizes, T in (((3, 6, 4), 6), ((5, 2), 7)):
        mask = np.zeros((len(sizes), T), dtype=int)
        P = np.zeros((len(sizes), T, T))
        for b, s in enumerate(sizes):
            mask[b, T - s :] = 1
            P[b] = np.eye(T)
            P[b, T - s :, T - s :] = _causal(rng, s, s)
        yield P, mask


@padded_exercise.trap(
    "La colonne 0 est du remplissage : cherchez la première colonne où mask vaut 1."
)
def _(P, mask):
    return P[:, 1:, 0].mean(axis=1)


@padded_exercise.trap("La ligne du premier vrai token ne compte pas : il ne voit que lui.")
def _(P, mask):
    first = mask.argmax(axis=1)
    return np.array([p[f:, f].mean() for p, f in zip(P, first, strict=True)])


@padded_exercise.trap(
    "Les lignes du remplissage entrent dans votre moyenne : n’en gardez que les vrais tokens."
)
def _(P, mask):
    first = mask.argmax(axis=1)
    return np.array(
        [(p[:, f].sum() - p[f, f]) / (len(p) - 1) for p, f in zip(P, first, strict=True)]
    )


@padded_exercise.trap("Une moyenne par texte : renvoyez un tableau (B,), pas un seul nombre.")
def _(P, mask):
    return float(padded_sink_share(P, mask).mean())


@padded_exercise.variant
def _(P, mask):
    b = np.arange(len(P))
    first = mask.argmax(axis=1)
    column = P[b, :, first] * mask
    column[b, first] = 0
    return column.sum(axis=1) / (mask.sum(axis=1) - 1)


profile_exercise = Exercise(
    "ex-cartes-profil",
    title="Observé, et ce que la distance expliquait",
    level="difficile",
    minutes=25,
    hints=(
        "Le profil à la distance d est la moyenne de la d-ième sous-diagonale.",
        "Faites-en une matrice : profil[i - j] en (i, j).",
        "Les deux nombres sont des moyennes sur les mêmes paires, P[pairs] et l’autre.",
    ),
)


def _profiled(P, *, whole=False):
    T = len(P)
    i, j = np.indices((T, T))
    R = np.zeros_like(P)
    for d in range(T):
        diagonal = np.diagonal(P, -d)
        R[i - j == d] = diagonal.sum() / T if whole else diagonal.mean()
    return R


@profile_exercise.reference
def observed_and_expected(P, pairs):
    """P : (T, T) causale ; pairs : (T, T) booléens ; renvoie (observé, attendu)."""
    return float(P[pairs].mean()), float(_profiled(P)[pairs].mean())


@profile_exercise.cases
def _(rng):
    for T in (6, 10):
        pairs = np.tril(rng.random((T, T)) < 0.3, -1)
        pairs[2, 0] = pairs[T - 1, 1] = True
        yield _causal(rng, T, T), pairs


@profile_exercise.trap("Divisez par la longueur de la sous-diagonale, T - d, et non par T.")
def _(P, pairs):
    return float(P[pairs].mean()), float(_profiled(P, whole=True)[pairs].mean())


@profile_exercise.trap(
    "L’attendu est le profil sur les paires du critère, pas la moyenne de toute la carte."
)
def _(P, pairs):
    return float(P[pairs].mean()), float(P[np.tril_indices(len(P))].mean())


@profile_exercise.trap(
    "Le profil se calcule sur toutes les paires, pas seulement sur celles du "
    "critère : sinon il explique tout."
)
def _(P, pairs):
    observed = float(P[pairs].mean())
    return observed, observed


@profile_exercise.trap("Des moyennes sur les paires, pas des sommes.")
def _(P, pairs):
    return float(P[pairs].sum()), float(_profiled(P)[pairs].sum())


@profile_exercise.variant
def _(P, pairs):
    T, expected = len(P), 0.0
    profile = [np.mean([P[t, t - d] for t in range(d, T)]) for d in range(T)]
    places = np.argwhere(pairs)
    for i, j in places:
        expected += profile[i - j] / len(places)
    return float(P[pairs].mean()), float(expected)
