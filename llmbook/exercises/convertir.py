"""Exercices de la section « Convertir un modèle de transformers »."""

import numpy as np

from llmbook.exercise import Exercise

names_exercise = Exercise(
    "ex-convertir-cibles",
    title="La règle des noms",
    level="facile",
    minutes=5,
    hints=(
        "str.endswith ne suffit pas : « seq_proj » finit par « q_proj ».",
        "Un nom convient s’il est égal à la cible, ou finit par « . » puis la cible.",
    ),
)


@names_exercise.reference
def pick(names, targets):
    """names, targets : listes de textes ; renvoie une liste."""
    return [n for n in names if any(n == end or n.endswith("." + end) for end in targets)]


@names_exercise.cases
def _(rng):
    names = ["lm_head", "h.0.q_proj", "h.0.attn.seq_proj", "h.0.k_proj", "h.0.q_proj.inner",
             "h.1.mlp.q_proj", "h.1.self_attn.out", "h.1.mlp.out", "q_proj"]  # fmt: skip
    yield names, ["q_proj"]
    yield names, ["self_attn.out", "k_proj"]
    yield names, ["lm_head"]
    yield names, ["proj"]


@names_exercise.trap(
    "Votre règle prend un nom qui contient la cible n’importe où : seule la fin compte."
)
def _(names, targets):
    return [n for n in names if any(end in n for end in targets)]


@names_exercise.trap("« seq_proj » finit par « q_proj » : la cible doit commencer après un point.")
def _(names, targets):
    return [n for n in names if any(n.endswith(end) for end in targets)]


@names_exercise.trap(
    "Vous ne comparez que le dernier morceau : une cible peut en avoir plusieurs, "
    "« self_attn.out »."
)
def _(names, targets):
    return [n for n in names if n.rpartition(".")[2] in targets]


@names_exercise.trap(
    "Un module à la racine n’a pas de point devant son nom : acceptez aussi l’égalité."
)
def _(names, targets):
    return [n for n in names if any(n.endswith("." + end) for end in targets)]


@names_exercise.variant
def _(names, targets):
    cut = [end.split(".") for end in targets]
    return [n for n in names if any(n.split(".")[-len(c) :] == c for c in cut)]


conv1d_exercise = Exercise(
    "ex-convertir-couchee",
    title="La matrice couchée",
    level="facile",
    minutes=6,
    hints=(
        "B A est de forme (m, n) ; W est (n, m).",
        "L’échelle est alpha divisé par le rang, qui se lit sur A.",
    ),
)


@conv1d_exercise.reference
def merge_conv1d(W, A, B, alpha):
    """W (n, m), A (r, n), B (m, r) ; renvoie (n, m)."""
    return W + alpha / len(A) * (B @ A).T


@conv1d_exercise.cases
def _(rng):
    for n, m, r, alpha in ((5, 5, 2, 8.0), (6, 4, 3, 16), (4, 9, 1, 2.0)):
        yield rng.normal(size=(n, m)), rng.normal(size=(r, n)), rng.normal(size=(m, r)), alpha


@conv1d_exercise.trap("B A est la correction de la matrice debout : transposez-la.")
def _(W, A, B, alpha):
    change = B @ A
    return W + alpha / len(A) * (change if change.shape == W.shape else change.T)


@conv1d_exercise.trap("L’échelle manque : s = alpha / r.")
def _(W, A, B, alpha):
    return W + (B @ A).T


@conv1d_exercise.trap("Vous multipliez par alpha sans diviser par le rang.")
def _(W, A, B, alpha):
    return W + alpha * (B @ A).T


@conv1d_exercise.trap("La matrice rendue doit rester couchée, (n, m), comme W.")
def _(W, A, B, alpha):
    return W.T + alpha / len(A) * (B @ A)


@conv1d_exercise.variant
def _(W, A, B, alpha):
    return W + np.einsum("mr,rn->nm", B, A) * (alpha / B.shape[1])


stack_exercise = Exercise(
    "ex-convertir-empiler",
    title="Empiler trois adaptateurs",
    level="moyen",
    minutes=12,
    hints=(
        "A : np.concatenate. B : des zéros de forme (somme des m, somme des r).",
        "Le bloc i de B commence à la somme des m et à la somme des r qui précèdent.",
        "Multipliez chaque bloc de B par son échelle.",
    ),
)


@stack_exercise.reference
def stack_adapters(pieces):
    """pieces : [(A (r, n), B (m, r), s), …] ; renvoie (A, B), d’échelle 1."""
    A = np.concatenate([a for a, _, _ in pieces])
    B = np.zeros((sum(len(b) for _, b, _ in pieces), len(A)))
    row = column = 0
    for a, b, s in pieces:
        B[row : row + len(b), column : column + len(a)] = s * b
        row, column = row + len(b), column + len(a)
    return A, B


@stack_exercise.cases
def _(rng):
    for n, sizes in ((4, ((3, 2, 2.0), (3, 2, 2.0), (3, 2, 2.0))), (5, ((4, 2, 0.5), (2, 1, 3.0))),
                     (3, ((2, 1, 1.0), (2, 3, 2.0), (1, 2, 0.25)))):  # fmt: skip
        yield ([(rng.normal(size=(r, n)), rng.normal(size=(m, r)), s) for m, r, s in sizes],)


def _stacked(pieces, scale=lambda s, first: s, shared_columns=False):
    A = np.concatenate([a for a, _, _ in pieces])
    B = np.zeros((sum(len(b) for _, b, _ in pieces), len(A)))
    row = column = 0
    for a, b, s in pieces:
        B[row : row + len(b), column : column + len(a)] = scale(s, pieces[0][2]) * b
        row, column = row + len(b), column if shared_columns else column + len(a)
    return A, B


@stack_exercise.trap("Les échelles manquent : l’adaptateur rendu a l’échelle 1, B doit porter s.")
def _(pieces):
    return _stacked(pieces, lambda s, first: 1.0)


@stack_exercise.trap(
    "Tous vos blocs commencent à la colonne 0 : chaque B ne doit lire que sa propre A."
)
def _(pieces):
    return _stacked(pieces, shared_columns=True)


@stack_exercise.trap("Vous donnez à tous l’échelle du premier.")
def _(pieces):
    return _stacked(pieces, lambda s, first: first)


@stack_exercise.trap(
    "L’échelle est portée deux fois, par A et par B : la correction vaudrait s² B A."
)
def _(pieces):
    _, B = _stacked(pieces)
    return np.concatenate([s * a for a, _, s in pieces]), B


@stack_exercise.variant
def _(pieces):
    from scipy.linalg import block_diag

    return np.vstack([a for a, _, _ in pieces]), block_diag(*(s * b for _, b, s in pieces))


rows_exercise = Exercise(
    "ex-convertir-lignes",
    title="Deux lignes à la tête",
    level="moyen",
    minutes=10,
    hints=(
        "Calculez d’abord les logits de la table, h @ W.T.",
        "Puis remplacez les colonnes de ids par h @ rows.T.",
        "W ne doit pas changer : remplacez dans les logits, pas dans la table.",
    ),
)


@rows_exercise.reference
def head_with_rows(h, W, ids, rows):
    """h (..., C), W (V, C), ids : liste de k tokens, rows (k, C) ; renvoie (..., V)."""
    logits = h @ W.T
    logits[..., ids] = h @ rows.T
    return logits


@rows_exercise.cases
def _(rng):
    import torch

    for shape, ids in (((4, 6), [2, 3]), ((2, 3, 6), [7, 0, 4]), ((5, 6), [1])):
        values = (rng.normal(size=shape), rng.normal(size=(9, 6)), rng.normal(size=(len(ids), 6)))
        h, W, rows = (torch.from_numpy(v).float() for v in values)
        yield h, W, ids, rows


@rows_exercise.trap(
    "Vous ajoutez les logits des lignes apprises ; elles remplacent celles de la table."
)
def _(h, W, ids, rows):
    logits = h @ W.T
    logits[..., ids] += h @ rows.T
    return logits


@rows_exercise.trap("rows suit l’ordre de ids, pas celui du vocabulaire.")
def _(h, W, ids, rows):
    logits = h @ W.T
    logits[..., sorted(ids)] = h @ rows.T
    return logits


@rows_exercise.trap("Vous avez écrit dans W : la table est partagée et gelée, laissez-la intacte.")
def _(h, W, ids, rows):
    W[ids] = rows
    return h @ W.T


@rows_exercise.trap(
    "Les lignes apprises n’ont aucun effet : les colonnes de ids sont celles de la table."
)
def _(h, W, ids, rows):
    return h @ W.T


@rows_exercise.variant
def _(h, W, ids, rows):
    import torch

    table = W.clone()
    table[torch.tensor(ids)] = rows
    return torch.einsum("...c,vc->...v", h, table)


flight_exercise = Exercise(
    "ex-convertir-controle",
    title="Le contrôle avant départ",
    level="difficile",
    minutes=20,
    hints=(
        "Formez l’ensemble des noms dégelés, et celui des noms gelés.",
        "« optimiseur » : un dégelé n’est pas dans held. « gelé » : un gelé y est.",
        "Le compte attendu est rank × Σ (m + n), le compte trouvé la taille des dégelés.",
        "Rendez une liste triée : sorted.",
    ),
)


@flight_exercise.reference
def preflight(parameters, held, shapes, rank):
    """parameters : [(nom, taille, dégelé), …] ; held : ensemble de noms ; renvoie une liste."""
    free = {name for name, _, trainable in parameters if trainable}
    frozen = {name for name, _, trainable in parameters if not trainable}
    found = set()
    if free - held:
        found.add("optimiseur")
    if frozen & held:
        found.add("gelé")
    if sum(n for _, n, trainable in parameters if trainable) != rank * sum(map(sum, shapes)):
        found.add("compte")
    return sorted(found)


@flight_exercise.cases
def _(rng):
    shapes = [(4, 3), (5, 4)]
    base = [("w1", 12, False), ("w2", 20, False)]
    pairs = [("w1.A", 6, True), ("w1.B", 8, True), ("w2.A", 8, True), ("w2.B", 10, True)]
    names = {"w1.A", "w1.B", "w2.A", "w2.B"}
    yield base + pairs, set(names), shapes, 2
    yield base + pairs, {"w1", "w2"}, shapes, 2
    yield [(n, size, True) for n, size, _ in base + pairs], names | {"w1", "w2"}, shapes, 2
    yield base + pairs, names | {"w2"}, shapes, 2
    yield base + pairs[:2] + [("w2.A", 8, False), pairs[3]], set(names), shapes, 2
    yield base + pairs, names - {"w2.B"}, shapes, 2
    yield [(n, size, True) for n, size, _ in base + pairs], set(names), shapes, 2


def _checked(parameters, held, shapes, rank, *, count=None, missing=None, frozen=None):
    free = {name for name, _, trainable in parameters if trainable}
    still = {name for name, _, trainable in parameters if not trainable}
    size = sum(n for _, n, trainable in parameters if trainable)
    tests = {"optimiseur": bool(free - held) if missing is None else missing(free, held),
             "gelé": bool(still & held) if frozen is None else frozen(still, held),
             "compte": size != (rank * sum(map(sum, shapes)) if count is None else count)}  # fmt: skip
    return sorted(name for name, wrong in tests.items() if wrong)


@flight_exercise.trap(
    "Vous ne cherchez que les ensembles disjoints : un seul paramètre oublié par "
    "l’optimiseur suffit."
)
def _(parameters, held, shapes, rank):
    return _checked(parameters, held, shapes, rank, missing=lambda free, held: not free & held)


@flight_exercise.trap("Vous comptez m × n : un adaptateur a r (m + n) nombres.")
def _(parameters, held, shapes, rank):
    return _checked(parameters, held, shapes, rank, count=rank * sum(m * n for m, n in shapes))


@flight_exercise.trap(
    "Le compte est celui de ce que tient l’optimiseur ; il faut celui des dégelés : "
    "la base dégelée et non tenue reçoit quand même un gradient."
)
def _(parameters, held, shapes, rank):
    size = sum(n for name, n, _ in parameters if name in held)
    right = rank * sum(map(sum, shapes))
    free_size = sum(n for _, n, trainable in parameters if trainable)
    return _checked(parameters, held, shapes, rank, count=free_size if size == right else None)


@flight_exercise.trap(
    "Un optimiseur qui tient un paramètre gelé n’est pas signalé : il a été construit "
    "avant le gel, ou sans le filtre."
)
def _(parameters, held, shapes, rank):
    return _checked(parameters, held, shapes, rank, frozen=lambda still, held: False)


@flight_exercise.trap("Vous vous arrêtez au premier défaut : on les demande tous.")
def _(parameters, held, shapes, rank):
    return preflight(parameters, held, shapes, rank)[:1]


@flight_exercise.variant
def _(parameters, held, shapes, rank):
    found, size = [], 0
    for name, count, trainable in parameters:
        size += count * trainable
        if trainable != (name in held):
            found.append("optimiseur" if trainable else "gelé")
    if size != sum(rank * (m + n) for m, n in shapes):
        found.append("compte")
    return sorted(set(found))
