"""Exercices de la section « Un vecteur par contexte »."""

import numpy as np

from llmbook.exercise import Exercise


def _unit(X):
    return X / np.linalg.norm(X, axis=-1, keepdims=True)


cosine_exercise = Exercise(
    "ex-contextuels-cosinus", title="Le cosinus moyen, sans les paires", level="moyen", minutes=12,
    hints=("Ramenez chaque ligne à la longueur 1, puis prenez la norme de la moyenne.",
           "n² fois le carré de cette norme est la somme sur toutes les paires, (i, i) comprises.",
           "Retirez les n paires (i, i), qui valent 1, et divisez par n (n - 1)."))


@cosine_exercise.reference
def average_cosine(X):
    """Cosinus moyen de deux lignes différentes. X : (n, C) ; renvoie un nombre."""
    n = len(X)
    total = np.square(_unit(X).sum(axis=0)).sum()
    return (total - n) / (n * (n - 1))


@cosine_exercise.cases
def _(rng):
    yield rng.normal(size=(4, 3)) * rng.uniform(0.1, 9, size=(4, 1))
    yield rng.normal(size=(7, 5)) + 2
    yield np.array([[1.0, 0.0], [0.0, 3.0]])


@cosine_exercise.trap("Une ligne n’est pas comparée à elle-même : retirez ces n paires, qui valent 1.")
def _(X):
    return float(np.square(_unit(X).mean(axis=0)).sum())


@cosine_exercise.trap("Ramenez d’abord les lignes à la longueur 1 : vous moyennez des produits "
                      "scalaires.")
def _(X):
    n = len(X)
    return float((np.square(X.sum(axis=0)).sum() - np.square(X).sum()) / (n * (n - 1)))


@cosine_exercise.trap("C’est la norme de la moyenne ; il en faut le carré, puis la correction.")
def _(X):
    return float(np.linalg.norm(_unit(X).mean(axis=0)))


@cosine_exercise.trap("Il y a n (n - 1) paires ordonnées : votre somme est divisée deux fois trop.")
def _(X):
    return average_cosine(X) / 2


@cosine_exercise.variant
def _(X):
    S = _unit(X) @ _unit(X).T
    return float(S[~np.eye(len(X), dtype=bool)].mean())


mean_exercise = Exercise(
    "ex-contextuels-moyenne", title="La moyenne qui sait compter", level="facile", minutes=8,
    hints=("Multipliez par le masque, avec un axe de plus : mask[..., None].",
           "Divisez par le nombre de vrais tokens de chaque texte, pas par T."))


@mean_exercise.reference
def masked_mean(states, mask):
    """states : (B, T, C) ; mask : (B, T), 1 ou 0. Renvoie (B, C)."""
    weight = mask[:, :, None]
    return (states * weight).sum(axis=1) / weight.sum(axis=1)


@mean_exercise.cases
def _(rng):
    yield rng.normal(size=(2, 4, 3)), np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    yield rng.normal(size=(3, 5, 2)) + 4, np.array([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0]])


@mean_exercise.trap("Le remplissage compte dans votre moyenne : servez-vous du masque.")
def _(states, mask):
    return states.mean(axis=1)


@mean_exercise.trap("Le remplissage est bien mis à zéro, mais vous divisez encore par T.")
def _(states, mask):
    return (states * mask[:, :, None]).mean(axis=1)


@mean_exercise.trap("Divisez chaque texte par son propre nombre de tokens, pas par celui du lot.")
def _(states, mask):
    return (states * mask[:, :, None]).sum(axis=1) / mask.sum() * len(mask)


@mean_exercise.trap("C’est le dernier vrai token : on demande la moyenne.")
def _(states, mask):
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    return states[np.arange(len(states)), last]


@mean_exercise.variant
def _(states, mask):
    return np.stack([s[m == 1].mean(axis=0) for s, m in zip(states, mask, strict=True)])


mrr_exercise = Exercise(
    "ex-contextuels-mrr", title="Le rang réciproque moyen", level="facile", minutes=8,
    hints=("Le rang du document admis : combien de notes sont plus grandes, plus 1.",
           "On prend l’inverse de chaque rang, puis la moyenne."))


@mrr_exercise.reference
def mean_reciprocal_rank(scores, target):
    """scores : (Q, N), sans ex æquo ; target : (Q,). Renvoie un nombre."""
    own = scores[np.arange(len(scores)), target]
    ranks = 1 + (scores > own[:, None]).sum(axis=1)
    return float((1 / ranks).mean())


@mrr_exercise.cases
def _(rng):
    yield np.array([[0.1, 0.9, 0.5], [0.7, 0.2, 0.1]]), np.array([2, 0])
    yield rng.normal(size=(6, 9)), rng.integers(0, 9, size=6)
    yield rng.normal(size=(4, 20)), rng.integers(0, 20, size=4)


@mrr_exercise.trap("Le premier a le rang 1, pas 0 : ajoutez 1.")
def _(scores, target):
    own = scores[np.arange(len(scores)), target]
    ranks = (scores > own[:, None]).sum(axis=1)
    return float((1 / np.maximum(ranks, 0.5)).mean())


@mrr_exercise.trap("Inversez chaque rang avant de moyenner : l’inverse de la moyenne est autre chose.")
def _(scores, target):
    own = scores[np.arange(len(scores)), target]
    return float(1 / (1 + (scores > own[:, None]).sum(axis=1)).mean())


@mrr_exercise.trap("Une grande note est bonne : votre classement est à l’envers.")
def _(scores, target):
    return mean_reciprocal_rank(-scores, target)


@mrr_exercise.trap("Vous lisez argsort comme des rangs : order[q, target] est un numéro de document.")
def _(scores, target):
    order = np.argsort(-scores, axis=1)
    return float((1 / (1 + order[np.arange(len(scores)), target])).mean())


@mrr_exercise.variant
def _(scores, target):
    total = 0.0
    for row, wanted in zip(scores, target, strict=True):
        total += 1 / (1 + list(np.argsort(-row)).index(wanted))
    return total / len(scores)


remove_exercise = Exercise(
    "ex-contextuels-retirer", title="Retirer les premières composantes", level="moyen", minutes=15,
    hints=("Centrez fit, puis np.linalg.svd : les lignes de Vt sont les composantes.",
           "Centrez X avec la moyenne de fit, pas avec la sienne.",
           "La projection sur les k premières : (X - mu) @ V.T @ V, avec V de forme (k, C)."))


@remove_exercise.reference
def all_but_the_top(fit, X, k):
    """fit : (n, C) ; X : (m, C) ; renvoie (m, C)."""
    mean = fit.mean(axis=0)
    V = np.linalg.svd(fit - mean, full_matrices=False)[2][:k]
    centred = X - mean
    return centred - centred @ V.T @ V


@remove_exercise.cases
def _(rng):
    for n, m, C, k in ((20, 5, 4, 1), (30, 3, 6, 2), (15, 4, 5, 3)):
        scale = np.linspace(3, 0.5, C)
        yield rng.normal(size=(n, C)) * scale + 2, rng.normal(size=(m, C)) * scale + 1, k


def _removed(fit, X, k, mean, centre_fit=True, first=0):
    V = np.linalg.svd(fit - fit.mean(axis=0) * centre_fit, full_matrices=False)[2][first:first + k]
    return (X - mean) - (X - mean) @ V.T @ V


@remove_exercise.trap("Centrez X avec la moyenne de fit : une requête seule deviendrait nulle avec "
                      "la sienne.")
def _(fit, X, k):
    return _removed(fit, X, k, X.mean(axis=0))


@remove_exercise.trap("Vous ne centrez pas X avant de retirer les composantes.")
def _(fit, X, k):
    return _removed(fit, X, k, 0.0)


@remove_exercise.trap("Centrez fit avant la SVD : sinon la première composante est surtout la moyenne.")
def _(fit, X, k):
    return _removed(fit, X, k, fit.mean(axis=0), centre_fit=False)


@remove_exercise.trap("Vous gardez les k premières composantes au lieu de les retirer.")
def _(fit, X, k):
    centred = X - fit.mean(axis=0)
    return centred - all_but_the_top(fit, X, k)


@remove_exercise.trap("Vous retirez les k dernières composantes : les plus grandes viennent d’abord "
                      "avec svd, en dernier avec eigh.")
def _(fit, X, k):
    return _removed(fit, X, k, fit.mean(axis=0), first=fit.shape[1] - k)


@remove_exercise.variant
def _(fit, X, k):
    _, V = np.linalg.eigh(np.cov(fit.T))
    kept = V[:, :-k]
    return (X - fit.mean(axis=0)) @ kept @ kept.T


nce_exercise = Exercise(
    "ex-contextuels-infonce", title="InfoNCE", level="moyen", minutes=20,
    hints=("Longueurs 1, puis une matrice (B, B) de cosinus divisés par la température.",
           "Le logarithme du softmax de chaque ligne, à la place i de la ligne i.",
           "Retirez le maximum avant l’exponentielle ; la transposée donne l’autre sens."))


def _log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@nce_exercise.reference
def info_nce(x, y, temperature):
    """x, y : (B, C), non nuls. Renvoie un nombre, ln B quand tout se ressemble."""
    logits = _unit(x) @ _unit(y).T / temperature
    return float(-(np.diag(_log_softmax(logits)) + np.diag(_log_softmax(logits.T))).mean() / 2)


@nce_exercise.cases
def _(rng):
    yield rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), 0.5
    x = rng.normal(size=(5, 6))
    yield 3 * x, x + 0.5 * rng.normal(size=(5, 6)), 0.1
    yield rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), 0.001


@nce_exercise.trap("Ramenez les vecteurs à la longueur 1 : les plus longs l’emporteraient.")
def _(x, y, temperature):
    logits = x @ y.T / temperature
    return float(-(np.diag(_log_softmax(logits)) + np.diag(_log_softmax(logits.T))).mean() / 2)


@nce_exercise.trap("Il manque l’autre sens : retrouver x sachant y, avec la transposée.")
def _(x, y, temperature):
    return float(-np.diag(_log_softmax(_unit(x) @ _unit(y).T / temperature)).mean())


@nce_exercise.trap("La température divise les cosinus ; vous les multipliez.")
def _(x, y, temperature):
    return info_nce(x, y, 1 / temperature)


@nce_exercise.trap("La perte déborde à basse température : retirez le maximum avant l’exponentielle.")
def _(x, y, temperature):
    with np.errstate(all="ignore"):
        e = np.exp(_unit(x) @ _unit(y).T / temperature)
        both = np.log(np.diag(e) / e.sum(axis=1)) + np.log(np.diag(e) / e.sum(axis=0))
        return float(-both.mean() / 2)


@nce_exercise.trap("C’est la somme sur le lot et les deux sens : il faut la moyenne.")
def _(x, y, temperature):
    return 2 * len(x) * info_nce(x, y, temperature)


@nce_exercise.variant
def _(x, y, temperature):
    cosine = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in y] for a in x]) / temperature
    total = 0.0
    for i in range(len(x)):
        for row in (cosine[i], cosine[:, i]):
            total += np.logaddexp.reduce(row) - cosine[i, i]
    return total / (2 * len(x))


fuse_exercise = Exercise(
    "ex-contextuels-fusion", title="Fusionner deux classements", level="moyen", minutes=10,
    hints=("argsort donne l’ordre des documents ; il faut l’inverse, le rang de chacun.",
           "Le rang d’un document est 1 plus le nombre de notes plus grandes que la sienne."))


@fuse_exercise.reference
def fuse_ranks(a, b):
    """a, b : (N,), sans ex æquo ; renvoie (N,)."""
    ranks = [1 + (scores > scores[:, None]).sum(axis=1) for scores in (a, b)]
    return 1 / (60 + ranks[0]) + 1 / (60 + ranks[1])


@fuse_exercise.cases
def _(rng):
    yield np.array([0.2, 12.0, 5.0, 7.0]), np.array([0.9, 0.1, 0.5, 0.3])
    yield 100 * rng.normal(size=9), rng.normal(size=9)
    yield rng.normal(size=6), rng.uniform(size=6)


@fuse_exercise.trap("argsort donne des numéros de documents dans l’ordre, pas le rang de chaque "
                    "document : appliquez-le deux fois.")
def _(a, b):
    return 1 / (61 + np.argsort(-a)) + 1 / (61 + np.argsort(-b))


@fuse_exercise.trap("Le premier a le rang 1 : vous comptez à partir de 0.")
def _(a, b):
    return sum(1 / (60 + np.argsort(np.argsort(-s))) for s in (a, b))


@fuse_exercise.trap("La plus grande note est la meilleure : votre classement est à l’envers.")
def _(a, b):
    return fuse_ranks(-a, -b)


@fuse_exercise.trap("Vous additionnez les rangs : on demande la somme de leurs inverses.")
def _(a, b):
    return sum(61.0 + np.argsort(np.argsort(-s)) for s in (a, b))


@fuse_exercise.trap("Vous fusionnez les notes avant de classer : leurs échelles ne se comparent pas.")
def _(a, b):
    return 2 / (61 + np.argsort(np.argsort(-(a + b))))


@fuse_exercise.variant
def _(a, b):
    total = np.zeros(len(a))
    for scores in (a, b):
        for rank, document in enumerate(sorted(range(len(a)), key=lambda d: -scores[d]), start=1):
            total[document] += 1 / (60 + rank)
    return total
