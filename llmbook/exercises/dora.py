"""Exercices de la section « rsLoRA et DoRA »."""

import math

import numpy as np

from llmbook.exercise import Exercise

scale_exercise = Exercise(
    "ex-dora-echelle",
    title="Le même adaptateur",
    level="facile",
    minutes=6,
    hints=(
        "Écrivez d’abord l’échelle de la recette : alpha / rank, ou alpha / √rank.",
        "L’autre convention, au nouveau rang, doit donner ce nombre : résolvez en α.",
    ),
)


@scale_exercise.reference
def translated_alpha(rank, alpha, rslora, new_rank):
    """L’α de même échelle, au rang new_rank, avec l’autre convention."""
    if rslora:
        return alpha / math.sqrt(rank) * new_rank
    return alpha / rank * math.sqrt(new_rank)


@scale_exercise.cases
def _(rng):
    yield 256, 512, False, 256
    yield 64, 16, True, 64
    yield 8, 16, False, 32
    yield 16, 16, True, 4


@scale_exercise.trap("Vous gardez α : l’échelle change, c’est la panne de la page.")
def _(rank, alpha, rslora, new_rank):
    return float(alpha)


@scale_exercise.trap("Vous gardez la même convention ; on demande l’autre.")
def _(rank, alpha, rslora, new_rank):
    power = 0.5 if rslora else 1
    return alpha * (new_rank / rank) ** power


@scale_exercise.trap("Les deux conventions sont échangées : rslora dit celle de la recette.")
def _(rank, alpha, rslora, new_rank):
    if not rslora:
        return alpha / math.sqrt(rank) * new_rank
    return alpha / rank * math.sqrt(new_rank)


@scale_exercise.trap("Vous oubliez le nouveau rang : l’α cherché en dépend.")
def _(rank, alpha, rslora, new_rank):
    return alpha * math.sqrt(rank) if rslora else alpha / math.sqrt(rank)


@scale_exercise.variant
def _(rank, alpha, rslora, new_rank):
    old, new = (0.5, 1.0) if rslora else (1.0, 0.5)
    return alpha * new_rank**new * rank**-old


layer_exercise = Exercise(
    "ex-dora-couche",
    title="La couche DoRA",
    level="moyen",
    minutes=12,
    hints=(
        "V = W + s B A est (m, n) ; chaque ligne se divise par sa norme, axis=1.",
        "La ligne i se multiplie par mu[i] : mu[:, None].",
        "La sortie d’une matrice (m, n) sur x (T, n) est x @ matrice.T.",
    ),
)


@layer_exercise.reference
def dora_forward(x, W, A, B, mu, s):
    """x (T, n), W (m, n), A (r, n), B (m, r), mu (m,) ; renvoie (T, m)."""
    V = W + s * B @ A
    return x @ (mu[:, None] * V / np.linalg.norm(V, axis=1, keepdims=True)).T


@layer_exercise.cases
def _(rng):
    for T, m, n, r in ((3, 4, 6, 2), (5, 7, 7, 3), (2, 6, 4, 1)):
        W, A, B = rng.normal(size=(m, n)), rng.normal(size=(r, n)), rng.normal(size=(m, r))
        yield rng.normal(size=(T, n)), W, A, B, rng.uniform(0.5, 2, m), 0.7


@layer_exercise.trap("La norme est celle de W : elle doit être refaite sur V = W + s B A.")
def _(x, W, A, B, mu, s):
    V = W + s * B @ A
    return x @ (mu[:, None] * V / np.linalg.norm(W, axis=1, keepdims=True)).T


@layer_exercise.trap("La norme manque : mu multiplie la direction, de longueur 1.")
def _(x, W, A, B, mu, s):
    return x @ (mu[:, None] * (W + s * B @ A)).T


@layer_exercise.trap("L’échelle s manque devant B A.")
def _(x, W, A, B, mu, s):
    return dora_forward(x, W, A, B, mu, 1.0)


@layer_exercise.trap("Vous divisez par la norme de la matrice entière ; il en faut une par ligne.")
def _(x, W, A, B, mu, s):
    V = W + s * B @ A
    return x @ (mu[:, None] * V / np.linalg.norm(V)).T


@layer_exercise.trap("La correction s’ajoute après la normalisation ; elle doit tourner V avant.")
def _(x, W, A, B, mu, s):
    direction = W / np.linalg.norm(W, axis=1, keepdims=True)
    return x @ (mu[:, None] * direction + s * B @ A).T


@layer_exercise.variant
def _(x, W, A, B, mu, s):
    y = x @ W.T + s * (x @ A.T) @ B.T
    norms = np.sqrt(((W + s * B @ A) ** 2).sum(1))
    return y * (mu / norms)


norm_exercise = Exercise(
    "ex-dora-norme",
    title="La norme sans la matrice",
    level="moyen",
    minutes=12,
    hints=(
        "‖w + s Aᵀb‖² = ‖w‖² + 2 s b·(A w) + s² b·(A Aᵀ b).",
        "cross[i] est A w pour la ligne i : (B * cross).sum(1) fait les produits b·(A w).",
        "((B @ gram) * B).sum(1) fait les b·(A Aᵀ b). N’oubliez pas la racine.",
    ),
)


@norm_exercise.reference
def norms_from(squares, cross, gram, B, s):
    """squares (m,), cross (m, r), gram (r, r), B (m, r) ; renvoie (m,)."""
    return np.sqrt(squares + 2 * s * (B * cross).sum(1) + s**2 * ((B @ gram) * B).sum(1))


@norm_exercise.cases
def _(rng):
    for m, n, r, s in ((4, 9, 2, 0.5), (6, 5, 3, 2.0), (3, 8, 1, 0.1)):
        W, A, B = rng.normal(size=(m, n)), rng.normal(size=(r, n)), rng.normal(size=(m, r))
        yield (W**2).sum(1), W @ A.T, A @ A.T, B, s


@norm_exercise.trap("Le double produit compte deux fois : 2 s b·(A w).")
def _(squares, cross, gram, B, s):
    return np.sqrt(np.abs(squares + s * (B * cross).sum(1) + s**2 * ((B @ gram) * B).sum(1)))


@norm_exercise.trap("Le dernier terme est en s² : l’échelle y entre deux fois.")
def _(squares, cross, gram, B, s):
    return np.sqrt(np.abs(squares + 2 * s * (B * cross).sum(1) + s * ((B @ gram) * B).sum(1)))


@norm_exercise.trap("Le double produit manque : w et la correction ne sont pas orthogonales.")
def _(squares, cross, gram, B, s):
    return np.sqrt(squares + s**2 * ((B @ gram) * B).sum(1))


@norm_exercise.trap("Il manque la racine : ce sont les carrés des normes.")
def _(squares, cross, gram, B, s):
    return squares + 2 * s * (B * cross).sum(1) + s**2 * ((B @ gram) * B).sum(1)


@norm_exercise.variant
def _(squares, cross, gram, B, s):
    cross_term = np.einsum("mr,mr->m", B, cross)
    quadratic = np.einsum("mr,rk,mk->m", B, gram, B)
    return (squares + s * (2 * cross_term + s * quadratic)) ** 0.5


changes_exercise = Exercise(
    "ex-dora-mesures",
    title="Longueur, direction",
    level="moyen",
    minutes=12,
    hints=(
        "Une norme par ligne, axis=1 ; ΔM est la moyenne des |écarts|.",
        "Le cosinus d’une ligne nulle n’existe pas : calculez-le sur les autres seulement.",
    ),
)


@changes_exercise.reference
def changes(new, old):
    """(ΔM, ΔD) de deux matrices (m, n) ; les lignes nulles comptent zéro."""
    a, b = np.linalg.norm(new, axis=1), np.linalg.norm(old, axis=1)
    keep = (a > 0) & (b > 0)
    a, b, m = a[keep], b[keep], len(new)
    cosine = (new[keep] * old[keep]).sum(1) / (a * b)
    return float(np.abs(a - b).sum() / m), float((1 - cosine).sum() / m)


@changes_exercise.cases
def _(rng):
    old = rng.normal(size=(5, 8))
    yield old + 0.3 * rng.normal(size=(5, 8)), old
    yield 1.5 * old, old
    empty = old.copy()
    empty[2] = 0
    yield old + 0.1 * rng.normal(size=(5, 8)), empty
    yield -old, old


def _changes(new, old, average=True, signed=False, keep_empty=False, angle=False):
    a, b = np.linalg.norm(new, axis=1), np.linalg.norm(old, axis=1)
    keep = np.ones(len(a), bool) if keep_empty else (a > 0) & (b > 0)
    a, b, m = a[keep], b[keep], len(new)
    gap = a - b if signed else np.abs(a - b)
    with np.errstate(all="ignore"):
        cosine = np.clip((new[keep] * old[keep]).sum(1) / (a * b), -1, 1)
    turned = cosine if angle else 1 - cosine
    scale = m if average else 1
    return float(gap.sum() / scale), float(turned.sum() / scale)


@changes_exercise.trap("Une ligne nulle donne 0 / 0 : écartez-la des deux sommes.")
def _(new, old):
    return _changes(new, old, keep_empty=True)


@changes_exercise.trap("Sans valeur absolue, les lignes allongées et raccourcies se compensent.")
def _(new, old):
    return _changes(new, old, signed=True)


@changes_exercise.trap("Vous rendez le cosinus : ΔD est la moyenne de 1 - cos.")
def _(new, old):
    return _changes(new, old, angle=True)


@changes_exercise.trap("Vous rendez les sommes : divisez par m.")
def _(new, old):
    return _changes(new, old, average=False)


@changes_exercise.variant
def _(new, old):
    length = turn = 0.0
    for u, v in zip(new, old, strict=True):
        a, b = math.sqrt(u @ u), math.sqrt(v @ v)
        if a and b:
            length += abs(a - b)
            turn += 1 - u @ v / (a * b)
    return length / len(new), turn / len(new)


gradient_exercise = Exercise(
    "ex-dora-gradient",
    title="Le gradient de DoRA",
    level="difficile",
    minutes=25,
    hints=(
        "Pour mu : le produit scalaire de D et de V, ligne par ligne, sur la norme de V.",
        "La norme étant une constante, le gradient par rapport à V est g D, g = mu / ‖V‖ par ligne.",
        "V = W + s B A : le gradient de B est s (g D) Aᵀ, celui de A est s Bᵀ (g D).",
    ),
)


@gradient_exercise.reference
def dora_gradients(D, V, mu, A, B, s):
    """Gradients de mu (m,), B (m, r) et A (r, n), norme détachée ; D et V : (m, n)."""
    norms = np.linalg.norm(V, axis=1)
    dV = (mu / norms)[:, None] * D
    return (D * V).sum(1) / norms, s * dV @ A.T, s * B.T @ dV


@gradient_exercise.cases
def _(rng):
    for m, n, r, s in ((4, 6, 2, 0.5), (5, 5, 3, 2.0)):
        A, B = rng.normal(size=(r, n)), rng.normal(size=(m, r))
        V = rng.normal(size=(m, n)) + s * B @ A
        yield rng.normal(size=(m, n)), V, rng.uniform(0.5, 2, m), A, B, s


@gradient_exercise.trap("Vous dérivez aussi la norme : ici elle est détachée, sans projection.")
def _(D, V, mu, A, B, s):
    norms = np.linalg.norm(V, axis=1)
    along = (D * V).sum(1) / norms**2
    dV = (mu / norms)[:, None] * (D - along[:, None] * V)
    return (D * V).sum(1) / norms, s * dV @ A.T, s * B.T @ dV


@gradient_exercise.trap("L’échelle s manque dans les gradients de A et B.")
def _(D, V, mu, A, B, s):
    d_mu, dB, dA = dora_gradients(D, V, mu, A, B, s)
    return d_mu, dB / s, dA / s


@gradient_exercise.trap("Le gradient passe par le gain mu / ‖V‖ de chaque ligne : vous l’oubliez.")
def _(D, V, mu, A, B, s):
    return (D * V).sum(1) / np.linalg.norm(V, axis=1), s * D @ A.T, s * B.T @ D


@gradient_exercise.trap(
    "Le gradient de mu se divise par la norme de V : mu multiplie une direction."
)
def _(D, V, mu, A, B, s):
    _, dB, dA = dora_gradients(D, V, mu, A, B, s)
    return (D * V).sum(1), dB, dA


@gradient_exercise.variant
def _(D, V, mu, A, B, s):
    length = np.sqrt((V**2).sum(1, keepdims=True))
    scaled = D * (s * mu[:, None] / length)
    return np.einsum("mn,mn->m", D, V / length), scaled @ A.T, (scaled.T @ B).T
