"""Exercices de la section « Fusionner, échanger, servir »."""

import numpy as np

from llmbook.exercise import Exercise

merge_exercise = Exercise(
    "ex-fusion-poids",
    title="Une seule matrice",
    level="facile",
    minutes=5,
    hints=("Le rang est le nombre de lignes de A.", "L’échelle multiplie B @ A, pas W."),
)


@merge_exercise.reference
def merged(W, A, B, alpha):
    """W (m, n), A (r, n), B (m, r) -> (m, n)."""
    return W + alpha / len(A) * B @ A


@merge_exercise.cases
def _(rng):
    for m, n, r, alpha in ((3, 5, 2, 4.0), (6, 4, 1, 1.0), (4, 7, 3, 16)):
        yield rng.normal(size=(m, n)), rng.normal(size=(r, n)), rng.normal(size=(m, r)), alpha


@merge_exercise.trap("Il manque l’échelle α / r devant B @ A.")
def _(W, A, B, alpha):
    return W + B @ A


@merge_exercise.trap("L’échelle est α / r : α seul la rend r fois trop grande.")
def _(W, A, B, alpha):
    return W + alpha * B @ A


@merge_exercise.trap("Le rang est le nombre de lignes de A, pas son nombre de colonnes.")
def _(W, A, B, alpha):
    return W + alpha / A.shape[1] * B @ A


@merge_exercise.trap("W garde sa taille : seule la correction est mise à l’échelle.")
def _(W, A, B, alpha):
    return alpha / len(A) * (W + B @ A)


@merge_exercise.variant
def _(W, A, B, alpha):
    total = W.copy()
    for row, column in zip(A, B.T, strict=True):
        total += alpha * np.outer(column, row) / B.shape[1]
    return total


rounding_exercise = Exercise(
    "ex-fusion-arrondi",
    title="Ce que l’arrondi efface",
    level="moyen",
    minutes=10,
    hints=(
        "Sommez en float32 : W.float() + delta.",
        "Arrondissez la somme par .to(torch.bfloat16), et comparez-la à W.",
        "Une correction nulle n’a rien à perdre : ne la comptez pas.",
    ),
)


@rounding_exercise.reference
def vanished(W, delta):
    """W (m, n) bfloat16, delta (m, n) float32 -> entier."""
    import torch

    same = (W.float() + delta).to(torch.bfloat16) == W
    return int((same & (delta != 0)).sum())


@rounding_exercise.cases
def _(rng):
    import torch

    for scale in (1e-4, 1e-3, 1e-2):
        W = torch.from_numpy(rng.normal(scale=0.1, size=(8, 16))).to(torch.bfloat16)
        delta = torch.from_numpy(rng.normal(scale=scale, size=(8, 16))).float()
        delta[0] = 0
        yield W, delta
    yield torch.ones(2, 3, dtype=torch.bfloat16), torch.full((2, 3), 2.0**-9)
    yield torch.ones(2, 3, dtype=torch.bfloat16), torch.full((2, 3), 2.0**-8 + 2.0**-12)


@rounding_exercise.trap("Une correction nulle n’est pas effacée : elle n’avait rien à changer.")
def _(W, delta):
    import torch

    return int(((W.float() + delta).to(torch.bfloat16) == W).sum())


@rounding_exercise.trap("Vous comptez celles qui restent : c’est le complément qui est demandé.")
def _(W, delta):
    import torch

    return int(((W.float() + delta).to(torch.bfloat16) != W).sum())


@rounding_exercise.trap("En float32 presque rien ne se perd : arrondissez la somme en bfloat16.")
def _(W, delta):
    return int(((W.float() + delta == W.float()) & (delta != 0)).sum())


@rounding_exercise.trap(
    "Une correction très petite n’est pas toujours effacée : cela dépend de la taille de son poids."
)
def _(W, delta):
    return int(((delta.abs() < 2.0**-9) & (delta != 0)).sum())


@rounding_exercise.variant
def _(W, delta):
    import torch

    total = 0
    for w, d in zip(W.flatten(), delta.flatten(), strict=True):
        after = torch.tensor(float(w) + float(d)).bfloat16()
        total += bool(d != 0 and float(after) == float(w))
    return total


rows_exercise = Exercise(
    "ex-fusion-lot",
    title="Chaque ligne, son adaptateur",
    level="difficile",
    minutes=25,
    hints=(
        "Une boucle sur les adaptateurs est permise : which == i dit les lignes du i-ème.",
        "Pour ces lignes : s · (x @ A.T) @ B.T.",
        "Les lignes marquées -1 gardent une correction nulle.",
    ),
)


@rows_exercise.reference
def per_row(x, adapters, which):
    """x (B, n) -> corrections (B, m)."""
    out = np.zeros((len(x), len(adapters[0][1])))
    for i, (A, B, s) in enumerate(adapters):
        mine = which == i
        out[mine] = s * (x[mine] @ A.T) @ B.T
    return out


@rows_exercise.cases
def _(rng):
    def adapter(n, m, r, s):
        return rng.normal(size=(r, n)), rng.normal(size=(m, r)), s

    pair = [adapter(6, 4, 2, 2.0), adapter(6, 4, 3, 0.5)]
    yield rng.normal(size=(5, 6)), pair, np.array([0, 1, -1, 1, 0])
    yield rng.normal(size=(3, 6)), pair, np.array([1, 1, 1])
    trio = [adapter(5, 7, r, 1.5) for r in (1, 2, 4)]
    yield rng.normal(size=(8, 5)), trio, np.array([2, 0, -1, 1, 2, -1, 0, 1])


@rows_exercise.trap("Chaque ligne doit recevoir son adaptateur, pas la somme de tous.")
def _(x, adapters, which):
    return sum(s * (x @ A.T) @ B.T for A, B, s in adapters)


@rows_exercise.trap("-1 veut dire aucun adaptateur : en Python, l’indice -1 désigne le dernier.")
def _(x, adapters, which):
    found = [adapters[i] for i in which]
    return np.stack([s * B @ (A @ row) for row, (A, B, s) in zip(x, found, strict=True)])


@rows_exercise.trap("Chaque adaptateur a son échelle s : elle manque.")
def _(x, adapters, which):
    out = np.zeros((len(x), len(adapters[0][1])))
    for i, (A, B, _) in enumerate(adapters):
        out[which == i] = (x[which == i] @ A.T) @ B.T
    return out


@rows_exercise.variant
def _(x, adapters, which):
    A = np.concatenate([a for a, _, _ in adapters])
    B = np.concatenate([b for _, b, _ in adapters], axis=1)
    owner = np.concatenate([[i] * len(a) for i, (a, _, _) in enumerate(adapters)])
    scale = np.concatenate([[s] * len(a) for a, _, s in adapters])
    return ((x @ A.T) * (which[:, None] == owner) * scale) @ B.T


mix_exercise = Exercise(
    "ex-fusion-somme",
    title="Un mélange, sans former les matrices",
    level="moyen",
    minutes=10,
    hints=("Une somme sur les adaptateurs.", "B @ (A @ x) : deux produits par un vecteur."),
)


@mix_exercise.reference
def mixed(x, adapters, weights):
    """x (n,) -> (m,)."""
    return sum(w * s * B @ (A @ x) for (A, B, s), w in zip(adapters, weights, strict=True))


@mix_exercise.cases
def _(rng):
    for ranks, weights in (((2, 3), [0.7, 0.3]), ((1,), [2.0]), ((2, 2, 2), [1.0, -1.0, 0.5])):
        adapters = [
            (rng.normal(size=(r, 6)), rng.normal(size=(4, r)), float(rng.uniform(0.5, 2)))
            for r in ranks
        ]
        yield rng.normal(size=6), adapters, weights


@mix_exercise.trap("Chaque adaptateur a son échelle s : elle manque.")
def _(x, adapters, weights):
    return sum(w * B @ (A @ x) for (A, B, _), w in zip(adapters, weights, strict=True))


@mix_exercise.trap("Les poids du mélange n’interviennent pas.")
def _(x, adapters, weights):
    return sum(s * B @ (A @ x) for A, B, s in adapters)


@mix_exercise.trap(
    "Les poids n’ont pas à sommer à 1 : ne les normalisez pas, un poids peut être négatif."
)
def _(x, adapters, weights):
    size = sum(abs(w) for w in weights) * 1.5
    return mixed(x, adapters, [w / size for w in weights])


@mix_exercise.variant
def _(x, adapters, weights):
    A = np.concatenate([a for a, _, _ in adapters])
    B = np.concatenate([w * s * b for (_, b, s), w in zip(adapters, weights, strict=True)], axis=1)
    return B @ (A @ x)


disk_exercise = Exercise(
    "ex-fusion-disque",
    title="Ce que pèsent dix tâches",
    level="facile",
    minutes=8,
    hints=(
        "Dix modèles fusionnés : dix fois tout le modèle.",
        "Une base et dix adaptateurs : une fois tout le modèle, dix fois r (m + n) par matrice.",
    ),
)


@disk_exercise.reference
def saved_bytes(shapes, rest, r, tasks, width):
    """Octets épargnés ; shapes : liste de (m, n) ; rest : octets du reste du modèle."""
    whole = rest + width * sum(m * n for m, n in shapes)
    adapter = width * sum(r * (m + n) for m, n in shapes)
    return (tasks - 1) * whole - tasks * adapter


@disk_exercise.cases
def _(rng):
    yield [(256, 256), (704, 256)], 10_000, 8, 10, 2
    yield [(64, 32)], 0, 4, 1, 4
    yield [(4096, 4096)] * 3, 500_000, 16, 50, 2


@disk_exercise.trap("La base compte aussi : avec des adaptateurs, il en reste une.")
def _(shapes, rest, r, tasks, width):
    whole = rest + width * sum(m * n for m, n in shapes)
    return tasks * whole - tasks * width * sum(r * (m + n) for m, n in shapes)


@disk_exercise.trap("Un adaptateur a deux matrices : r (m + n) nombres, pas r · m · n.")
def _(shapes, rest, r, tasks, width):
    whole = rest + width * sum(m * n for m, n in shapes)
    return (tasks - 1) * whole - tasks * width * sum(r * m * n for m, n in shapes)


@disk_exercise.trap("Chaque modèle fusionné emporte aussi le reste : comptez `rest` à chaque fois.")
def _(shapes, rest, r, tasks, width):
    return saved_bytes(shapes, 0, r, tasks, width)


@disk_exercise.variant
def _(shapes, rest, r, tasks, width):
    total = -rest + tasks * rest
    for m, n in shapes:
        total += width * ((tasks - 1) * m * n - tasks * (r * m + r * n))
    return total
