"""Exercices de la section « Muon contre AdamW »."""

import numpy as np

from llmbook.exercise import Exercise

JORDAN = (3.4445, -4.7750, 2.0315)

polar_exercise = Exercise(
    "ex-muon-polaire", title="Le facteur polaire", level="facile", minutes=4,
    hints=("np.linalg.svd(G, full_matrices=False) renvoie U, les valeurs singulières et Vᵀ.",
           "Remplacer Σ par l’identité, c’est ne pas l’écrire : U @ Vt."))


@polar_exercise.reference
def polar_factor(G):
    """G : (m, n), de rang plein ; renvoie U Vᵀ, (m, n)."""
    U, _, Vt = np.linalg.svd(G, full_matrices=False)
    return U @ Vt


@polar_exercise.cases
def _(rng):
    yield (np.array([[3.0, 0.0], [0.0, 0.1]]),)
    yield (rng.normal(size=(4, 4)),)
    yield (rng.normal(size=(3, 5)),)
    yield (rng.normal(size=(6, 2)),)


@polar_exercise.trap("np.linalg.svd renvoie déjà Vᵀ : ne le transposez pas.")
def _(G):
    U, _, Vt = np.linalg.svd(G, full_matrices=False)
    k = U.shape[1]
    return U @ Vt.T if Vt.shape[0] == Vt.shape[1] else U @ Vt.T[:k, :k] @ np.eye(k, G.shape[1])


@polar_exercise.trap("Diviser par une norme garde les écarts entre directions : il faut les égaliser.")
def _(G):
    return G / np.linalg.norm(G)


@polar_exercise.trap("Diviser par la plus grande valeur singulière garde les écarts entre directions : "
                     "il faut les égaliser.")
def _(G):
    return G / np.linalg.norm(G, 2)


@polar_exercise.trap("C’est le signe de chaque coefficient, le pas d’Adam sans ses moyennes ; on demande "
                     "celui des valeurs singulières.")
def _(G):
    return np.sign(G)


@polar_exercise.trap("Vous avez rendu U Σ Vᵀ, donc G : remplacez Σ par l’identité.")
def _(G):
    return G.copy()


@polar_exercise.trap("Les valeurs singulières sont inversées, non égalisées : c’est la pseudo-inverse, "
                     "transposée.")
def _(G):
    U, s, Vt = np.linalg.svd(G, full_matrices=False)
    return U / s @ Vt


@polar_exercise.variant
def _(G):
    """(G Gᵀ)^(-1/2) G, par des valeurs propres."""
    if G.shape[0] > G.shape[1]:
        values, vectors = np.linalg.eigh(G.T @ G)
        return G @ (vectors / np.sqrt(values)) @ vectors.T
    values, vectors = np.linalg.eigh(G @ G.T)
    return (vectors / np.sqrt(values)) @ vectors.T @ G


iteration_exercise = Exercise(
    "ex-muon-iteration", title="Une itération", level="facile", minutes=6,
    hints=("Posez A = X @ X.T, de forme (m, m).",
           "Le résultat est a X + (b A + c A @ A) @ X."))


@iteration_exercise.reference
def iteration(X, a, b, c):
    """X : (m, n) ; renvoie (m, n)."""
    A = X @ X.T
    return a * X + (b * A + c * A @ A) @ X


@iteration_exercise.cases
def _(rng):
    yield np.diag([0.5, 0.1]), 1.5, -0.5, 0.0
    for shape in ((3, 3), (2, 5), (5, 2)):
        yield 0.3 * rng.normal(size=shape), *JORDAN


@iteration_exercise.trap("X**3 et X**5 élèvent chaque coefficient : il faut des produits de matrices.")
def _(X, a, b, c):
    return a * X + b * X**3 + c * X**5


@iteration_exercise.trap("A * A multiplie coefficient par coefficient : le carré d’une matrice est A @ A.")
def _(X, a, b, c):
    A = X @ X.T
    return a * X + (b * A + c * A * A) @ X


@iteration_exercise.trap("b et c sont échangés : b va avec le cube, c avec la puissance cinq.")
def _(X, a, b, c):
    return iteration(X, a, c, b)


@iteration_exercise.trap("Le terme a X manque.")
def _(X, a, b, c):
    return iteration(X, 0.0, b, c)


@iteration_exercise.trap("Le terme en c est au degré trois : il faut (XXᵀ)² X, donc A @ A @ X.")
def _(X, a, b, c):
    A = X @ X.T
    return a * X + b * A @ X + c * A @ X


@iteration_exercise.trap("Vous êtes allé jusqu’au degré sept : (XXᵀ)² X suffit.")
def _(X, a, b, c):
    A = X @ X.T
    return a * X + b * A @ X + c * A @ A @ A @ X


@iteration_exercise.variant
def _(X, a, b, c):
    """Par la SVD."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    return U * (a * s + b * s**3 + c * s**5) @ Vt


@iteration_exercise.variant
def _(X, a, b, c):
    """Par l’autre côté : XᵀX."""
    A = X.T @ X
    return X @ (a * np.eye(len(A)) + b * A + c * A @ A)


partition_exercise = Exercise(
    "ex-muon-partage", title="Qui va où ?", level="facile", minutes=5,
    hints=("Une matrice a une forme de deux nombres.",
           "Écartez le plongement et la tête par leur nom."))


@partition_exercise.reference
def for_muon(shapes):
    """shapes : dictionnaire nom -> forme ; renvoie une liste de noms."""
    outside = ("embed.weight", "lm_head.weight")
    return [name for name, shape in shapes.items() if len(shape) == 2 and name not in outside]


@partition_exercise.cases
def _(rng):
    yield ({"embed.weight": (256, 64), "blocks.0.attention_norm.weight": (64,),
            "blocks.0.attention.qkv.weight": (192, 64), "blocks.0.attention.qkv.bias": (192,),
            "blocks.0.ffn.down.weight": (64, 192), "norm.weight": (64,),
            "lm_head.weight": (256, 64)},)
    yield ({"embed.weight": (64, 64), "blocks.0.attention.out.weight": (64, 64),
            "lm_head.weight": (64, 64)},)
    yield ({"blocks.0.ffn.gate_up.weight": (384, 64), "blocks.0.ffn_norm.weight": (64,)},)


@partition_exercise.trap("La tête est restée chez Muon : lm_head.weight va à AdamW, comme le plongement.")
def _(shapes):
    return [n for n, s in shapes.items() if len(s) == 2 and n != "embed.weight"]


@partition_exercise.trap("Le plongement est resté chez Muon : c’est une table, elle va à AdamW.")
def _(shapes):
    return [n for n, s in shapes.items() if len(s) == 2 and n != "lm_head.weight"]


@partition_exercise.trap("Toutes les matrices ne sont pas cachées : écartez le plongement et la tête.")
def _(shapes):
    return [n for n, s in shapes.items() if len(s) == 2]


@partition_exercise.trap("Les normes et les biais sont des vecteurs : ils n’ont rien à orthogonaliser.")
def _(shapes):
    return [n for n in shapes if n not in ("embed.weight", "lm_head.weight")]


@partition_exercise.trap("Vous avez rendu la part d’AdamW : on demande celle de Muon.")
def _(shapes):
    return [n for n in shapes if n not in for_muon(shapes)]


@partition_exercise.variant
def _(shapes):
    return [n for n in shapes if n.startswith("blocks.") and len(shapes[n]) > 1]


cost_exercise = Exercise(
    "ex-muon-cout", title="Le surcoût", level="moyen", minutes=10,
    hints=("On transpose une matrice haute : appelez r le plus petit côté, R le plus grand.",
           "Un produit (p, q) par (q, s) fait 2pqs opérations ; il y en a trois par pas.",
           "Avant et arrière font 6 m n B."))


@cost_exercise.reference
def overhead(m, n, B, steps):
    """Opérations de Newton–Schulz / opérations des passes avant et arrière."""
    r, R = min(m, n), max(m, n)
    return steps * (4 * r * r * R + 2 * r**3) / (6 * m * n * B)


@cost_exercise.cases
def _(rng):
    yield 64, 64, 1024, 5
    yield 64, 192, 1024, 5
    yield 384, 64, 512, 3
    yield 768, 3072, 524_288, 5


@cost_exercise.trap("Une matrice haute est transposée : le petit côté va au carré, pas toujours m.")
def _(m, n, B, steps):
    return steps * (4 * m * m * n + 2 * m**3) / (6 * m * n * B)


@cost_exercise.trap("Vous avez mis le grand côté au carré : on transpose pour que ce soit le petit.")
def _(m, n, B, steps):
    r, R = min(m, n), max(m, n)
    return steps * (4 * R * R * r + 2 * R**3) / (6 * m * n * B)


@cost_exercise.trap("La passe arrière manque : avant 2mnB, arrière 4mnB.")
def _(m, n, B, steps):
    return 3 * overhead(m, n, B, steps)


@cost_exercise.trap("Un produit compte deux opérations par terme, une multiplication et une addition : "
                    "vous n’en comptez qu’une dans Newton–Schulz.")
def _(m, n, B, steps):
    return overhead(m, n, B, steps) / 2


@cost_exercise.trap("Il manque le carré de A = XXᵀ, 2 r³ opérations.")
def _(m, n, B, steps):
    r, R = min(m, n), max(m, n)
    return steps * 4 * r * r * R / (6 * m * n * B)


@cost_exercise.trap("Le nombre de pas manque : vous n’en comptez qu’un.")
def _(m, n, B, steps):
    return overhead(m, n, B, 1)


@cost_exercise.variant
def _(m, n, B, steps):
    r = min(m, n)
    return steps * r * (2 + r / max(m, n)) / (3 * B)


newton_exercise = Exercise(
    "ex-muon-newton-schulz", title="Newton–Schulz entier", level="moyen", minutes=20,
    hints=("Divisez d’abord par np.linalg.norm(G), la norme de Frobenius.",
           "Si m > n, travaillez sur la transposée, et transposez le résultat.",
           "Répétez steps fois a X + (b A + c A @ A) @ X, avec A = X @ X.T."))


def _newton(G, steps, coefficients, norm):
    a, b, c = coefficients
    X = G.T if G.shape[0] > G.shape[1] else G
    X = X / norm
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if G.shape[0] > G.shape[1] else X


@newton_exercise.reference
def orthogonalize(G, steps, coefficients):
    """G : (m, n) ; renvoie (m, n), de valeurs singulières proches de 1."""
    a, b, c = coefficients
    is_tall = G.shape[0] > G.shape[1]
    X = G.T if is_tall else G
    X = X / np.linalg.norm(X)
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if is_tall else X


@newton_exercise.cases
def _(rng):
    yield np.diag([3.0, 1.0]), 5, JORDAN
    yield rng.normal(size=(3, 6)), 5, JORDAN
    yield 100 * rng.normal(size=(6, 3)), 5, JORDAN
    yield rng.normal(size=(4, 4)), 12, (1.5, -0.5, 0.0)
    yield rng.normal(size=(5, 2)), 2, JORDAN


@newton_exercise.trap("Sans diviser d’abord par la norme, les valeurs singulières sortent de [0, 1] et le "
                      "polynôme explose.")
def _(G, steps, coefficients):
    return _newton(G, steps, coefficients, 1.0)


@newton_exercise.trap("Vous divisez par la plus grande valeur singulière : juste en principe, mais elle "
                      "demande une SVD. L’énoncé veut la norme de Frobenius.")
def _(G, steps, coefficients):
    return _newton(G, steps, coefficients, np.linalg.norm(G, 2))


@newton_exercise.trap("Vous faites un pas de trop ou de moins : steps pas exactement.")
def _(G, steps, coefficients):
    return orthogonalize(G, steps - 1, coefficients)


@newton_exercise.trap("Vous divisez par le plus grand coefficient, qui ne majore pas les valeurs "
                      "singulières : prenez la norme de Frobenius.")
def _(G, steps, coefficients):
    return _newton(G, steps, coefficients, np.abs(G).max())


@newton_exercise.trap("Vous renormalisez à chaque pas : une seule fois, au début.")
def _(G, steps, coefficients):
    a, b, c = coefficients
    X = G
    for _ in range(steps):
        X = X / np.linalg.norm(X)
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X


@newton_exercise.trap("La matrice haute est restée transposée : rendez la forme de G.")
def _(G, steps, coefficients):
    X = orthogonalize(G, steps, coefficients)
    return X.T if G.shape[0] > G.shape[1] else X


@newton_exercise.trap("C’est le facteur polaire exact : on demande ce qu’en font steps pas du polynôme.")
def _(G, steps, coefficients):
    return polar_factor(G)


@newton_exercise.variant
def _(G, steps, coefficients):
    """Le polynôme itéré sur les valeurs singulières."""
    a, b, c = coefficients
    U, s, Vt = np.linalg.svd(G, full_matrices=False)
    s = s / np.sqrt((s**2).sum())
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return U * s @ Vt


step_exercise = Exercise(
    "ex-muon-pas", title="Un pas de Muon", level="difficile", minutes=30,
    hints=("M devient mu M + (1 - mu) G ; la direction est mu M + (1 - mu) G, avec le nouveau M.",
           "Orthogonalisez la direction, pas le gradient : U @ Vt.",
           "W devient (1 - rate decay) W - rate √max(1, m/n) U Vᵀ."))


@step_exercise.reference
def muon_update(W, M, G, rate, mu, decay):
    """W, M, G : (m, n) ; renvoie (W, M) après un pas."""
    M = mu * M + (1 - mu) * G
    direction = mu * M + (1 - mu) * G
    U, _, Vt = np.linalg.svd(direction, full_matrices=False)
    scale = np.sqrt(max(1, W.shape[0] / W.shape[1]))
    return (1 - rate * decay) * W - rate * scale * (U @ Vt), M


@step_exercise.cases
def _(rng):
    for shape in ((3, 3), (2, 5), (6, 2)):
        yield rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=shape), 0.1, 0.9, 0.5
    yield np.eye(2), np.zeros((2, 2)), np.diag([2.0, 0.5]), 0.02, 0.95, 0.1


def _muon(W, M, G, rate, mu, decay, nesterov=True, scale=None, orthogonal="direction"):
    M = mu * M + (1 - mu) * G
    chosen = {"direction": mu * M + (1 - mu) * G if nesterov else M, "gradient": G}[orthogonal]
    scale = np.sqrt(max(1, W.shape[0] / W.shape[1])) if scale is None else scale
    return (1 - rate * decay) * W - rate * scale * polar_factor(chosen), M


@step_exercise.trap("Nesterov manque : la direction est mu M + (1 - mu) G, avec le nouveau M.")
def _(W, M, G, rate, mu, decay):
    return _muon(W, M, G, rate, mu, decay, nesterov=False)


@step_exercise.trap("Vous orthogonalisez le gradient du lot : c’est l’inertie qu’il faut orthogonaliser.")
def _(W, M, G, rate, mu, decay):
    return _muon(W, M, G, rate, mu, decay, orthogonal="gradient")


@step_exercise.trap("L’échelle manque pour les matrices hautes : √max(1, m/n).")
def _(W, M, G, rate, mu, decay):
    return _muon(W, M, G, rate, mu, decay, scale=1.0)


@step_exercise.trap("Sans max(1, …), une matrice large reçoit un pas trop petit.")
def _(W, M, G, rate, mu, decay):
    return _muon(W, M, G, rate, mu, decay, scale=np.sqrt(W.shape[0] / W.shape[1]))


@step_exercise.trap("C’est l’échelle de Moonlight, 0.2 √max(m, n) ; l’énoncé demande √max(1, m/n).")
def _(W, M, G, rate, mu, decay):
    return _muon(W, M, G, rate, mu, decay, scale=0.2 * np.sqrt(max(W.shape)))


@step_exercise.trap("La décroissance est passée dans le gradient : découplée, elle multiplie W par "
                    "1 - rate decay.")
def _(W, M, G, rate, mu, decay):
    return _muon(W, M, G + decay * W, rate, mu, 0.0)


@step_exercise.trap("La décroissance manque : W est d’abord multiplié par 1 - rate decay.")
def _(W, M, G, rate, mu, decay):
    return _muon(W, M, G, rate, mu, 0.0)


@step_exercise.trap("Le signe est faux : on retire le pas.")
def _(W, M, G, rate, mu, decay):
    new = _muon(W, M, G, rate, mu, decay)
    return 2 * (1 - rate * decay) * W - new[0], new[1]


@step_exercise.trap("Vous rangez dans M la direction de Nesterov : gardez la moyenne glissante.")
def _(W, M, G, rate, mu, decay):
    W, M = _muon(W, M, G, rate, mu, decay)
    return W, mu * M + (1 - mu) * G


@step_exercise.variant
def _(W, M, G, rate, mu, decay):
    """Facteur polaire par l’itération cubique, poussée jusqu’à convergence."""
    M = M + (1 - mu) * (G - M)
    X = G + mu * (M - G)
    X = X / np.linalg.norm(X)
    for _ in range(60):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    m, n = W.shape
    return W - rate * decay * W - rate * max(1.0, (m / n) ** 0.5) * X, M
