"""Exercices de la section « Probabilités et statistique »."""

import numpy as np

from llmbook.exercise import Exercise


def _normalise(p):
    return p / p.sum(axis=1, keepdims=True)


phrase_exercise = Exercise(
    "ex-probabilites-phrase",
    title="La probabilité d’une phrase",
    level="facile",
    minutes=8,
    hints=(
        "Le logarithme d’un produit est la somme des logarithmes des facteurs.",
        "Le premier facteur est start[ids[0]] ; les suivants sont P[ids[:-1], ids[1:]].",
    ),
)


def _chain(rng, V):
    P = rng.random((V, V)) + 0.05
    start = rng.random(V) + 0.05
    return start / start.sum(), P / P.sum(axis=1, keepdims=True)


@phrase_exercise.reference
def log_probability(start, P, ids):
    """start : (V,) ; P : (V, V) ; ids : (T,) ; renvoie un nombre négatif ou nul."""
    return np.log(start[ids[0]]) + np.log(P[ids[:-1], ids[1:]]).sum()


@phrase_exercise.cases
def _(rng):
    start, P = _chain(rng, 4)
    yield start, P, np.array([2, 0, 1, 3])
    yield start, P, np.array([1])
    yield start, P, rng.integers(4, size=3000)


@phrase_exercise.trap(
    "Le produit des probabilités s’annule sur une longue suite : sommez les logarithmes."
)
def _(start, P, ids):
    product = start[ids[0]]
    for i, j in zip(ids[:-1], ids[1:], strict=True):
        product *= P[i, j]
    with np.errstate(divide="ignore"):
        return np.log(product)


@phrase_exercise.trap("Il manque le premier facteur : la probabilité de commencer par ids[0].")
def _(start, P, ids):
    return np.log(P[ids[:-1], ids[1:]]).sum()


@phrase_exercise.trap("P est lue à l’envers : P[i, j] est la probabilité de j après i.")
def _(start, P, ids):
    return np.log(start[ids[0]]) + np.log(P[ids[1:], ids[:-1]]).sum()


@phrase_exercise.trap(
    "C’est la loi d’ordre 1 : chaque symbole est pris seul, sans celui qui le précède."
)
def _(start, P, ids):
    return np.log(start[ids]).sum()


@phrase_exercise.trap(
    "np.ix_ (ou deux tranches) sélectionne tout un bloc de P ; prenez les couples successifs, "
    "P[ids[:-1], ids[1:]]."
)
def _(start, P, ids):
    return np.log(start[ids[0]]) + np.log(P[np.ix_(ids[:-1], ids[1:])]).sum()


@phrase_exercise.trap("Le logarithme demandé est le naturel, np.log : le vôtre est en bits.")
def _(start, P, ids):
    return np.log2(start[ids[0]]) + np.log2(P[ids[:-1], ids[1:]]).sum()


@phrase_exercise.variant
def _(start, P, ids):
    total, law = 0.0, start
    for i in ids:
        total += float(np.log(law[i]))
        law = P[i]
    return total


smoothing_exercise = Exercise(
    "ex-probabilites-lissage",
    title="Lisser",
    level="facile",
    minutes=6,
    hints=(
        "Ajoutez alpha à chaque compte, puis divisez par la nouvelle somme de la ligne.",
        "keepdims=True garde une colonne (n, 1), qui se diffuse sur les V symboles.",
    ),
)


@smoothing_exercise.reference
def smooth_counts(counts, alpha):
    """counts : (n, V) ; renvoie (n, V), dont chaque ligne somme à 1."""
    smoothed = counts + alpha
    return smoothed / smoothed.sum(axis=1, keepdims=True)


@smoothing_exercise.cases
def _(rng):
    yield np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), 1.0
    yield rng.integers(0, 20, size=(4, 6)).astype(float), 0.1
    yield rng.integers(0, 9, size=(3, 3)).astype(float), 0.5


@smoothing_exercise.trap(
    "Le dénominateur ne compte qu’un seul alpha : il en faut un par symbole, soit alpha × V."
)
def _(counts, alpha):
    return (counts + alpha) / (counts.sum(axis=1, keepdims=True) + alpha)


@smoothing_exercise.trap(
    "Vous avez divisé par le total du tableau ; chaque contexte a sa propre loi, de somme 1."
)
def _(counts, alpha):
    return (counts + alpha) / (counts + alpha).sum()


@smoothing_exercise.trap("Ce sont les colonnes qui somment à 1 : normalisez chaque ligne, axis=1.")
def _(counts, alpha):
    return (counts + alpha) / (counts + alpha).sum(axis=0)


@smoothing_exercise.trap(
    "alpha n’a lissé que les comptes nuls ; ajoutez-le à tous, sinon l’ordre peut s’inverser."
)
def _(counts, alpha):
    smoothed = np.where(counts == 0, alpha, counts)
    return smoothed / smoothed.sum(axis=1, keepdims=True)


@smoothing_exercise.trap("alpha manque au numérateur : un compte nul garde une probabilité nulle.")
def _(counts, alpha):
    return counts / (counts.sum(axis=1, keepdims=True) + alpha * counts.shape[1])


@smoothing_exercise.trap("V est le nombre de symboles, donc de colonnes ; `len(counts)` est n.")
def _(counts, alpha):
    return (counts + alpha) / (counts.sum(axis=1, keepdims=True) + alpha * len(counts))


@smoothing_exercise.trap("Vous ajoutez toujours 1 : ajoutez alpha.")
def _(counts, alpha):
    return _normalise(counts + 1)


@smoothing_exercise.trap("alpha s’ajoute aux comptes, avant de diviser, et non aux fréquences.")
def _(counts, alpha):
    frequency = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return _normalise(frequency + alpha)


@smoothing_exercise.variant
def _(counts, alpha):
    rows = []
    for row in counts:
        rows.append([(c + alpha) / (row.sum() + alpha * len(row)) for c in row])
    return np.array(rows)


posterior_exercise = Exercise(
    "ex-probabilites-posteriori",
    title="L’a posteriori, caractère après caractère",
    level="moyen",
    minutes=15,
    hints=(
        "np.cumsum(log_likelihood, axis=0) donne ce que tous les caractères lus jusque-là disent.",
        "Ajoutez np.log(prior) une seule fois, avant d’exponentier.",
        "Retirez le maximum de chaque ligne avant np.exp : c’est le softmax stable.",
    ),
)


@posterior_exercise.reference
def running_posterior(prior, log_likelihood):
    """prior : (K,) ; log_likelihood : (T, K) ; renvoie (T, K), lignes de somme 1."""
    score = np.log(prior) + np.cumsum(log_likelihood, axis=0)
    score = score - score.max(axis=1, keepdims=True)
    p = np.exp(score)
    return p / p.sum(axis=1, keepdims=True)


def _evidence(rng, T, K):
    return np.log(rng.dirichlet(np.full(30, 0.6), size=K)[:, rng.integers(30, size=T)].T + 1e-3)


@posterior_exercise.cases
def _(rng):
    yield np.array([0.7, 0.3]), np.log([[0.1, 0.3], [0.2, 0.1], [0.4, 0.5]])
    yield rng.dirichlet(np.ones(3)), _evidence(rng, 6, 3)
    yield np.array([0.2, 0.8]), np.log(rng.uniform(0.09, 0.11, size=(4000, 2)))


@posterior_exercise.trap(
    "Les probabilités s’annulent toutes sur un long texte : restez en logarithmes et retirez le "
    "maximum avant d’exponentier."
)
def _(prior, log_likelihood):
    with np.errstate(invalid="ignore", divide="ignore"):
        return _normalise(prior * np.cumprod(np.exp(log_likelihood), axis=0))


@posterior_exercise.trap("L’a priori a été oublié : c’est la vraisemblance normalisée.")
def _(prior, log_likelihood):
    return running_posterior(np.full(len(prior), 1 / len(prior)), log_likelihood)


@posterior_exercise.trap(
    "Chaque caractère est jugé seul : additionnez ce que disent tous les précédents."
)
def _(prior, log_likelihood):
    return _normalise(np.exp(np.log(prior) + log_likelihood))


@posterior_exercise.trap("L’a priori est compté à chaque caractère ; il ne sert qu’une fois.")
def _(prior, log_likelihood):
    return running_posterior(np.ones(len(prior)), log_likelihood + np.log(prior))


@posterior_exercise.trap(
    "Ce sont des logarithmes, non normalisés : il reste à exponentier et à diviser par la somme."
)
def _(prior, log_likelihood):
    return np.log(prior) + np.cumsum(log_likelihood, axis=0)


@posterior_exercise.trap("Le cumul suit le texte : axis=0, du premier caractère au dernier.")
def _(prior, log_likelihood):
    score = np.log(prior) + np.cumsum(log_likelihood, axis=1)
    return _normalise(np.exp(score - score.max(axis=1, keepdims=True)))


@posterior_exercise.trap("Ce sont les colonnes qui somment à 1 : normalisez entre les langues.")
def _(prior, log_likelihood):
    score = np.log(prior) + np.cumsum(log_likelihood, axis=0)
    return _normalise(np.exp(score - score.max(axis=0)).T).T


@posterior_exercise.trap("L’a priori s’ajoute en logarithme : np.log(prior).")
def _(prior, log_likelihood):
    score = prior + np.cumsum(log_likelihood, axis=0)
    return _normalise(np.exp(score - score.max(axis=1, keepdims=True)))


@posterior_exercise.variant
def _(prior, log_likelihood):
    belief, rows = np.array(prior, dtype=float), []
    for row in log_likelihood:
        belief = belief * np.exp(row - row.max())
        belief = belief / belief.sum()
        rows.append(belief)
    return np.array(rows)


paired_exercise = Exercise(
    "ex-probabilites-apparie",
    title="L’intervalle apparié",
    level="moyen",
    minutes=10,
    hints=(
        "Calculez d’abord les différences, question par question.",
        "L’erreur type d’une moyenne est l’écart type (ddof=1) divisé par la racine de n.",
    ),
)


@paired_exercise.reference
def paired_interval(a, b):
    """a, b : (n,), n >= 2 ; renvoie (bas, haut)."""
    d = a - b
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_exercise.cases
def _(rng):
    yield np.array([1.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    difficulty = rng.normal(size=300)
    yield difficulty + rng.normal(size=300), difficulty + rng.normal(size=300) - 0.2
    yield (rng.random(50) < 0.7).astype(float), (rng.random(50) < 0.6).astype(float)


@paired_exercise.trap(
    "Vous avez additionné les deux variances, comme si les questions étaient différentes : "
    "prenez la variance des différences."
)
def _(a, b):
    half = 1.96 * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    gap = a.mean() - b.mean()
    return gap - half, gap + half


@paired_exercise.trap(
    "C’est la dispersion des différences, non celle de leur moyenne : divisez par la racine de n."
)
def _(a, b):
    d = a - b
    return d.mean() - 1.96 * d.std(ddof=1), d.mean() + 1.96 * d.std(ddof=1)


@paired_exercise.trap("Il manque le facteur 1,96 : votre intervalle ne couvre que 68 %.")
def _(a, b):
    d = a - b
    half = d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_exercise.trap("L’écart demandé est a - b, non b - a.")
def _(a, b):
    return paired_interval(b, a)


@paired_exercise.trap("La variance est à diviseur n - 1 : std(ddof=1).")
def _(a, b):
    d = a - b
    half = 1.96 * d.std() / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_exercise.trap("Renvoyez les deux bornes, et non le centre et la demi-largeur.")
def _(a, b):
    d = a - b
    return d.mean(), 1.96 * d.std(ddof=1) / np.sqrt(len(d))


@paired_exercise.trap(
    "Ce sont les quantiles des différences : l’intervalle demandé est celui de leur moyenne."
)
def _(a, b):
    return tuple(np.quantile(a - b, (0.025, 0.975)))


@paired_exercise.trap("L’erreur type divise l’écart type par la racine de n, et non par n.")
def _(a, b):
    d = a - b
    half = 1.96 * d.std(ddof=1) / len(d)
    return d.mean() - half, d.mean() + half


@paired_exercise.variant
def _(a, b):
    n = len(a)
    cov = np.cov(a, b)
    half = 1.96 * np.sqrt((cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]) / n)
    return (a.mean() - b.mean() - half, a.mean() - b.mean() + half)


ece_exercise = Exercise(
    "ex-probabilites-ece",
    title="Erreur de calibration",
    level="moyen",
    minutes=15,
    hints=(
        "Une boucle sur les tranches suffit : un masque, deux moyennes, un poids.",
        "Le numéro de tranche est np.minimum((confidence * bins).astype(int), bins - 1).",
        "Une tranche vide ne compte pas : sautez-la avant de prendre sa moyenne.",
    ),
)


def _tranches(confidence, bins):
    return np.minimum((confidence * bins).astype(int), bins - 1)


@ece_exercise.reference
def calibration_error(confidence, correct, bins):
    """confidence : (n,) dans [0, 1] ; correct : (n,) de 0 et de 1 ; renvoie un nombre."""
    tranche = np.minimum((confidence * bins).astype(int), bins - 1)
    total = 0.0
    for j in range(bins):
        part = tranche == j
        if part.any():
            total += part.mean() * abs(correct[part].mean() - confidence[part].mean())
    return total


@ece_exercise.cases
def _(rng):
    yield np.array([0.9, 0.8, 0.3, 1.0]), np.array([1.0, 0.0, 0.0, 0.0]), 2
    yield rng.uniform(0.55, 0.98, size=60), (rng.random(60) < 0.6).astype(float), 10
    for n, bins in ((200, 5), (500, 10)):
        confidence = rng.beta(2, 1, size=n)
        yield confidence, (rng.random(n) < confidence**2).astype(float), bins
    confidence = rng.random(300)
    yield confidence, (rng.random(300) < 0.5).astype(float), 8


@ece_exercise.trap("Les tranches n’ont pas le même effectif : pondérez chaque écart par n_j / n.")
def _(confidence, correct, bins):
    tranche = _tranches(confidence, bins)
    return np.mean(
        [
            abs(correct[tranche == j].mean() - confidence[tranche == j].mean())
            for j in range(bins)
            if (tranche == j).any()
        ]
    )


@ece_exercise.trap(
    "Sans valeur absolue, les excès et les défauts de confiance se compensent : prenez abs par "
    "tranche."
)
def _(confidence, correct, bins):
    return confidence.mean() - correct.mean()


@ece_exercise.trap("C’est le score de Brier : il compare chaque réponse, sans faire de tranches.")
def _(confidence, correct, bins):
    return ((confidence - correct) ** 2).mean()


@ece_exercise.trap(
    "Vous comparez l’exactitude au milieu de la tranche ; comparez-la à la confiance moyenne."
)
def _(confidence, correct, bins):
    tranche = _tranches(confidence, bins)
    return sum(
        (tranche == j).mean() * abs(correct[tranche == j].mean() - (j + 0.5) / bins)
        for j in range(bins)
        if (tranche == j).any()
    )


@ece_exercise.trap(
    "Une confiance de 1 tombe dans une tranche de trop, et se perd : bornez à bins - 1."
)
def _(confidence, correct, bins):
    gap = np.bincount((confidence * bins).astype(int), correct - confidence, minlength=bins)
    return np.abs(gap[:bins]).sum() / len(confidence)


@ece_exercise.trap("Une tranche vide n’a pas de moyenne (0/0 donne nan) : sautez-la.")
def _(confidence, correct, bins):
    tranche = _tranches(confidence, bins)
    n = np.bincount(tranche, minlength=bins)
    with np.errstate(invalid="ignore"):
        gap = np.bincount(tranche, weights=correct - confidence, minlength=bins) / n
    return (n / n.sum() * np.abs(gap)).sum()


@ece_exercise.trap("L’écart de chaque tranche se prend en valeur absolue, et non au carré.")
def _(confidence, correct, bins):
    tranche = _tranches(confidence, bins)
    gap = np.bincount(tranche, weights=correct - confidence, minlength=bins)
    n = np.maximum(np.bincount(tranche, minlength=bins), 1)
    return (gap**2 / n).sum() / len(confidence)


@ece_exercise.variant
def _(confidence, correct, bins):
    gap = np.bincount(_tranches(confidence, bins), weights=correct - confidence, minlength=bins)
    return np.abs(gap).sum() / len(confidence)


cluster_exercise = Exercise(
    "ex-probabilites-grappes",
    title="L’erreur type par grappes",
    level="difficile",
    minutes=20,
    hints=(
        "Retirez d’abord la moyenne générale de toutes les notes.",
        "Pour chaque passage, la somme des écarts ; puis le carré de cette somme.",
        "np.unique(groups, return_inverse=True) et np.bincount(…, weights=…) évitent la boucle.",
    ),
)


@cluster_exercise.reference
def clustered_error(scores, groups):
    """scores, groups : (n,) ; renvoie un nombre positif."""
    deviations = scores - scores.mean()
    sums = [deviations[groups == g].sum() for g in np.unique(groups)]
    return np.sqrt(np.square(sums).sum()) / len(scores)


@cluster_exercise.cases
def _(rng):
    yield np.array([1.0, 1.0, 0.0, 0.0, 1.0]), np.array([7, 7, 3, 3, 3])
    for sizes in ((5, 20, 10, 3), (30, 2, 8, 15, 15)):
        groups = np.repeat(np.arange(len(sizes)) * 10 + 4, sizes)
        level = np.repeat(rng.normal(size=len(sizes)), sizes)
        yield level + rng.normal(size=len(groups)), groups


@cluster_exercise.trap(
    "C’est l’erreur type naïve, qui suppose toutes les notes indépendantes : additionnez les "
    "écarts d’un passage avant d’élever au carré."
)
def _(scores, groups):
    return scores.std() / np.sqrt(len(scores))


@cluster_exercise.trap(
    "Vous prenez la dispersion des moyennes de passage : elle ignore que leurs tailles diffèrent."
)
def _(scores, groups):
    means = np.array([scores[groups == g].mean() for g in np.unique(groups)])
    return means.std() / np.sqrt(len(means))


@cluster_exercise.trap(
    "Centrez avec la moyenne générale : avec celle de chaque passage, les sommes sont nulles."
)
def _(scores, groups):
    sums = [(scores[groups == g] - scores[groups == g].mean()).sum() for g in np.unique(groups)]
    return np.sqrt(np.square(sums).sum()) / len(scores)


@cluster_exercise.trap("C’est la variance de la moyenne : il manque la racine carrée.")
def _(scores, groups):
    return clustered_error(scores, groups) ** 2


@cluster_exercise.trap("Divisez par n, le nombre de notes, et non par le nombre de passages.")
def _(scores, groups):
    return clustered_error(scores, groups) * len(scores) / len(np.unique(groups))


@cluster_exercise.trap("Retirez d’abord la moyenne générale : on additionne des écarts.")
def _(scores, groups):
    sums = [scores[groups == g].sum() for g in np.unique(groups)]
    return np.sqrt(np.square(sums).sum()) / len(scores)


@cluster_exercise.trap(
    "Vous prenez la moyenne des écarts d’un passage : c’est leur somme qu’il faut élever au carré."
)
def _(scores, groups):
    deviations = scores - scores.mean()
    means = [deviations[groups == g].mean() for g in np.unique(groups)]
    return np.sqrt(np.square(means).sum()) / len(scores)


@cluster_exercise.variant
def _(scores, groups):
    same = groups[:, None] == groups[None, :]
    deviations = scores - scores.mean()
    return np.sqrt((np.outer(deviations, deviations) * same).sum()) / len(scores)
