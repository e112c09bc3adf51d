"""Exercices de la section « Décomposition en valeurs singulières »."""

import numpy as np

from llmbook.exercise import Exercise

savings_exercise = Exercise(
    "ex-svd-compte", title="Compter", level="facile", minutes=3,
    hints=("Une matrice pleine a m × n nombres.",
           "Les facteurs en ont m × r et r × n."))


@savings_exercise.reference
def savings(m, n, r):
    """Rapport des nombres de paramètres, plein sur factorisé."""
    return m * n / (r * (m + n))


@savings_exercise.cases
def _(rng):
    yield 4096, 4096, 8
    yield 1500, 300, 10
    yield 7, 3, 2


@savings_exercise.trap("Vous avez compté un seul facteur : il y en a deux, (m, r) et (r, n).")
def _(m, n, r):
    return m * n / (r * m)


@savings_exercise.trap("C’est l’inverse : combien de fois moins, donc plein divisé par factorisé.")
def _(m, n, r):
    return r * (m + n) / (m * n)


@savings_exercise.trap("Les deux facteurs s’additionnent, ils ne se multiplient pas.")
def _(m, n, r):
    return m * n / (m * r * r * n)


@savings_exercise.trap("C’est le nombre de paramètres épargnés ; l’énoncé demande un rapport.")
def _(m, n, r):
    return m * n - r * (m + n)


@savings_exercise.variant
def _(m, n, r):
    return np.ones((m, n)).size / (np.ones((m, r)).size + np.ones((r, n)).size)


truncate_exercise = Exercise(
    "ex-svd-tronquer", title="Tronquer", level="facile", minutes=8,
    hints=("np.linalg.svd(A, full_matrices=False) renvoie U, s, Vt.",
           "Gardez k colonnes de U, k valeurs, k lignes de Vt."))


@truncate_exercise.reference
def best_rank_k(A, k):
    """A : (m, n) ; renvoie (m, n), de rang k."""
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return (U[:, :k] * s[:k]) @ Vt[:k]


@truncate_exercise.cases
def _(rng):
    yield rng.normal(size=(5, 5)), 2
    yield rng.normal(size=(6, 4)), 1
    yield rng.normal(size=(4, 7)), 3


@truncate_exercise.trap("np.linalg.svd renvoie déjà Vᵀ : prenez ses k premières lignes, sans transposer.")
def _(A, k):
    U, s, V = np.linalg.svd(A, full_matrices=False)
    return (U[:, :k] * s[:k]) @ V[:, :k].T          # échoue sur les formes quand A n’est pas carrée


@truncate_exercise.trap("C’est la panne de la page : np.linalg.svd renvoie déjà Vᵀ. Prenez ses k "
                        "premières lignes.")
def _(A, k):
    U, s, V = np.linalg.svd(A)                      # V carrée : aucune forme ne proteste
    return (U[:, :k] * s[:k]) @ V[:, :k].T


@truncate_exercise.trap("Il manque les valeurs singulières : vous n’avez gardé que les directions.")
def _(A, k):
    U, _, Vt = np.linalg.svd(A, full_matrices=False)
    return U[:, :k] @ Vt[:k]


@truncate_exercise.trap("Vous avez gardé les dernières composantes ; les valeurs sont en ordre "
                        "décroissant.")
def _(A, k):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return (U[:, -k:] * s[-k:]) @ Vt[-k:]


@truncate_exercise.trap("Rien n’a été coupé : c’est A tout entière.")
def _(A, k):
    return A.copy()


@truncate_exercise.variant
def _(A, k):
    _, vectors = np.linalg.eigh(A.T @ A)
    V = vectors[:, ::-1][:, :k]
    return A @ V @ V.T


error_exercise = Exercise(
    "ex-svd-erreur", title="L’erreur sans l’approximation", level="facile", minutes=5,
    hints=("L’erreur absolue est la racine de la somme des carrés des valeurs coupées.",
           "Divisez par la norme de la matrice, racine de la somme de tous les carrés."))


@error_exercise.reference
def truncation_error(s, k):
    """s : (r,) décroissantes ; renvoie un nombre entre 0 et 1."""
    return np.sqrt((s[k:] ** 2).sum() / (s**2).sum())


@error_exercise.cases
def _(rng):
    yield np.array([4.0, 3.0]), 1
    yield np.sort(rng.random(8))[::-1].copy(), 3
    yield np.array([2.0, 1.0, 0.5]), 0


@error_exercise.trap("La somme des valeurs n’est pas la norme : sommez les carrés, puis prenez la racine.")
def _(s, k):
    return s[k:].sum() / s.sum()


@error_exercise.trap("C’est le carré de l’erreur relative : il manque la racine.")
def _(s, k):
    return (s[k:] ** 2).sum() / (s**2).sum()


@error_exercise.trap("C’est la part gardée ; l’erreur vient des valeurs coupées, s[k:].")
def _(s, k):
    return np.sqrt((s[:k] ** 2).sum() / (s**2).sum())


@error_exercise.trap("C’est l’erreur absolue : divisez-la par la norme de la matrice.")
def _(s, k):
    return np.sqrt((s[k:] ** 2).sum())


@error_exercise.trap("Un terme de trop est coupé du compte : la première valeur perdue est s[k], "
                     "car s[0] est la première.")
def _(s, k):
    return np.sqrt((s[k + 1:] ** 2).sum() / (s**2).sum())


@error_exercise.trap("C’est l’erreur relative en norme spectrale. En norme de Frobenius, toutes les "
                     "valeurs coupées comptent.")
def _(s, k):
    return s[k] / s[0]


@error_exercise.variant
def _(s, k):
    A, cut = np.diag(s), np.diag(np.where(np.arange(len(s)) < k, s, 0.0))
    return np.linalg.norm(A - cut) / np.linalg.norm(A)


rank_exercise = Exercise(
    "ex-svd-rang", title="Le rang pour une erreur donnée", level="moyen", minutes=12,
    hints=("Calculez l’erreur pour tous les k, de 0 à len(s).",
           "Une boucle for k in range(len(s) + 1) s’arrête à la première erreur acceptable."))


@rank_exercise.reference
def rank_for(s, epsilon):
    """s : (r,) décroissantes ; renvoie un entier de 0 à r."""
    for k in range(len(s) + 1):
        if np.sqrt((s[k:] ** 2).sum() / (s**2).sum()) <= epsilon:
            return k


@rank_exercise.cases
def _(rng):
    s = np.array([8.0, 4.0, 2.0, 1.0, 0.5, 0.25])
    yield np.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 0.35
    yield s, 0.5
    yield s, 0.3
    yield s, 0.1
    yield s, 1.0


@rank_exercise.trap("Vous comparez epsilon au carré de l’erreur relative : prenez la racine.")
def _(s, epsilon):
    return next(k for k in range(len(s) + 1) if (s[k:] ** 2).sum() / (s**2).sum() <= epsilon)


@rank_exercise.trap("Un de trop : k = 0 (la matrice nulle) est permis, l’indice trouvé est déjà le rang.")
def _(s, epsilon):
    return 1 + next(k for k in range(len(s) + 1)
                    if np.sqrt((s[k:] ** 2).sum() / (s**2).sum()) <= epsilon)


@rank_exercise.trap("epsilon porte sur toute la queue du spectre, pas sur chaque valeur prise à part.")
def _(s, epsilon):
    return int((s / s[0] > epsilon).sum())


@rank_exercise.trap("Le rang 0 (la matrice nulle) est permis, et l’erreur peut être égale à epsilon.")
def _(s, epsilon):
    return next(k for k in range(len(s) + 1)
                if np.sqrt((s[k:] ** 2).sum() / (s**2).sum()) < epsilon)


@rank_exercise.trap("Vous comparez epsilon à l’erreur absolue : divisez-la par la norme de la matrice.")
def _(s, epsilon):
    return next(k for k in range(len(s) + 1) if np.sqrt((s[k:] ** 2).sum()) <= epsilon)


@rank_exercise.variant
def _(s, epsilon):
    tail = np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0)
    return int(np.argmax(tail <= epsilon**2 * tail[0]))


def _compare_factors(got, expected, delta, r):
    if not (isinstance(got, (tuple, list)) and len(got) == 2):
        return "Renvoyez un couple (B, A)."
    B, A = (np.asarray(x, dtype=float) for x in got)
    m, n = delta.shape
    if B.shape != (m, r) or A.shape != (r, n):
        return f"Formes attendues : B {(m, r)} et A {(r, n)} ; reçu {B.shape} et {A.shape}."
    if not np.allclose(B @ A, expected[0] @ expected[1], atol=1e-7):
        return "Le produit B @ A n’est pas la meilleure approximation de rang r de delta."
    if not np.isclose(np.linalg.norm(B), np.linalg.norm(A)):
        return "Les deux facteurs n’ont pas la même norme de Frobenius."
    return None


factors_exercise = Exercise(
    "ex-svd-facteurs", title="Deux facteurs équilibrés", level="moyen", minutes=15,
    compare=_compare_factors,
    hints=("Tronquez la SVD, puis répartissez les valeurs singulières entre les deux facteurs.",
           "La racine carrée de chaque valeur de chaque côté : U √s et √s Vt."))


def _top(delta, r):
    U, s, Vt = np.linalg.svd(delta, full_matrices=False)
    return U[:, :r], s[:r], Vt[:r]


@factors_exercise.reference
def to_factors(delta, r):
    """delta : (m, n) ; renvoie B (m, r) et A (r, n)."""
    U, s, Vt = np.linalg.svd(delta, full_matrices=False)
    root = np.sqrt(s[:r])
    return U[:, :r] * root, root[:, None] * Vt[:r]


@factors_exercise.cases
def _(rng):
    yield rng.normal(size=(6, 6)), 2
    yield rng.normal(size=(5, 8)), 3


@factors_exercise.trap("Toutes les valeurs singulières sont d’un seul côté : partagez-les par leur racine.")
def _(delta, r):
    U, s, Vt = _top(delta, r)
    return U * s, Vt


@factors_exercise.trap("Les valeurs singulières sont comptées deux fois : prenez leur racine de chaque "
                       "côté.")
def _(delta, r):
    U, s, Vt = _top(delta, r)
    return U * s, s[:, None] * Vt


@factors_exercise.trap("Les valeurs singulières ont disparu : le produit n’a plus la bonne taille.")
def _(delta, r):
    U, _, Vt = _top(delta, r)
    return U, Vt


@factors_exercise.variant
def _(delta, r):
    U, s, Vt = _top(delta, r)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(r, r)))[0]   # toute rotation convient
    return (U * np.sqrt(s)) @ turn, turn.T @ (np.sqrt(s)[:, None] * Vt)


lstsq_exercise = Exercise(
    "ex-svd-moindres", title="Moindres carrés de norme minimale", level="difficile", minutes=20,
    rtol=1e-6, atol=1e-8,
    hints=("x = V Σ⁺ Uᵀ b.",
           "Construisez l’inverse des valeurs avec np.where(s > 1e-10 * s[0], …, 0).",
           "Dans l’ordre : c = U.T @ b, puis c fois les inverses, puis Vt.T @ c."))


@lstsq_exercise.reference
def least_squares(A, b):
    """A : (m, n) ; b : (m,) ; renvoie (n,)."""
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    kept = s > 1e-10 * s[0]
    return Vt[kept].T @ ((U.T @ b)[kept] / s[kept])


@lstsq_exercise.cases
def _(rng):
    A = rng.normal(size=(10, 4))
    yield A, rng.normal(size=10)
    yield rng.normal(size=(3, 6)), rng.normal(size=3)
    B = rng.normal(size=(9, 5))
    B[:, 4] = 2 * B[:, 0] - B[:, 1]
    yield B, rng.normal(size=9)


@lstsq_exercise.trap("Vous inversez aussi les valeurs presque nulles : l’une d’elles explose quand les "
                     "colonnes sont liées.")
def _(A, b):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return Vt.T @ ((U.T @ b) / s)


@lstsq_exercise.trap("Il faut diviser par les valeurs singulières, non multiplier.")
def _(A, b):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    return Vt.T @ ((U.T @ b) * s)


@lstsq_exercise.trap("La division porte sur les valeurs au carré : c’est (AᵀA)⁺ sans le Aᵀ.")
def _(A, b):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    kept = s > 1e-10 * s[0]
    return Vt[kept].T @ ((U.T @ b)[kept] / s[kept] ** 2)


@lstsq_exercise.trap("Ce sont les coordonnées dans la base des vᵢ : il reste à multiplier par V, "
                     "c’est-à-dire Vt.T.")
def _(A, b):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    inverse = np.where(s > 1e-10 * s[0], 1 / np.maximum(s, 1e-300), 0.0)
    return inverse * (U.T @ b)


@lstsq_exercise.trap("Le dernier produit se fait par V, et numpy renvoie Vᵀ : écrivez Vt.T @ c.")
def _(A, b):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    inverse = np.where(s > 1e-10 * s[0], 1 / np.maximum(s, 1e-300), 0.0)
    return Vt @ (inverse * (U.T @ b))


@lstsq_exercise.trap("Les équations normales exigent AᵀA inversible : elle ne l’est pas quand les "
                     "colonnes sont liées ou trop nombreuses.")
def _(A, b):
    return np.linalg.solve(A.T @ A, A.T @ b)


@lstsq_exercise.variant
def _(A, b):
    values, vectors = np.linalg.eigh(A.T @ A)
    kept = values > 1e-12 * values[-1]
    V = vectors[:, kept]
    return V @ ((V.T @ (A.T @ b)) / values[kept])
