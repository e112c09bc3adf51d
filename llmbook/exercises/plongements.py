"""Exercices de la section « Des mots voisins »."""

import numpy as np

from llmbook.exercise import Exercise


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


keep_exercise = Exercise(
    "ex-plongements-garder",
    title="Garder une occurrence",
    level="facile",
    minutes=3,
    hints=("La formule est √(t / f).", "Une probabilité ne dépasse pas 1 : np.minimum."),
)


@keep_exercise.reference
def keep(frequency, threshold):
    """Probabilité de garder une occurrence. frequency : (V,) ; renvoie (V,)."""
    return np.minimum(1, np.sqrt(threshold / frequency))


@keep_exercise.cases
def _(rng):
    yield np.array([0.05, 0.01, 1e-3, 1e-4, 1e-5]), 1e-4
    yield rng.uniform(1e-6, 0.1, size=8), 1e-3


@keep_exercise.trap("Une probabilité ne dépasse pas 1 : les mots rares sont tous gardés.")
def _(frequency, threshold):
    return np.sqrt(threshold / frequency)


@keep_exercise.trap("C’est la probabilité de jeter l’occurrence : prenez son complément.")
def _(frequency, threshold):
    return 1 - np.minimum(1, np.sqrt(threshold / frequency))


@keep_exercise.trap("La racine manque : les mots fréquents seraient presque tous jetés.")
def _(frequency, threshold):
    return np.minimum(1, threshold / frequency)


@keep_exercise.trap("Le rapport est inversé : ce sont les mots fréquents que l’on jette.")
def _(frequency, threshold):
    return np.minimum(1, np.sqrt(frequency / threshold))


@keep_exercise.variant
def _(frequency, threshold):
    return np.where(frequency <= threshold, 1.0, (threshold / frequency) ** 0.5)


loss_exercise = Exercise(
    "ex-plongements-perte",
    title="La perte d’une paire",
    level="moyen",
    minutes=10,
    hints=(
        "-ln σ(x) = ln(1 + exp(-x)).",
        "np.logaddexp(0, -x) calcule ln(1 + exp(-x)) sans déborder.",
        "Pour un négatif, le score change de signe : np.logaddexp(0, x).",
    ),
)


@loss_exercise.reference
def pair_loss(u, v, negatives):
    """u, v : (C,) ; negatives : (k, C). Renvoie un nombre."""
    return np.logaddexp(0, -(u @ v)) + np.logaddexp(0, negatives @ u).sum()


@loss_exercise.cases
def _(rng):
    yield rng.normal(size=4), rng.normal(size=4), rng.normal(size=(3, 4))
    yield rng.normal(size=6), rng.normal(size=6), rng.normal(size=(5, 6))
    u = np.array([20.0, -20.0])
    yield u, np.array([-20.0, 20.0]), np.array([[1.0, 1.0], [0.5, 0.0]])
    yield u, np.array([1.0, 0.0]), np.array([[20.0, -20.0]])


@loss_exercise.trap("Les négatifs veulent un score bas : leur terme est -ln σ(-u·n).")
def _(u, v, negatives):
    return np.logaddexp(0, -(u @ v)) + np.logaddexp(0, -(negatives @ u)).sum()


@loss_exercise.trap("La perte déborde : -ln σ(x) s’écrit np.logaddexp(0, -x).")
def _(u, v, negatives):
    with np.errstate(all="ignore"):
        return -np.log(_sigmoid(u @ v)) - np.log(_sigmoid(-(negatives @ u))).sum()


@loss_exercise.trap("Les négatifs s’additionnent : la moyenne les fait peser comme un seul.")
def _(u, v, negatives):
    return np.logaddexp(0, -(u @ v)) + np.logaddexp(0, negatives @ u).mean()


@loss_exercise.trap("C’est l’opposé : une perte est positive.")
def _(u, v, negatives):
    return -pair_loss(u, v, negatives)


@loss_exercise.variant
def _(u, v, negatives):
    total = 0.0
    for sign, context in [(1, v)] + [(-1, n) for n in negatives]:
        x = sign * float(u @ context)
        total += np.log1p(np.exp(-x)) if x > 0 else -x + np.log1p(np.exp(x))
    return total


step_exercise = Exercise(
    "ex-plongements-pas",
    title="Un pas de descente",
    level="moyen",
    minutes=12,
    hints=(
        "Le gradient par rapport à u a deux parts : le contexte et les négatifs.",
        "(σ(u·v) - 1) v, plus la somme des σ(u·n) n.",
        "Descendre, c’est retirer rate fois le gradient.",
    ),
)


@step_exercise.reference
def step(u, v, negatives, rate):
    """Nouveau vecteur u (C,) après un pas de descente."""
    gradient = (_sigmoid(u @ v) - 1) * v + _sigmoid(negatives @ u) @ negatives
    return u - rate * gradient


@step_exercise.cases
def _(rng):
    yield rng.normal(size=4), rng.normal(size=4), rng.normal(size=(3, 4)), 0.1
    yield rng.normal(size=7), rng.normal(size=7), rng.normal(size=(5, 7)), 0.5
    yield np.zeros(3), np.array([1.0, 2.0, 0.0]), np.array([[0.0, 1.0, 1.0]]), 1.0


@step_exercise.trap("Vous montez : le gradient se retire.")
def _(u, v, negatives, rate):
    return 2 * u - step(u, v, negatives, rate)


@step_exercise.trap("Les négatifs manquent : u irait vers tous ses contextes sans rien fuir.")
def _(u, v, negatives, rate):
    return u - rate * (_sigmoid(u @ v) - 1) * v


@step_exercise.trap(
    "Pour la vraie paire, le gradient est (σ(u·v) - 1) v : sans le -1, u fuit son contexte."
)
def _(u, v, negatives, rate):
    return u - rate * (_sigmoid(u @ v) * v + _sigmoid(negatives @ u) @ negatives)


@step_exercise.trap(
    "Chaque négatif pousse selon la croyance qu’on lui prête, σ(u·n) : vous "
    "les comptez tous pour 1."
)
def _(u, v, negatives, rate):
    return u - rate * ((_sigmoid(u @ v) - 1) * v + negatives.sum(axis=0))


@step_exercise.variant
def _(u, v, negatives, rate):
    contexts = np.vstack([v, negatives])
    answers = np.r_[1, np.zeros(len(negatives))]
    return u - rate * contexts.T @ (_sigmoid(contexts @ u) - answers)


glove_exercise = Exercise(
    "ex-plongements-glove",
    title="Le gradient de GloVe",
    level="moyen",
    minutes=10,
    hints=(
        "L’écart est u·v + bias - ln(count).",
        "La dérivée du carré donne un facteur 2.",
        "Le poids est min(1, (count / x_max)^0,75).",
    ),
)


@glove_exercise.reference
def glove_gradient(u, v, bias, count, x_max):
    """Gradient (C,) du terme d’une case par rapport à u."""
    weight = min(1, (count / x_max) ** 0.75)
    return 2 * weight * (u @ v + bias - np.log(count)) * v


@glove_exercise.cases
def _(rng):
    yield rng.normal(size=4), rng.normal(size=4), 0.5, 12.0, 100.0
    yield rng.normal(size=4), rng.normal(size=4), -1.0, 400.0, 100.0
    yield rng.normal(size=3), rng.normal(size=3), 0.0, 1.0, 50.0


@glove_exercise.trap("Le poids ne dépasse pas 1 : une rencontre énorme ne doit pas tout décider.")
def _(u, v, bias, count, x_max):
    return 2 * (count / x_max) ** 0.75 * (u @ v + bias - np.log(count)) * v


@glove_exercise.trap("La dérivée de l’écart au carré est 2 fois l’écart.")
def _(u, v, bias, count, x_max):
    return glove_gradient(u, v, bias, count, x_max) / 2


@glove_exercise.trap("La cible est le logarithme du compte, pas le compte.")
def _(u, v, bias, count, x_max):
    return 2 * min(1, (count / x_max) ** 0.75) * (u @ v + bias - count) * v


@glove_exercise.trap("Le biais fait partie de l’écart.")
def _(u, v, bias, count, x_max):
    return 2 * min(1, (count / x_max) ** 0.75) * (u @ v - np.log(count)) * v


@glove_exercise.trap("L’écart dépend de u par le produit u·v : sa dérivée est v, pas u.")
def _(u, v, bias, count, x_max):
    return 2 * min(1, (count / x_max) ** 0.75) * (u @ v + bias - np.log(count)) * u


@glove_exercise.variant
def _(u, v, bias, count, x_max):
    def term(u):
        gap = u @ v + bias - np.log(count)
        return (1.0 if count >= x_max else (count / x_max) ** 0.75) * gap**2

    eye = np.eye(len(u))  # exact : le terme est un polynôme de degré 2
    return np.array([(term(u + e) - term(u - e)) / 2 for e in eye])


analogy_exercise = Exercise(
    "ex-plongements-analogie",
    title="Répondre à une analogie",
    level="moyen",
    minutes=12,
    hints=(
        "Ramenez d’abord chaque ligne à la longueur 1.",
        "Le score de tous les mots : N @ (N[b] - N[a] + N[c]).",
        "Mettez -inf aux places a, b et c avant argmax.",
    ),
)


@analogy_exercise.reference
def answer(vectors, a, b, c):
    """vectors : (V, C) ; renvoie l’indice de la réponse, a, b et c exclus."""
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = normed @ (normed[b] - normed[a] + normed[c])
    scores[[a, b, c]] = -np.inf
    return int(scores.argmax())


def _analogy_cases(rng):
    """Des cas où chaque faute plausible change la réponse."""
    while True:
        vectors = rng.normal(size=(12, 3)) * rng.uniform(0.2, 4, size=(12, 1))
        a, b, c = (int(i) for i in rng.choice(12, size=3, replace=False))
        normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

        def best(X, target, skip=(a, b, c)):
            scores = X @ target
            scores[list(skip)] = -np.inf
            return int(scores.argmax())

        right = best(normed, normed[b] - normed[a] + normed[c])
        wrong = (
            best(normed, normed[b] - normed[a] + normed[c], ()),
            best(vectors, vectors[b] - vectors[a] + vectors[c]),
            best(normed, normed[a] - normed[b] + normed[c]),
            best(normed, normed[b] - normed[a] + normed[c], (c,)),
            best(normed, normed[c]),
        )
        if right not in wrong:
            yield vectors, a, b, c


@analogy_exercise.cases
def _(rng):
    found = _analogy_cases(rng)
    for _ in range(3):
        yield next(found)


def _raw_answer(vectors, target, skip):
    scores = vectors @ target
    scores[list(skip)] = -np.inf
    return int(scores.argmax())


@analogy_exercise.trap("Sans exclure a, b et c, la réponse est presque toujours c.")
def _(vectors, a, b, c):
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return _raw_answer(normed, normed[b] - normed[a] + normed[c], ())


@analogy_exercise.trap("Ramenez les vecteurs à la longueur 1 : ici, les plus longs l’emportent.")
def _(vectors, a, b, c):
    return _raw_answer(vectors, vectors[b] - vectors[a] + vectors[c], (a, b, c))


@analogy_exercise.trap("Le décalage va de a vers b : b - a + c, et non a - b + c.")
def _(vectors, a, b, c):
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return _raw_answer(normed, normed[a] - normed[b] + normed[c], (a, b, c))


@analogy_exercise.trap("Vous répondez le voisin de c, sans employer a ni b : c’est le témoin.")
def _(vectors, a, b, c):
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return _raw_answer(normed, normed[c].copy(), (a, b, c))


@analogy_exercise.variant
def _(vectors, a, b, c):
    def cosine(i, j):
        x, y = vectors[i], vectors[j]
        return x @ y / np.sqrt((x @ x) * (y @ y))

    others = [d for d in range(len(vectors)) if d not in (a, b, c)]
    return max(others, key=lambda d: cosine(d, b) - cosine(d, a) + cosine(d, c))


shifted_exercise = Exercise(
    "ex-plongements-decalee",
    title="La PMI décalée",
    level="difficile",
    minutes=20,
    hints=(
        "N_wc / N_w : chaque ligne divisée par son total.",
        "q : les totaux des colonnes, à la puissance alpha, ramenés à une somme de 1.",
        "Le logarithme d’un compte nul n’existe pas : posez 0 dans ces cases.",
    ),
)


@shifted_exercise.reference
def shifted_ppmi(counts, k, alpha):
    """max(0, ln(N_wc / (N_w q(c))) - ln k). counts : (V, V) ; renvoie (V, V)."""
    share = counts / counts.sum(axis=1, keepdims=True)
    noise = counts.sum(axis=0) ** alpha
    ratio = share / (noise / noise.sum())
    shifted = np.log(np.where(counts > 0, ratio, 1)) - np.log(k)
    return np.where(counts > 0, np.maximum(shifted, 0), 0)


@shifted_exercise.cases
def _(rng):
    for k, alpha in ((1, 1.0), (2, 0.75), (5, 0.75)):
        counts = rng.poisson(1.5, size=(6, 6)).astype(float)
        counts[rng.integers(6)] *= 20
        np.fill_diagonal(counts, 30)
        yield counts, k, alpha


def _shifted(counts, k, alpha, positive=True, sign=1, axis=0, normalise=True):
    noise = counts.sum(axis=axis) ** alpha
    noise = noise / noise.sum() if normalise else noise / counts.sum()
    ratio = counts / counts.sum(axis=1, keepdims=True) / noise
    x = np.log(np.where(counts > 0, ratio, 1)) - sign * np.log(k)
    return np.where(counts > 0, np.maximum(x, 0) if positive else x, 0)


@shifted_exercise.trap("La partie positive manque : les valeurs négatives deviennent 0.")
def _(counts, k, alpha):
    return _shifted(counts, k, alpha, positive=False)


@shifted_exercise.trap("Le décalage est -ln k : vous l’ajoutez au lieu de le retirer.")
def _(counts, k, alpha):
    return _shifted(counts, k, alpha, sign=-1)


@shifted_exercise.trap("Il manque le décalage : retirez ln k.")
def _(counts, k, alpha):
    return _shifted(counts, k, alpha, sign=0)


@shifted_exercise.trap(
    "La loi des négatifs vient des totaux des colonnes, les contextes : vous "
    "prenez ceux des lignes."
)
def _(counts, k, alpha):
    return _shifted(counts, k, alpha, axis=1)


@shifted_exercise.trap(
    "Après la puissance alpha, la loi des négatifs doit être ramenée à une somme de 1."
)
def _(counts, k, alpha):
    return _shifted(counts, k, alpha, normalise=False)


@shifted_exercise.trap("La puissance alpha de la loi des négatifs manque.")
def _(counts, k, alpha):
    return _shifted(counts, k, 1.0)


@shifted_exercise.variant
def _(counts, k, alpha):
    noise = counts.sum(axis=0) ** alpha / (counts.sum(axis=0) ** alpha).sum()
    out = np.zeros_like(counts)
    for w, c in np.argwhere(counts > 0):
        x = np.log(counts[w, c]) - np.log(counts[w].sum()) - np.log(noise[c]) - np.log(k)
        out[w, c] = max(0.0, x)
    return out


map_exercise = Exercise(
    "ex-plongements-carte",
    title="Le taux de voisins gardés",
    level="difficile",
    minutes=25,
    hints=(
        "Deux listes de k voisins par mot : l’une par le cosinus, l’autre par la distance.",
        "Mettez -inf (ou +inf) sur la diagonale avant de trier.",
        "Pour chaque mot : le nombre de voisins communs, divisé par k ; puis la moyenne.",
    ),
)


@map_exercise.reference
def kept_share(vectors, points, k):
    """vectors : (n, C) ; points : (n, 2). Renvoie un nombre entre 0 et 1."""
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = normed @ normed.T
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(cosine, -np.inf)
    np.fill_diagonal(distance, np.inf)
    true, shown = np.argsort(-cosine, axis=1)[:, :k], np.argsort(distance, axis=1)[:, :k]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(true, shown, strict=True)]))


@map_exercise.cases
def _(rng):
    for n, k in ((12, 3), (20, 5), (15, 4)):
        vectors = rng.normal(size=(n, 5)) * rng.uniform(0.2, 4, size=(n, 1))
        normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        yield vectors, normed[:, :2] + 0.2 * rng.normal(size=(n, 2)), k


def _lists(scores, k, keep_self=False):
    scores = scores.copy()
    if not keep_self:
        np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)[:, :k]


def _common(true, shown, size):
    return float(np.mean([len(set(a) & set(b)) / size for a, b in zip(true, shown, strict=True)]))


def _flat(points):
    return -np.linalg.norm(points[:, None] - points[None], axis=-1)


@map_exercise.trap("Un mot n’est pas son propre voisin : ôtez-le des deux listes.")
def _(vectors, points, k):
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return _common(_lists(normed @ normed.T, k, True), _lists(_flat(points), k, True), k)


@map_exercise.trap(
    "Les voisins vrais se prennent par le cosinus : votre produit scalaire "
    "favorise les vecteurs longs."
)
def _(vectors, points, k):
    return _common(_lists(vectors @ vectors.T, k), _lists(_flat(points), k), k)


@map_exercise.trap("Sur la carte, on compare des distances, pas des angles.")
def _(vectors, points, k):
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = points / np.linalg.norm(points, axis=1, keepdims=True)
    return _common(_lists(normed @ normed.T, k), _lists(flat @ flat.T, k), k)


@map_exercise.trap("Divisez par k : vous renvoyez un nombre de voisins, pas une part.")
def _(vectors, points, k):
    return k * kept_share(vectors, points, k)


@map_exercise.trap(
    "Vous divisez par la taille de la réunion : c’est l’indice de Jaccard, plus sévère."
)
def _(vectors, points, k):
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = zip(_lists(normed @ normed.T, k), _lists(_flat(points), k), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs]))


@map_exercise.variant
def _(vectors, points, k):
    n, total = len(vectors), 0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        cosine = {j: vectors[i] @ vectors[j] / np.linalg.norm(vectors[j]) for j in others}
        true = set(sorted(others, key=lambda j: -cosine[j])[:k])
        gap = {j: ((points[i] - points[j]) ** 2).sum() for j in others}
        total += len(true & set(sorted(others, key=gap.get)[:k]))
    return total / (n * k)
