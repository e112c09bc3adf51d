"""Exercices de la section « Vecteurs, matrices et tenseurs, jusqu’à l’attention »."""

import numpy as np

from llmbook.exercise import Exercise

# --- Similarité cosinus -----------------------------------------------------------------------

cosine = Exercise(
    "ex-vecteurs-cosinus",
    title="Similarité cosinus",
    level="facile",
    minutes=5,
    hints=(
        "Le numérateur est le produit scalaire : `x @ y`.",
        "La norme d’un vecteur est `np.linalg.norm(x)`.",
        "Divisez une seule fois par chacune des deux normes.",
    ),
)


@cosine.reference
def cosine_similarity(x, y):
    """Cosinus de l’angle entre deux vecteurs non nuls."""
    return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))


@cosine.cases
def _(rng):
    yield rng.normal(size=5), rng.normal(size=5)
    x = rng.normal(size=40)
    yield x, 3 * x + rng.normal(size=40)
    yield np.array([2.0, 0.0]), np.array([0.0, 5.0])


@cosine.trap("C’est le produit scalaire : il dépend des longueurs. Divisez par les deux normes.")
def _(x, y):
    return x @ y


@cosine.trap("Vous divisez par les carrés des normes : il manque les racines carrées.")
def _(x, y):
    return x @ y / ((x @ x) * (y @ y))


@cosine.trap("Vous divisez par la norme de x seulement : c’est la longueur de la projection de y.")
def _(x, y):
    return x @ y / np.linalg.norm(x)


@cosine.trap("C’est la distance cosinus, 1 − cos : renvoyez le cosinus lui-même.")
def _(x, y):
    return 1 - x @ y / (np.linalg.norm(x) * np.linalg.norm(y))


@cosine.trap(
    "Python lit de gauche à droite : `a / b * c` divise par b, puis multiplie par c. Mettez le "
    "produit des deux normes entre parenthèses."
)
def _(x, y):
    return x @ y / np.linalg.norm(x) * np.linalg.norm(y)


@cosine.trap("C’est l’angle, en radians : on demande son cosinus, sans `arccos`.")
def _(x, y):
    return np.arccos(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


@cosine.variant
def _(x, y):
    u = x / np.sqrt(np.sum(x * x))
    v = y / np.sqrt(np.sum(y * y))
    return sum(a * b for a, b in zip(u, v, strict=True))


# --- Les plus proches voisins -----------------------------------------------------------------

neighbours = Exercise(
    "ex-vecteurs-voisins",
    title="Les plus proches voisins",
    level="facile",
    minutes=10,
    hints=(
        "Normalisez d’abord toutes les lignes : `P / np.linalg.norm(P, axis=1, keepdims=True)`.",
        "Un produit matrice-vecteur donne alors tous les cosinus à la fois.",
        "`np.argsort(-scores)` trie par ordre décroissant ; retirez ensuite l’indice `i`.",
    ),
)


@neighbours.reference
def nearest(P, i, k):
    """Indices des k lignes de P les plus proches de la ligne i par le cosinus, i exclu."""
    U = P / np.linalg.norm(P, axis=1, keepdims=True)
    order = np.argsort(-(U @ U[i]))
    return order[order != i][:k]


@neighbours.cases
def _(rng):
    for i, k in ((0, 3), (7, 5), (19, 2)):
        lengths = rng.uniform(0.2, 5.0, size=(20, 1))  # inégales, pour trahir les pièges
        yield rng.normal(size=(20, 6)) * lengths, i, k


@neighbours.trap("Le mot lui-même figure dans sa liste de voisins : excluez l’indice i.")
def _(P, i, k):
    U = P / np.linalg.norm(P, axis=1, keepdims=True)
    return np.argsort(-(U @ U[i]))[:k]


@neighbours.trap(
    "Ce classement est celui du produit scalaire : les vecteurs longs y sont favorisés."
)
def _(P, i, k):
    order = np.argsort(-(P @ P[i]))
    return order[order != i][:k]


@neighbours.trap("Ce sont les mots les plus éloignés : `np.argsort` trie par ordre croissant.")
def _(P, i, k):
    U = P / np.linalg.norm(P, axis=1, keepdims=True)
    order = np.argsort(U @ U[i])
    return order[order != i][:k]


@neighbours.trap(
    "Ce classement est celui de la distance euclidienne : normalisez les lignes avant."
)
def _(P, i, k):
    order = np.argsort(np.linalg.norm(P - P[i], axis=1))
    return order[order != i][:k]


@neighbours.trap("Ce sont les cosinus des voisins : renvoyez leurs indices, par `np.argsort`.")
def _(P, i, k):
    U = P / np.linalg.norm(P, axis=1, keepdims=True)
    scores = np.sort(U @ U[i])[::-1]
    return scores[1 : k + 1]


@neighbours.trap("Vous avez normé les colonnes : chaque mot est une ligne, donc `axis=1`.")
def _(P, i, k):
    U = P / np.linalg.norm(P, axis=0)
    order = np.argsort(-(U @ U[i]))
    return order[order != i][:k]


@neighbours.variant
def _(P, i, k):
    U = P / np.sqrt((P**2).sum(axis=1))[:, None]
    gaps = np.linalg.norm(U - U[i], axis=1)  # vecteurs unitaires : même ordre que le cosinus
    gaps[i] = np.inf
    return gaps.argsort()[:k]


# --- Retirer une direction --------------------------------------------------------------------

remove = Exercise(
    "ex-vecteurs-direction",
    title="Retirer une direction",
    level="moyen",
    minutes=15,
    hints=(
        "Ramenez d’abord u à la longueur 1.",
        "`X @ u` donne les T coordonnées le long de u ; `np.outer(X @ u, u)` est de forme (T, d).",
        "Le résultat est X moins sa projection ; vérifiez que `résultat @ u` est nul.",
    ),
)


@remove.reference
def remove_direction(X, u):
    """Retire à chaque ligne de X (T, d) sa composante le long de u (d,), de longueur quelconque."""
    u = u / np.linalg.norm(u)
    return X - np.outer(X @ u, u)


@remove.cases
def _(rng):
    yield rng.normal(size=(4, 3)), np.array([0.0, 2.0, 0.0])
    yield rng.normal(size=(6, 5)), 3 * rng.normal(size=5)


@remove.trap("u n’est pas forcément de longueur 1 : divisez par le carré de sa norme.")
def _(X, u):
    return X - np.outer(X @ u, u)


@remove.trap(
    "Vous divisez une seule fois par la norme de u : u intervient deux fois dans la formule."
)
def _(X, u):
    return X - np.outer(X @ u, u) / np.linalg.norm(u)


@remove.trap("C’est la projection elle-même : on demande ce qui reste quand on la retire.")
def _(X, u):
    return np.outer(X @ u, u) / (u @ u)


@remove.trap("Le signe est inversé : vous ajoutez la projection au lieu de la retirer.")
def _(X, u):
    return X + np.outer(X @ u, u) / (u @ u)


@remove.trap("Vous retirez u lui-même à chaque ligne : retirez sa projection, propre à chacune.")
def _(X, u):
    return X - u


@remove.trap("Les lignes ont été ramenées à la longueur 1 : rendez le reste tel quel.")
def _(X, u):
    rest = X - np.outer(X @ u, u) / (u @ u)
    return rest / np.linalg.norm(rest, axis=1, keepdims=True)


@remove.variant
def _(X, u):
    u = u / np.linalg.norm(u)
    return X @ (np.eye(len(u)) - u[:, None] * u[None, :])


# --- Le coût d’un produit ---------------------------------------------------------------------

cost = Exercise(
    "ex-vecteurs-cout",
    title="Le coût d’un produit de matrices",
    level="facile",
    minutes=10,
    hints=(
        "Chaque coefficient du résultat demande n multiplications et n additions.",
        "Le résultat compte m × p coefficients.",
        "Octets : lire A, lire B, écrire C.",
    ),
)


@cost.reference
def matmul_cost(m, n, p, itemsize):
    """Opérations et octets échangés pour (m, n) @ (n, p), chaque matrice parcourue une fois."""
    return 2 * m * n * p, itemsize * (m * n + n * p + m * p)


@cost.cases
def _(rng):
    yield 3, 4, 5, 8
    yield 1, 768, 50_257, 2
    yield 128, 64, 256, 4


@cost.trap("Vous comptez les multiplications seules : chaque produit est suivi d’une addition.")
def _(m, n, p, itemsize):
    return m * n * p, itemsize * (m * n + n * p + m * p)


@cost.trap("Il manque l’écriture du résultat, de forme (m, p), dans le compte des octets.")
def _(m, n, p, itemsize):
    return 2 * m * n * p, itemsize * (m * n + n * p)


@cost.trap("Vous comptez des nombres et non des octets : multipliez par la taille d’un nombre.")
def _(m, n, p, itemsize):
    return 2 * m * n * p, m * n + n * p + m * p


@cost.trap(
    "Les deux réponses sont dans l’ordre inverse : les opérations d’abord, les octets ensuite."
)
def _(m, n, p, itemsize):
    return itemsize * (m * n + n * p + m * p), 2 * m * n * p


@cost.trap(
    "Vous comptez n − 1 additions par coefficient. La convention de la page part de zéro : n "
    "multiplications et n additions."
)
def _(m, n, p, itemsize):
    return m * p * (2 * n - 1), itemsize * (m * n + n * p + m * p)


@cost.trap(
    "Chaque matrice n’est parcourue qu’une fois : A compte m × n nombres, B en compte n × p."
)
def _(m, n, p, itemsize):
    return 2 * m * n * p, itemsize * (2 * m * n * p + m * p)


@cost.variant
def _(m, n, p, itemsize):
    flops = sum(2 * n for _ in range(m)) * p
    return flops, sum(rows * columns for rows, columns in ((m, n), (n, p), (m, p))) * itemsize


# --- Un softmax qui ne déborde pas ------------------------------------------------------------

stable = Exercise(
    "ex-vecteurs-softmax",
    title="Un softmax qui ne déborde pas",
    level="moyen",
    minutes=15,
    hints=(
        "Ajouter une constante à toute une ligne ne change pas son softmax.",
        "Retirez à chaque ligne son maximum : le plus grand exposant vaut alors 0.",
        "`keepdims=True` garde la forme (T, 1), qui se diffuse contre (T, T).",
    ),
)


@stable.reference
def softmax_rows(S):
    """Softmax de chaque ligne de S (T, n), sans débordement même si S contient 1000 ou −inf."""
    weights = np.exp(S - S.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@stable.cases
def _(rng):
    yield rng.normal(size=(3, 4))
    yield rng.normal(size=(4, 4)) * 3
    yield np.array([[1000.0, 1000.0, 999.0], [0.0, -np.inf, 2.0], [-1000.0, -1001.0, -1000.0]])


@stable.trap(
    "Vos lignes contiennent des nan : l’exponentielle déborde. Retirez d’abord le maximum."
)
def _(S):
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        weights = np.exp(S)
        return weights / weights.sum(axis=-1, keepdims=True)


@stable.trap("Vos colonnes somment à 1, et non vos lignes : prenez l’axe -1.")
def _(S):
    with np.errstate(invalid="ignore"):
        weights = np.exp(S - S.max(axis=0, keepdims=True))
        return weights / weights.sum(axis=0, keepdims=True)


@stable.trap("C’est tout le tableau qui somme à 1 : chaque ligne doit avoir sa propre somme.")
def _(S):
    weights = np.exp(S - S.max())
    return weights / weights.sum()


@stable.trap("Le maximum est retiré, mais la division par la somme de la ligne manque.")
def _(S):
    return np.exp(S - S.max(axis=-1, keepdims=True))


@stable.trap(
    "Vous retirez le maximum du tableau entier : une ligne beaucoup plus petite que les autres "
    "devient 0/0. Chaque ligne a son propre maximum."
)
def _(S):
    with np.errstate(invalid="ignore"):
        weights = np.exp(S - S.max())
        return weights / weights.sum(axis=-1, keepdims=True)


@stable.trap("C’est le logarithme du softmax : il manque l’exponentielle finale.")
def _(S):
    shifted = S - S.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@stable.variant
def _(S):
    top = S.max(axis=1)[:, None]
    return np.exp(S - top - np.log(np.exp(S - top).sum(axis=1))[:, None])


# --- L’auto-attention causale -----------------------------------------------------------------

causal = Exercise(
    "ex-vecteurs-attention",
    title="L’auto-attention causale",
    level="difficile",
    minutes=30,
    hints=(
        "Les scores sont `Q @ K.T / np.sqrt(d)`, de forme (T, T).",
        "`np.tril(np.ones((T, T), dtype=bool))` est vrai sur la diagonale et en dessous.",
        "Mettez -np.inf là où le masque est faux, avant le softmax de chaque ligne.",
    ),
)


def _weights(scores):
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _hide(scores, seen):
    return np.where(seen, scores, -np.inf)


@causal.reference
def causal_attention(Q, K, V):
    """Attention causale d’une tête. Q, K : (T, d) ; V : (T, v) ; renvoie (T, v)."""
    T, d = Q.shape
    seen = np.tril(np.ones((T, T), dtype=bool))
    scores = np.where(seen, Q @ K.T / np.sqrt(d), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ V


@causal.cases
def _(rng):
    for T, d, v in ((4, 4, 3), (7, 5, 6), (2, 16, 2)):
        yield rng.normal(size=(T, d)), rng.normal(size=(T, d)), rng.normal(size=(T, v))


@causal.trap("Le masque manque : la première ligne devrait être égale à V[0].")
def _(Q, K, V):
    return _weights(Q @ K.T / np.sqrt(Q.shape[1])) @ V


@causal.trap("Les scores ne sont pas divisés par la racine carrée de d.")
def _(Q, K, V):
    return _weights(_hide(Q @ K.T, np.tri(len(Q), dtype=bool))) @ V


@causal.trap("Vous divisez par d et non par sa racine carrée.")
def _(Q, K, V):
    return _weights(_hide(Q @ K.T / Q.shape[1], np.tri(len(Q), dtype=bool))) @ V


@causal.trap("Le masque est posé après le softmax : les poids d’une ligne ne somment plus à 1.")
def _(Q, K, V):
    return np.tril(_weights(Q @ K.T / np.sqrt(Q.shape[1]))) @ V


@causal.trap("Le masque est à l’envers : chaque position lit le futur, et non le passé.")
def _(Q, K, V):
    seen = np.triu(np.ones((len(Q), len(Q)), dtype=bool))
    return _weights(_hide(Q @ K.T / np.sqrt(Q.shape[1]), seen)) @ V


@causal.trap("Les scores sont transposés : la ligne i doit contenir q_i · k_j, donc Q @ K.T.")
def _(Q, K, V):
    return _weights(_hide(K @ Q.T / np.sqrt(Q.shape[1]), np.tri(len(Q), dtype=bool))) @ V


@causal.trap(
    "Les scores masqués valent 0, et exp(0) = 1 : le futur garde un poids. Mettez-les à -np.inf."
)
def _(Q, K, V):
    return _weights(np.tril(Q @ K.T / np.sqrt(Q.shape[1]))) @ V


@causal.trap(
    "La diagonale est masquée : un mot doit se voir lui-même, sinon le premier n’a rien à lire."
)
def _(Q, K, V):
    with np.errstate(invalid="ignore"):
        seen = np.tri(len(Q), k=-1, dtype=bool)
        return _weights(_hide(Q @ K.T / np.sqrt(Q.shape[1]), seen)) @ V


@causal.trap("Le softmax porte sur les colonnes : ce sont les lignes qui doivent sommer à 1.")
def _(Q, K, V):
    hidden = _hide(Q @ K.T / np.sqrt(Q.shape[1]), np.tri(len(Q), dtype=bool))
    return _weights(hidden.T).T @ V


@causal.trap("Vous divisez par la racine de T : d est le nombre de colonnes de Q.")
def _(Q, K, V):
    return _weights(_hide(Q @ K.T / np.sqrt(len(Q)), np.tri(len(Q), dtype=bool))) @ V


@causal.trap("La division par la racine de d vient avant le softmax, non après.")
def _(Q, K, V):
    return _weights(_hide(Q @ K.T, np.tri(len(Q), dtype=bool))) / np.sqrt(Q.shape[1]) @ V


@causal.variant
def _(Q, K, V):
    rows = []
    for t, q in enumerate(Q):  # la position t ne voit que les t + 1 premières clés
        weights = np.exp(K[: t + 1] @ q / len(q) ** 0.5)
        rows.append(weights @ V[: t + 1] / weights.sum())
    return np.array(rows)
