"""Exercices de la section « Valeurs propres et composantes principales »."""

import numpy as np

from llmbook.exercise import Exercise

rayleigh_exercise = Exercise(
    "ex-acp-rayleigh",
    title="Quotient de Rayleigh",
    level="facile",
    minutes=3,
    hints=(
        "Le numérateur s’écrit x @ A @ x.",
        "Le dénominateur est le carré de la norme : x @ x, sans racine.",
    ),
)


@rayleigh_exercise.reference
def rayleigh(A, x):
    """A : (n, n) ; x : (n,) non nul ; renvoie un nombre."""
    return x @ A @ x / (x @ x)


@rayleigh_exercise.cases
def _(rng):
    yield np.diag([1.0, 3.0]), np.array([2.0, 1.0])
    yield rng.normal(size=(4, 4)), rng.normal(size=4)


@rayleigh_exercise.trap(
    "Il manque la division par xᵀx : votre résultat dépend de la longueur de x."
)
def _(A, x):
    return x @ A @ x


@rayleigh_exercise.trap("Divisez par le carré de la norme : x apparaît deux fois au numérateur.")
def _(A, x):
    return x @ A @ x / np.linalg.norm(x)


@rayleigh_exercise.trap("C’est le rapport des normes ‖Ax‖ / ‖x‖ : il perd le signe et l’angle.")
def _(A, x):
    return np.linalg.norm(A @ x) / np.linalg.norm(x)


@rayleigh_exercise.trap("Il manque le xᵀ de gauche : le quotient est un nombre, non un vecteur.")
def _(A, x):
    return A @ x / (x @ x)


@rayleigh_exercise.variant
def _(A, x):
    u = x / np.linalg.norm(x)
    return sum(u[i] * A[i, j] * u[j] for i in range(len(u)) for j in range(len(u)))


stationary_exercise = Exercise(
    "ex-acp-stationnaire",
    title="Loi stationnaire",
    level="moyen",
    minutes=15,
    rtol=1e-6,
    atol=1e-8,
    hints=(
        "Partez de la loi uniforme et appliquez P.T jusqu’à ce que rien ne change.",
        "On peut aussi prendre le vecteur propre de P.T pour la valeur propre 1, puis le diviser "
        "par sa somme.",
    ),
)


def _transition(rng, n):
    P = rng.random((n, n)) + 0.05
    return P / P.sum(axis=1, keepdims=True)


@stationary_exercise.reference
def stationary(P):
    """P : (n, n), lignes de somme 1 ; renvoie (n,), de somme 1."""
    pi = np.full(len(P), 1 / len(P))
    for _ in range(10_000):
        following = P.T @ pi
        if np.abs(following - pi).max() < 1e-14:
            break
        pi = following
    return pi / pi.sum()


@stationary_exercise.cases
def _(rng):
    yield (np.array([[0.9, 0.1], [0.5, 0.5]]),)
    yield (_transition(rng, 5),)


@stationary_exercise.trap(
    "Vous avez pris P au lieu de sa transposée : comme chaque ligne de P somme à 1, "
    "son vecteur propre pour 1 est constant."
)
def _(P):
    return np.full(len(P), 1 / len(P))


@stationary_exercise.trap("C’est le bon vecteur propre, mais de norme 1 : une loi a pour somme 1.")
def _(P):
    pi = _solve(P)
    return pi / np.linalg.norm(pi)


@stationary_exercise.trap(
    "C’est le bon vecteur propre, mais de norme 1 et de signe opposé : divisez par sa somme."
)
def _(P):
    pi = _solve(P)
    return -pi / np.linalg.norm(pi)


@stationary_exercise.trap(
    "C’est le vecteur propre de P, constant ; prenez celui de P.T, et divisez-le par sa somme."
)
def _(P):
    return np.full(len(P), 1 / np.sqrt(len(P)))


@stationary_exercise.trap(
    "Un seul pas ne suffit pas : recommencez jusqu’à ce que la loi ne change plus."
)
def _(P):
    return P.T @ np.full(len(P), 1 / len(P))


def _solve(P):
    n = len(P)
    system = np.vstack([P.T - np.eye(n), np.ones(n)])
    return np.linalg.lstsq(system, np.r_[np.zeros(n), 1.0], rcond=None)[0]


@stationary_exercise.variant
def _(P):
    return _solve(P)


deflate_exercise = Exercise(
    "ex-acp-deflation",
    title="Déflation",
    level="moyen",
    minutes=10,
    hints=(
        "Écrivez S comme une somme de termes λᵢ qᵢ qᵢᵀ : retirez-en un.",
        "np.outer(vector, vector) donne q qᵀ.",
    ),
)


@deflate_exercise.reference
def deflate(S, value, vector):
    """S : (n, n) symétrique ; renvoie S privée du mode (value, vector)."""
    return S - value * np.outer(vector, vector)


@deflate_exercise.cases
def _(rng):
    for n in (3, 6):
        B = rng.normal(size=(n, n))
        S = B @ B.T
        values, vectors = np.linalg.eigh(S)
        yield S, values[-1], vectors[:, -1]


@deflate_exercise.trap(
    "Retirer λI décale toutes les valeurs propres ; ne retirez que le mode trouvé."
)
def _(S, value, vector):
    return S - value * np.eye(len(S))


@deflate_exercise.trap(
    "Le produit vector @ vector est un nombre (1). Il faut le produit extérieur q qᵀ."
)
def _(S, value, vector):
    return S - value * (vector @ vector)


@deflate_exercise.trap("Le signe : vous avez ajouté le mode au lieu de le retirer, et doublé λ.")
def _(S, value, vector):
    return S + value * np.outer(vector, vector)


@deflate_exercise.trap("Vous retirez q qᵀ sans son poids λ.")
def _(S, value, vector):
    return S - np.outer(vector, vector)


@deflate_exercise.trap(
    "vector * vector multiplie coordonnée par coordonnée ; np.outer(vector, vector) donne q qᵀ."
)
def _(S, value, vector):
    return S - value * vector * vector


@deflate_exercise.variant
def _(S, value, vector):
    projector = np.eye(len(S)) - np.outer(vector, vector)
    return projector @ S @ projector


part_exercise = Exercise(
    "ex-acp-part",
    title="Variance expliquée",
    level="moyen",
    minutes=12,
    hints=(
        "Centrez X, puis prenez ses valeurs singulières au carré.",
        "np.cumsum donne les parts cumulées ; np.searchsorted trouve la première qui atteint share.",
        "searchsorted renvoie un indice, qui commence à 0 : le nombre de composantes vaut un de plus.",
    ),
)


def _shares(X):
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    return np.cumsum(s**2) / (s**2).sum()


@part_exercise.reference
def components_needed(X, share):
    """X : (n, d) ; renvoie un entier entre 1 et min(n, d)."""
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    cumulative = np.cumsum(s**2) / (s**2).sum()
    return min(int(np.searchsorted(cumulative, share)) + 1, len(s))  # arrondi si share = 1


@part_exercise.cases
def _(rng):
    scales = np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.2])
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]  # les directions ne sont pas les axes
    X = rng.normal(size=(60, 6)) * scales @ turn + np.array([0, 0, 0, 0, 0, 40.0])
    yield X, 0.5
    yield X, 0.9
    yield X, 0.95


@part_exercise.trap("searchsorted renvoie un indice qui commence à 0 : ajoutez 1.")
def _(X, share):
    return int(np.searchsorted(_shares(X), share))


@part_exercise.trap("Les données ne sont pas centrées : la moyenne passe pour une grande variance.")
def _(X, share):
    s = np.linalg.svd(X, compute_uv=False)
    return int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), share)) + 1


@part_exercise.trap("La variance est proportionnelle au carré des valeurs singulières.")
def _(X, share):
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    return int(np.searchsorted(np.cumsum(s) / s.sum(), share)) + 1


@part_exercise.trap("Les valeurs sont comptées de la plus petite à la plus grande : inversez l’ordre.")
def _(X, share):
    values = np.linalg.eigvalsh(np.cov(X, rowvar=False))
    return int(np.searchsorted(np.cumsum(values) / values.sum(), share)) + 1


@part_exercise.trap(
    "Ce sont les variances des coordonnées ; il faut celles des composantes, par la SVD de X centrée."
)
def _(X, share):
    values = np.sort(X.var(axis=0))[::-1]
    return int(np.searchsorted(np.cumsum(values) / values.sum(), share)) + 1


@part_exercise.variant
def _(X, share):
    values = sorted(np.linalg.eigvalsh(np.cov(X, rowvar=False)), reverse=True)
    kept, k = 0.0, 0
    while kept < share * sum(values):
        kept, k = kept + values[k], k + 1
    return k


rebuild_exercise = Exercise(
    "ex-acp-reconstruire",
    title="Reconstruire",
    level="difficile",
    minutes=20,
    hints=(
        "Centrez, projetez sur les k premières lignes de Vt, multipliez de nouveau par Vt.",
        "Il reste à rajouter la moyenne que vous aviez retirée.",
    ),
)


@rebuild_exercise.reference
def reconstruct(X, k):
    """X : (n, d) ; renvoie (n, d), de rang k autour de la moyenne."""
    mean = X.mean(axis=0)
    _, _, Vt = np.linalg.svd(X - mean, full_matrices=False)
    return (X - mean) @ Vt[:k].T @ Vt[:k] + mean


@rebuild_exercise.cases
def _(rng):
    X = rng.normal(size=(12, 4)) * np.array([4.0, 2.0, 1.0, 0.5]) + 3.0
    yield X, 1
    yield X, 2


@rebuild_exercise.trap("La moyenne retirée avant la projection n’a pas été rajoutée après.")
def _(X, k):
    Xc = X - X.mean(axis=0)
    Vt = np.linalg.svd(Xc, full_matrices=False)[2]
    return Xc @ Vt[:k].T @ Vt[:k]


@rebuild_exercise.trap("Les données n’ont pas été centrées avant la SVD.")
def _(X, k):
    Vt = np.linalg.svd(X, full_matrices=False)[2]
    return X @ Vt[:k].T @ Vt[:k]


@rebuild_exercise.trap(
    "Ce sont les coordonnées projetées (n, k) : revenez dans l’espace de départ en "
    "multipliant par Vt[:k]."
)
def _(X, k):
    Xc = X - X.mean(axis=0)
    return Xc @ np.linalg.svd(Xc, full_matrices=False)[2][:k].T


@rebuild_exercise.trap(
    "Ce sont les dernières directions : eigh trie par ordre croissant, la SVD par "
    "ordre décroissant."
)
def _(X, k):
    mean = X.mean(axis=0)
    W = np.linalg.eigh(np.cov(X, rowvar=False))[1][:, :k]
    return (X - mean) @ W @ W.T + mean


@rebuild_exercise.trap(
    "np.linalg.svd renvoie Vᵀ : les directions sont les k premières lignes, pas les colonnes."
)
def _(X, k):
    mean = X.mean(axis=0)
    V = np.linalg.svd(X - mean, full_matrices=False)[2]
    return (X - mean) @ V[:, :k] @ V[:, :k].T + mean


@rebuild_exercise.variant
def _(X, k):
    mean = X.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(X, rowvar=False))
    W = vectors[:, ::-1][:, :k]
    return mean + ((X - mean) @ W) @ W.T
