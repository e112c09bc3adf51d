"""Exercices de la section « Le rang d’un changement »."""

import numpy as np

from llmbook.exercise import Exercise

bytes_exercise = Exercise(
    "ex-rang-octets", title="Le poids d’une tâche", level="facile", minutes=5,
    hints=("r directions d’une matrice (m, n) : r colonnes de m nombres, r lignes de n nombres ; "
           "les valeurs singulières se fondent dans les unes ou les autres.",
           "Si r (m + n) dépasse m n, mieux vaut ranger la matrice."))


@bytes_exercise.reference
def delta_bytes(shapes, r, width=2):
    """shapes : liste de (m, n) ; renvoie un nombre d’octets."""
    return width * sum(min(r * (m + n), m * n) for m, n in shapes)


@bytes_exercise.cases
def _(rng):
    yield [(4096, 4096)], 8
    yield [(512, 256), (256, 256), (1408, 256), (256, 704)] * 6, 16, 4
    yield [(1000, 1000)] + [(256, 256)] * 20, 300, 2
    yield [(4096, 256), (1408, 256), (64, 64)], 40, 1


@bytes_exercise.trap("Au-delà d’un certain rang, les deux facteurs pèsent plus que la matrice : "
                     "rangez alors la matrice.")
def _(shapes, r, width=2):
    return width * sum(r * (m + n) for m, n in shapes)


@bytes_exercise.trap("C’est le poids des matrices entières : comptez r (m + n) nombres par matrice.")
def _(shapes, r, width=2):
    return width * sum(m * n for m, n in shapes)


@bytes_exercise.trap("Vous renvoyez un nombre de nombres : multipliez par width.")
def _(shapes, r, width=2):
    return sum(min(r * (m + n), m * n) for m, n in shapes)


@bytes_exercise.trap("Le choix se fait matrice par matrice, pas sur le total.")
def _(shapes, r, width=2):
    return width * min(sum(r * (m + n) for m, n in shapes), sum(m * n for m, n in shapes))


@bytes_exercise.variant
def _(shapes, r, width=2):
    sizes = np.array(shapes)
    return int(width * np.minimum(r * sizes.sum(1), sizes.prod(1)).sum())


effective_exercise = Exercise(
    "ex-rang-effectif", title="Le rang effectif", level="facile", minutes=10,
    hints=("p vaut les valeurs singulières divisées par leur somme.",
           "Retirez les p nuls avant le logarithme : 0 ln 0 vaut 0."))


@effective_exercise.reference
def effective_rank_of(M):
    """M : (m, n) ; renvoie un nombre entre 1 et min(m, n)."""
    s = np.linalg.svd(M, compute_uv=False)
    p = s / s.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


@effective_exercise.cases
def _(rng):
    yield rng.normal(size=(12, 8))
    yield np.diag([3.0, 3.0, 3.0, 0.0, 0.0])
    yield np.diag([4.0, 2.0, 1.0, 0.0])
    yield np.outer(rng.normal(size=6), rng.normal(size=9))


@effective_exercise.trap("Les p se calculent sur les valeurs singulières, pas sur leurs carrés.")
def _(M):
    s = np.linalg.svd(M, compute_uv=False) ** 2
    p = s[s > 0] / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


@effective_exercise.trap("Une valeur singulière nulle donne nan : retirez-la, 0 ln 0 vaut 0.")
def _(M):
    s = np.linalg.svd(M, compute_uv=False)
    s = np.where(s < 1e-12 * s[0], 0.0, s)
    p = s / s.sum()
    with np.errstate(all="ignore"):
        return float(np.exp(-(p * np.log(p)).sum()))


@effective_exercise.trap("Vous renvoyez l’entropie : prenez-en l’exponentielle.")
def _(M):
    return float(np.log(effective_rank_of(M)))


@effective_exercise.trap("C’est le rang stable : le rang effectif est une exponentielle d’entropie.")
def _(M):
    s = np.linalg.svd(M, compute_uv=False)
    return float((s**2).sum() / s[0] ** 2)


@effective_exercise.trap("C’est le rang numérique : il compte toutes les directions de même.")
def _(M):
    return float(np.linalg.matrix_rank(M))


@effective_exercise.variant
def _(M):
    small = M @ M.T if M.shape[0] <= M.shape[1] else M.T @ M
    s = np.sqrt(np.clip(np.linalg.eigvalsh(small), 0, None))
    s = s[s > 1e-7 * s.max()]
    return float(np.prod((s / s.sum()) ** (-s / s.sum())))


noise_exercise = Exercise(
    "ex-rang-bruit", title="Le bruit dépassé", level="moyen", minutes=12,
    hints=("L’écart type du bruit de même norme est τ = ‖D‖ / √(m n).",
           "Comptez les valeurs singulières plus grandes que τ (√m + √n)."))


@noise_exercise.reference
def above_noise(D):
    """D : (m, n) ; renvoie un entier."""
    m, n = D.shape
    tau = np.linalg.norm(D) / np.sqrt(m * n)
    s = np.linalg.svd(D, compute_uv=False)
    return int((s > tau * (np.sqrt(m) + np.sqrt(n))).sum())


@noise_exercise.cases
def _(rng):
    for m, n, r, size in ((60, 40, 3, 30.0), (50, 50, 5, 20.0), (200, 30, 2, 60.0)):
        u, v = np.linalg.qr(rng.normal(size=(m, r)))[0], np.linalg.qr(rng.normal(size=(n, r)))[0]
        yield rng.normal(size=(m, n)) + size * u @ v.T
    u, v = (x / np.linalg.norm(x) for x in (rng.normal(size=80), rng.normal(size=40)))
    yield 0.8 + rng.normal(size=(80, 40)) + 14 * np.outer(u, v)
    s = np.array([9.0, 5.0, 4.5, 4.2, 2.0, 1.5, 1.0, 0.8, 0.5, 0.2])
    yield np.linalg.qr(rng.normal(size=(90, 10)))[0] * s @ np.linalg.qr(rng.normal(size=(10, 10)))[0]


@noise_exercise.trap("Vous divisez la norme par m n : l’écart type est la norme divisée par √(m n).")
def _(D):
    m, n = D.shape
    s = np.linalg.svd(D, compute_uv=False)
    return int((s > np.linalg.norm(D) / (m * n) * (np.sqrt(m) + np.sqrt(n))).sum())


@noise_exercise.trap("La borne haute est τ (√m + √n) ; celle-ci est le milieu de la bande.")
def _(D):
    m, n = D.shape
    s = np.linalg.svd(D, compute_uv=False)
    return int((s > np.linalg.norm(D) / np.sqrt(m * n) * np.sqrt(max(m, n))).sum())


@noise_exercise.trap("np.std retire la moyenne : la norme à garder est celle de D, moyenne comprise.")
def _(D):
    m, n = D.shape
    s = np.linalg.svd(D, compute_uv=False)
    return int((s > D.std() * (np.sqrt(m) + np.sqrt(n))).sum())


@noise_exercise.trap("C’est la borne basse de la bande : prenez la somme des racines, pas l’écart.")
def _(D):
    m, n = D.shape
    s = np.linalg.svd(D, compute_uv=False)
    return int((s > np.linalg.norm(D) / np.sqrt(m * n) * abs(np.sqrt(m) - np.sqrt(n))).sum())


@noise_exercise.variant
def _(D):
    s2 = np.linalg.eigvalsh(D @ D.T)
    edge = (D**2).mean() * sum(np.sqrt(D.shape)) ** 2
    return sum(1 for x in s2 if x > edge)


effect_exercise = Exercise(
    "ex-rang-effet", title="L’effet sur de vraies entrées", level="moyen", minutes=15,
    hints=("La direction i porte σᵢ² ‖X vᵢ‖², et les parts s’additionnent.",
           "Somme cumulée des parts, puis le premier rang où elle atteint share."))


@effect_exercise.reference
def rank_for_outputs(D, X, share):
    """D : (m, n) ; X : (N, n) ; renvoie un entier, de 1 à min(m, n)."""
    _, s, Vt = np.linalg.svd(D, full_matrices=False)
    weight = s**2 * ((X @ Vt.T) ** 2).sum(axis=0)
    reached = np.cumsum(weight) / weight.sum() >= share - 1e-12
    return int(reached.argmax()) + 1


def _inputs(rng, D, count, sharp):
    """Des entrées qui favorisent les directions `sharp` de D."""
    _, _, Vt = np.linalg.svd(D, full_matrices=False)
    scale = np.where(np.isin(np.arange(len(Vt)), sharp), 8.0, 0.3)
    return rng.normal(size=(count, len(Vt))) * scale @ Vt


@effect_exercise.cases
def _(rng):
    D = rng.normal(size=(12, 9))
    yield D, _inputs(rng, D, 40, [0, 1]), 0.9
    D = rng.normal(size=(9, 9))
    yield D, _inputs(rng, D, 9, [2, 3]), 0.9
    yield D, _inputs(rng, D, 9, [0, 7]), 0.95
    D = rng.normal(size=(30, 10))
    yield D, _inputs(rng, D, 50, [4]), 0.5


@effect_exercise.trap("Vous n’employez pas X : c’est l’énergie de D, pas l’effet sur ces entrées.")
def _(D, X, share):
    s = np.linalg.svd(D, compute_uv=False)
    return int((np.cumsum(s**2) / (s**2).sum() >= share).argmax()) + 1


@effect_exercise.trap("Les parts sont des carrés : σᵢ² ‖X vᵢ‖².")
def _(D, X, share):
    _, s, Vt = np.linalg.svd(D, full_matrices=False)
    weight = s * np.sqrt(((X @ Vt.T) ** 2).sum(axis=0))
    return int((np.cumsum(weight) / weight.sum() >= share).argmax()) + 1


@effect_exercise.trap("L’indice part de zéro : le rang est l’indice plus un.")
def _(D, X, share):
    return rank_for_outputs(D, X, share) - 1


@effect_exercise.trap("Vous multipliez X par V et non par Vᵀ : les lignes de Vt sont les vᵢ.")
def _(D, X, share):
    _, s, Vt = np.linalg.svd(D, full_matrices=False)
    weight = s**2 * ((X @ Vt) ** 2).sum(axis=0)
    return int((np.cumsum(weight) / weight.sum() >= share).argmax()) + 1


@effect_exercise.variant
def _(D, X, share):
    U, s, Vt = np.linalg.svd(D, full_matrices=False)
    total = np.linalg.norm(X @ D.T) ** 2
    for r in range(1, len(s) + 1):
        if np.linalg.norm(X @ ((U[:, :r] * s[:r]) @ Vt[:r]).T) ** 2 >= (share - 1e-12) * total:
            return r
    return len(s)


weighted_exercise = Exercise(
    "ex-rang-pondere", title="Tronquer en tenant compte des entrées", level="difficile", minutes=25,
    hints=("Cherchez d’abord la meilleure approximation de la *sortie*, Y = D Xᵀ.",
           "Ses r premiers vecteurs singuliers gauches, U, donnent U Uᵀ Y.",
           "Or U Uᵀ Y = (U Uᵀ D) Xᵀ : la matrice cherchée est U Uᵀ D."))


@weighted_exercise.reference
def best_for_inputs(D, X, r):
    """D : (m, n) ; X : (N, n) ; renvoie (m, n), de rang r au plus."""
    U, _, _ = np.linalg.svd(D @ X.T, full_matrices=False)
    return U[:, :r] @ (U[:, :r].T @ D)


@weighted_exercise.cases
def _(rng):
    for m, n, r in ((8, 6, 2), (6, 6, 1), (10, 7, 3)):
        mix = rng.normal(size=(n, n)) * np.geomspace(5, 0.2, n)[:, None]
        yield rng.normal(size=(m, n)), rng.normal(size=(60, n)) @ mix, r


@weighted_exercise.trap("C’est la SVD tronquée de D : elle ignore les entrées.")
def _(D, X, r):
    U, s, Vt = np.linalg.svd(D, full_matrices=False)
    return (U[:, :r] * s[:r]) @ Vt[:r]


@weighted_exercise.trap("Vous renvoyez une sortie approchée, (m, N) : on demande une matrice (m, n).")
def _(D, X, r):
    U, s, Vt = np.linalg.svd(D @ X.T, full_matrices=False)
    return (U[:, :r] * s[:r]) @ Vt[:r]


@weighted_exercise.trap("Pondérer chaque colonne par la taille de son entrée ne suffit que si les "
                        "entrées sont décorrélées.")
def _(D, X, r):
    scale = np.sqrt((X**2).mean(axis=0))
    U, s, Vt = np.linalg.svd(D * scale, full_matrices=False)
    return (U[:, :r] * s[:r]) @ Vt[:r] / scale


@weighted_exercise.trap("Vous pondérez par la covariance : il en faut une racine carrée.")
def _(D, X, r):
    C = X.T @ X
    U, s, Vt = np.linalg.svd(D @ C, full_matrices=False)
    return (U[:, :r] * s[:r]) @ Vt[:r] @ np.linalg.inv(C)


@weighted_exercise.variant
def _(D, X, r):
    L = np.linalg.cholesky(X.T @ X)
    U, s, Vt = np.linalg.svd(D @ L, full_matrices=False)
    return np.linalg.solve(L.T, ((U[:, :r] * s[:r]) @ Vt[:r]).T).T


intruders_exercise = Exercise(
    "ex-rang-intrus", title="Les intrus", level="difficile", minutes=15,
    hints=("Les vecteurs singuliers gauches sont les colonnes de U, déjà de norme 1.",
           "Toutes les similarités à la fois : abs(U1[:, :k].T @ U0), de forme (k, p).",
           "Un intrus n’a aucun voisin : son maximum est sous epsilon."))


@intruders_exercise.reference
def intruders(W0, W1, k, epsilon):
    """W0, W1 : (m, n) ; renvoie un entier entre 0 et k."""
    U0 = np.linalg.svd(W0, full_matrices=False)[0]
    U1 = np.linalg.svd(W1, full_matrices=False)[0]
    closest = np.abs(U1[:, :k].T @ U0).max(axis=1)
    return int((closest < epsilon).sum())


def _perturbed(rng, m, n, extra, size):
    """Une matrice au spectre étalé, et la même plus `extra` directions tirées au hasard."""
    U, V = (np.linalg.qr(rng.normal(size=(d, min(m, n))))[0] for d in (m, n))
    W0 = U * np.geomspace(8, 1, min(m, n)) @ V.T
    B, A = rng.normal(size=(m, extra)), rng.normal(size=(extra, n))
    return W0, W0 + size * B @ A / np.linalg.norm(B @ A)


@intruders_exercise.cases
def _(rng):
    yield *_perturbed(rng, 60, 24, 1, 25.0), 5, 0.6
    yield *_perturbed(rng, 60, 24, 3, 40.0), 6, 0.6
    yield *_perturbed(rng, 24, 60, 1, 0.01), 6, 0.6
    yield *_perturbed(rng, 30, 30, 2, 30.0), 4, 0.7
    W0, _ = _perturbed(rng, 40, 20, 1, 1.0)
    U, s, Vt = np.linalg.svd(W0, full_matrices=False)
    yield W0, -(U * s[::-1]) @ Vt, 5, 0.9  # les mêmes directions, dans un autre ordre


@intruders_exercise.trap("Vous comparez les vecteurs de même rang : l’ordre change d’une matrice à "
                         "l’autre, comparez à tous.")
def _(W0, W1, k, epsilon):
    U0 = np.linalg.svd(W0, full_matrices=False)[0]
    U1 = np.linalg.svd(W1, full_matrices=False)[0]
    return int((np.abs((U1 * U0).sum(axis=0))[:k] < epsilon).sum())


@intruders_exercise.trap("Vous ne cherchez que parmi les k premiers vecteurs de W0 : il faut tous "
                         "les essayer.")
def _(W0, W1, k, epsilon):
    U0 = np.linalg.svd(W0, full_matrices=False)[0][:, :k]
    U1 = np.linalg.svd(W1, full_matrices=False)[0][:, :k]
    return int((np.abs(U1.T @ U0).max(axis=1) < epsilon).sum())


@intruders_exercise.trap("Le signe d’un vecteur singulier est arbitraire : prenez la valeur absolue.")
def _(W0, W1, k, epsilon):
    U0 = np.linalg.svd(W0, full_matrices=False)[0]
    U1 = np.linalg.svd(W1, full_matrices=False)[0]
    signs = np.sign(U0[np.abs(U0).argmax(0), np.arange(U0.shape[1])])  # un choix de signes
    other = np.sign(U1[np.abs(U1).argmax(0), np.arange(U1.shape[1])])
    return int((((U1 * -other)[:, :k].T @ (U0 * signs)).max(axis=1) < epsilon).sum())


@intruders_exercise.trap("Vous comptez les directions retrouvées : un intrus est sous le seuil.")
def _(W0, W1, k, epsilon):
    return k - intruders(W0, W1, k, epsilon)


@intruders_exercise.variant
def _(W0, W1, k, epsilon):
    count = 0
    basis = np.linalg.svd(W0, full_matrices=False)[0].T
    for u in np.linalg.svd(W1, full_matrices=False)[0].T[:k]:
        count += all(abs(u @ v) < epsilon for v in basis)
    return count
