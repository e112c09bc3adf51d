"""Exercices de la section « Chercher la meilleure suite »."""

import itertools
import math

import numpy as np

from llmbook.exercise import Exercise


def _log_softmax(z):
    top = z.max(axis=-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(axis=-1, keepdims=True))


# La vraisemblance

vraisemblance = Exercise(
    "ex-recherche-vraisemblance", title="La vraisemblance d’une suite", level="facile", minutes=8,
    hints=("Les logits de la position t prédisent le token t + 1.",
           "log_softmax sur la dernière dimension, puis prenez la colonne du vrai token."))


@vraisemblance.reference
def log_probability(logits, ids, start):
    """logits : (T, V) ; ids : (T,) ; start >= 1 ; renvoie un nombre, en nats."""
    top = logits.max(axis=-1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))
    return log_p[np.arange(start - 1, len(ids) - 1), ids[start:]].sum()


@vraisemblance.cases
def _(rng):
    for T, start in ((6, 1), (8, 3), (5, 4)):
        yield rng.normal(size=(T, 7)) * 2, rng.integers(7, size=T), start


@vraisemblance.trap("Il manque le décalage : la ligne t des logits prédit le token t + 1.")
def _(logits, ids, start):
    return _log_softmax(logits)[np.arange(start, len(ids)), ids[start:]].sum()


@vraisemblance.trap("Vous comptez aussi les tokens du prompt : commencez au rang start.")
def _(logits, ids, start):
    return _log_softmax(logits)[np.arange(len(ids) - 1), ids[1:]].sum()


@vraisemblance.trap("C’est la moyenne par token ; on demande la log-probabilité de la suite entière.")
def _(logits, ids, start):
    return _log_softmax(logits)[np.arange(start - 1, len(ids) - 1), ids[start:]].mean()


@vraisemblance.trap("Vous additionnez les logits : il faut des log-probabilités.")
def _(logits, ids, start):
    return logits[np.arange(start - 1, len(ids) - 1), ids[start:]].sum()


@vraisemblance.variant
def _(logits, ids, start):
    product = 1.0
    for t in range(start, len(ids)):
        weights = np.exp(logits[t - 1])
        product *= weights[ids[t]] / weights.sum()
    return math.log(product)


# La longueur

longueur = Exercise(
    "ex-recherche-longueur", title="Choisir malgré la longueur", level="facile", minutes=5,
    hints=("Le score est la log-probabilité divisée par longueur^alpha.",
           "Les log-probabilités sont négatives : le meilleur est le plus grand."))


@longueur.reference
def best_text(log_ps, lengths, alpha):
    """log_ps, lengths : (N,) ; renvoie un indice."""
    return int(np.argmax(log_ps / lengths**alpha))


@longueur.cases
def _(rng):
    log_ps = np.array([-2.2, -9.0, -8.5, -20.0])
    lengths = np.array([1.0, 20.0, 15.0, 64.0])
    for alpha in (0.0, 0.5, 1.0, 2.0):
        yield log_ps, lengths, alpha
    yield np.array([-3.0, -2.9, -10.0]), np.array([2.0, 4.0, 100.0]), 0.5


@longueur.trap("Vous multipliez par la longueur : cela avantage encore les textes courts.")
def _(log_ps, lengths, alpha):
    return int(np.argmax(log_ps * lengths**alpha))


@longueur.trap("Vous prenez le plus petit score : c’est le texte le moins probable.")
def _(log_ps, lengths, alpha):
    return int(np.argmin(log_ps / lengths**alpha))


@longueur.trap("Vous ignorez alpha : c’est toujours la moyenne par token.")
def _(log_ps, lengths, alpha):
    return int(np.argmax(log_ps / lengths))


@longueur.trap("Vous ignorez la longueur.")
def _(log_ps, lengths, alpha):
    return int(np.argmax(log_ps))


@longueur.variant
def _(log_ps, lengths, alpha):
    best = min(zip(-log_ps * lengths ** (-alpha), range(len(log_ps)), strict=True))
    return best[1]


# Un pas de faisceau

pas = Exercise(
    "ex-recherche-pas", title="Un pas de faisceau", level="moyen", minutes=12,
    hints=("Ajoutez les scores des débuts à chaque ligne : scores[:, None] + log_p.",
           "Aplatissez, triez, gardez width.",
           "D’un indice aplati i, le parent est i // V et le token i % V."))


@pas.reference
def beam_step(scores, log_p, width):
    """scores : (N,) ; log_p : (N, V) ; renvoie (parents, tokens), chacun (width,)."""
    total = (scores[:, None] + log_p).ravel()
    best = np.argsort(-total)[:width]
    return best // log_p.shape[1], best % log_p.shape[1]


@pas.cases
def _(rng):
    for N, V, width in ((1, 6, 3), (3, 5, 3), (4, 9, 2)):
        yield -rng.exponential(2, size=N), _log_softmax(rng.normal(size=(N, V)) * 2), width
    yield np.array([-0.1, -9.0]), _log_softmax(rng.normal(size=(2, 6))), 2


@pas.trap("Vous oubliez le score des débuts : un mauvais début, bien prolongé, reste mauvais.")
def _(scores, log_p, width):
    best = np.argsort(-log_p.ravel())[:width]
    return best // log_p.shape[1], best % log_p.shape[1]


@pas.trap("Quotient et reste sont échangés : le parent est la ligne, i // V.")
def _(scores, log_p, width):
    best = np.argsort(-(scores[:, None] + log_p).ravel())[:width]
    return best % log_p.shape[1], best // log_p.shape[1]


@pas.trap("Vous gardez un token par début : les meilleurs candidats peuvent venir du même.")
def _(scores, log_p, width):
    tokens = log_p.argmax(axis=1)
    parents = np.argsort(-(scores + log_p.max(axis=1)))[:width]
    return np.resize(parents, width), np.resize(tokens[parents], width)


@pas.trap("Vous divisez par le nombre de débuts : un indice aplati se divise par V.")
def _(scores, log_p, width):
    best = np.argsort(-(scores[:, None] + log_p).ravel())[:width]
    return best // len(scores), best % len(scores)


@pas.variant
def _(scores, log_p, width):
    every = [(scores[i] + value, i, j) for i, row in enumerate(log_p) for j, value in enumerate(row)]
    every.sort(reverse=True)
    return (np.array([i for _, i, _ in every[:width]]), np.array([j for _, _, j in every[:width]]))


# Les pénalités

penalites = Exercise(
    "ex-recherche-penalites", title="Fréquence et présence", level="facile", minutes=8,
    hints=("np.bincount(written, minlength=V) compte les occurrences.",
           "La présence se retire une seule fois par token, quel que soit son compte."))


@penalites.reference
def penalized(z, written, frequency, presence):
    """z : (V,) ; written : (T,) entiers ; renvoie (V,)."""
    counts = np.bincount(written, minlength=len(z))
    return z - frequency * counts - presence * (counts > 0)


@penalites.cases
def _(rng):
    for f, p in ((0.5, 0.0), (0.0, 0.7), (0.3, 0.4), (-0.2, 0.1)):
        yield rng.normal(size=8), rng.integers(8, size=12), f, p
    yield rng.normal(size=5), np.zeros(0, dtype=int), 0.5, 0.5


@penalites.trap("La présence se retire une fois, pas à chaque occurrence.")
def _(z, written, frequency, presence):
    return z - (frequency + presence) * np.bincount(written, minlength=len(z))


@penalites.trap("La fréquence se multiplie par le nombre d’occurrences ; et z[written] -= … n’écrit "
                "qu’une fois par token répété.")
def _(z, written, frequency, presence):
    return z - (frequency + presence) * (np.bincount(written, minlength=len(z)) > 0)


@penalites.trap("La fréquence est un nombre d’occurrences, pas une part du texte : ne divisez pas par sa "
                "longueur.")
def _(z, written, frequency, presence):
    counts = np.bincount(written, minlength=len(z))
    return z - frequency * counts / max(len(written), 1) - presence * (counts > 0)


@penalites.trap("Le signe est faux : une pénalité positive doit baisser le logit.")
def _(z, written, frequency, presence):
    counts = np.bincount(written, minlength=len(z))
    return z + frequency * counts + presence * (counts > 0)


@penalites.variant
def _(z, written, frequency, presence):
    out = z.astype(float)
    np.subtract.at(out, written, frequency)
    out[np.unique(written)] -= presence
    return out


# Les n-grammes

ngramme = Exercise(
    "ex-recherche-ngramme", title="Les tokens interdits", level="moyen", minutes=12,
    hints=("Comparez les n - 1 derniers tokens à chaque place d’avant.",
           "Si ids[i : i + n - 1] est égal à la fin, ids[i + n - 1] est interdit.",
           "Pour n = 1, ids[-0:] n’est pas vide : écrivez ids[len(ids) - n + 1 :]."))


@ngramme.reference
def banned_tokens(ids, n):
    """ids : liste d’entiers ; n >= 1 ; renvoie une liste triée, sans doublon."""
    suffix = ids[len(ids) - n + 1:]
    return sorted({ids[i + n - 1] for i in range(len(ids) - n + 1) if ids[i:i + n - 1] == suffix})


@ngramme.cases
def _(rng):
    yield [5, 7, 5, 9, 5], 2
    yield [1, 2, 3, 1, 2], 3
    yield [4, 4, 4, 4], 3
    yield [3, 1, 4, 1], 1
    for n in (2, 3, 4):
        yield rng.integers(3, size=16).tolist(), n


@ngramme.trap("Vous comparez n tokens : la fin à retrouver n’en a que n - 1, le suivant fait le n-ième.")
def _(ids, n):
    return sorted({ids[i + n] for i in range(len(ids) - n) if ids[i:i + n] == ids[-n:]})


@ngramme.trap("Vous ne gardez que la première occurrence : un même début a pu avoir plusieurs suites.")
def _(ids, n):
    suffix = ids[len(ids) - n + 1:]
    found = [ids[i + n - 1] for i in range(len(ids) - n + 1) if ids[i:i + n - 1] == suffix]
    return found[:1]


@ngramme.trap("Vous interdisez tous les tokens déjà vus : c’est le cas n = 1.")
def _(ids, n):
    return sorted(set(ids))


@ngramme.trap("ids[-(n - 1):] est la liste entière quand n = 1.")
def _(ids, n):
    suffix = ids[-(n - 1):]
    return sorted({ids[i + n - 1] for i in range(len(ids) - n + 1) if ids[i:i + n - 1] == suffix})


@ngramme.variant
def _(ids, n):
    seen = {}
    for gram in zip(*(ids[i:] for i in range(n)), strict=False):
        seen.setdefault(gram[:-1], set()).add(gram[-1])
    return sorted(seen.get(tuple(ids[len(ids) - n + 1:]), ()))


# pass@k

passk = Exercise(
    "ex-recherche-passk", title="pass@k sans biais", level="moyen", minutes=12,
    hints=("Comptez les lots de k sans aucun succès : C(n - c, k) sur C(n, k).",
           "Ce rapport est un produit : (1 - k/i) pour i de n - c + 1 à n.",
           "Si n - c < k, tout lot contient un succès."))


@passk.reference
def pass_at_k(n, c, k):
    """n essais, c succès, lots de k ; renvoie une probabilité."""
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1 - k / i for i in range(n - c + 1, n + 1))


@passk.cases
def _(rng):
    yield 10, 1, 3
    yield 20, 5, 5
    yield 8, 8, 2
    yield 8, 0, 4
    yield 6, 4, 3
    yield 5000, 40, 100


@passk.trap("Remplacer p par c/n est biaisé : les k essais sont pris sans remise parmi les n.")
def _(n, c, k):
    return 1 - (1 - c / n) ** k


@passk.trap("Vous renvoyez la probabilité de n’avoir aucun succès : prenez son complément.")
def _(n, c, k):
    return math.comb(n - c, k) / math.comb(n, k)


@passk.trap("k fois le taux n’est pas une probabilité : elle peut dépasser 1.")
def _(n, c, k):
    return k * c / n


@passk.trap("C’est la probabilité que les k essais réussissent tous ; un seul suffit.")
def _(n, c, k):
    return math.comb(c, k) / math.comb(n, k)


@passk.variant
def _(n, c, k):
    from fractions import Fraction

    return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


# Le chemin

chemin = Exercise(
    "ex-recherche-chemin", title="Le chemin le plus probable", level="difficile", minutes=30,
    hints=("Gardez, pour chaque token j, le meilleur score d’une suite qui finit par j.",
           "Un pas : score[j] = max_i score[i] + log M[i, j] ; retenez le i du maximum.",
           "À la fin, partez du meilleur j et remontez les prédécesseurs retenus."))


@chemin.reference
def best_path(start, M, length):
    """start : (V,) ; M : (V, V) ; renvoie une liste de length tokens."""
    score, back = np.log(start), []
    for _ in range(length - 1):
        step = score[:, None] + np.log(M)      # (V, V) : du token i au token j
        back.append(step.argmax(axis=0))
        score = step.max(axis=0)
    path = [int(score.argmax())]
    for before in reversed(back):
        path.append(int(before[path[-1]]))
    return path[::-1]


def _chain(rng, V):
    return rng.dirichlet(np.full(V, 0.6)) * 0.98 + 0.02 / V, np.stack(
        [rng.dirichlet(np.full(V, 0.4)) * 0.98 + 0.02 / V for _ in range(V)])


@chemin.cases
def _(rng):
    start = np.array([0.4, 0.35, 0.25])
    M = np.array([[0.34, 0.33, 0.33], [0.05, 0.05, 0.9], [0.1, 0.8, 0.1]])
    yield start, M, 3
    yield start, M, 1
    trap = np.array([0.36, 0.34, 0.3])
    N = np.array([[0.4, 0.35, 0.25], [0.38, 0.32, 0.3], [0.01, 0.01, 0.98]])
    yield trap, N, 5
    for length in (2, 4, 6):
        yield *_chain(rng, 5), length


@chemin.trap("C’est le glouton : le meilleur token à chaque pas n’est pas le meilleur chemin.")
def _(start, M, length):
    path = [int(start.argmax())]
    while len(path) < length:
        path.append(int(M[path[-1]].argmax()))
    return path


@chemin.trap("Un faisceau de deux manque parfois le meilleur chemin : gardez le meilleur vers chaque "
             "token.")
def _(start, M, length):
    beams = [(-math.log(p), [i]) for i, p in enumerate(start)]
    beams = sorted(beams)[:2]
    for _ in range(length - 1):
        beams = sorted((s - math.log(q), [*path, j]) for s, path in beams
                       for j, q in enumerate(M[path[-1]]))[:2]
    return beams[0][1]


@chemin.trap("M est lue dans l’autre sens : M[i, j] va de i à j.")
def _(start, M, length):
    return best_path(start, M.T, length)


@chemin.trap("Votre chemin est à l’envers : on remonte depuis la fin, il faut le retourner.")
def _(start, M, length):
    return best_path(start, M, length)[::-1]


@chemin.variant
def _(start, M, length):
    def score(path):
        value = math.log(start[path[0]])
        return value + sum(math.log(M[i, j]) for i, j in itertools.pairwise(path))

    return list(max(itertools.product(range(len(start)), repeat=length), key=score))
