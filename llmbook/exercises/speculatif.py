"""Exercices de la section « Décoder par spéculation »."""

import numpy as np

from llmbook.exercise import Exercise

alpha_exercise = Exercise(
    "ex-speculatif-alpha",
    title="La chance d’accepter",
    level="facile",
    minutes=8,
    hints=("Élevez chaque loi à la puissance 1/T, puis normalisez.", "La somme des minimums."),
)


@alpha_exercise.reference
def acceptance(p, q, T=1.0):
    """p, q : (V,), lois à température 1 ; renvoie la somme des min à température T."""
    hot_p, hot_q = p ** (1 / T), q ** (1 / T)
    return float(np.minimum(hot_p / hot_p.sum(), hot_q / hot_q.sum()).sum())


@alpha_exercise.cases
def _(rng):
    p, q = rng.dirichlet(np.ones(6), size=2)
    for T in (1.0, 0.5, 2.0):
        yield p, q, T
    yield np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])


@alpha_exercise.trap(
    "Σ pq est la chance que deux tirages indépendants s’accordent, pas celle du rejet."
)
def _(p, q, T=1.0):
    hot_p, hot_q = p ** (1 / T), q ** (1 / T)
    return float((hot_p / hot_p.sum() * hot_q / hot_q.sum()).sum())


@alpha_exercise.trap("Après la puissance 1/T, les lois ne somment plus à 1 : normalisez-les.")
def _(p, q, T=1.0):
    return float(np.minimum(p ** (1 / T), q ** (1 / T)).sum())


@alpha_exercise.trap("L’exposant est 1/T : diviser un logit par T, c’est élever la loi à 1/T.")
def _(p, q, T=1.0):
    return acceptance(p, q, 1 / T)


@alpha_exercise.trap("Vous renvoyez la chance de refuser, TV(p, q).")
def _(p, q, T=1.0):
    return 1 - acceptance(p, q, T)


@alpha_exercise.variant
def _(p, q, T=1.0):
    with np.errstate(divide="ignore"):
        laws = [np.exp(np.log(law) / T) for law in (p, q)]
    a, b = (law / law.sum() for law in laws)
    return 1 - np.abs(a - b).sum() / 2


residual_exercise = Exercise(
    "ex-speculatif-residu",
    title="La loi résiduelle",
    level="facile",
    minutes=6,
    hints=("Ce qui manque à q pour valoir p, là où il en manque.", "Divisez par la somme."),
)


@residual_exercise.reference
def after_refusal(p, q):
    """p, q : (V,) ; renvoie max(0, p - q), normalisé."""
    missing = np.maximum(p - q, 0)
    total = missing.sum()
    return missing / total if total > 0 else p


@residual_exercise.cases
def _(rng):
    for _ in range(2):
        yield tuple(rng.dirichlet(np.ones(5), size=2))
    yield np.array([0.7, 0.3, 0.0]), np.array([0.2, 0.3, 0.5])
    yield np.array([0.5, 0.5]), np.array([0.5, 0.5])


@residual_exercise.trap("Normalisez : la somme des manques vaut 1 - α, pas 1.")
def _(p, q):
    missing = np.maximum(p - q, 0)
    return missing if missing.any() else p


@residual_exercise.trap(
    "Tirer dans p après un refus compte deux fois ce que les lois ont en commun."
)
def _(p, q):
    return p


@residual_exercise.trap("La valeur absolue rend de la masse aux tokens que le brouillon donnait trop "
                        "souvent : gardez la partie positive.")  # fmt: skip
def _(p, q):
    gap = np.abs(p - q)
    return gap / gap.sum() if gap.any() else p


@residual_exercise.trap("Quand les deux lois sont égales, vous divisez par zéro : renvoyez p.")
def _(p, q):
    missing = np.maximum(p - q, 0)
    with np.errstate(invalid="ignore"):
        return missing / missing.sum()


@residual_exercise.variant
def _(p, q):
    common = np.array([min(a, b) for a, b in zip(p, q, strict=True)])
    rejected = 1 - common.sum()
    return p if np.isclose(rejected, 0, atol=1e-15) else (p - common) / (p - common).sum()


gamma_exercise = Exercise(
    "ex-speculatif-gamma",
    title="Le meilleur nombre de propositions",
    level="moyen",
    minutes=12,
    hints=(
        "Calculez l’accélération pour chaque γ de 0 à limit.",
        "Pour alpha = 1, la fraction est 0/0 : sommez plutôt les puissances.",
        "np.argmax renvoie le premier maximum.",
    ),
)


@gamma_exercise.reference
def best_lookahead(alpha, c, w=0.0, limit=16):
    """Le γ de 0 à limit qui maximise tokens par passe / (γ c + 1 + w γ)."""
    gains = [
        sum(alpha**i for i in range(gamma + 1)) / (gamma * c + 1 + w * gamma)
        for gamma in range(limit + 1)
    ]
    return int(np.argmax(gains))


@gamma_exercise.cases
def _(rng):
    yield 0.8, 0.05
    yield 0.8, 0.3
    yield 0.3, 0.5
    yield 0.9, 0.02, 0.1, 32
    yield 1.0, 0.1, 0.0, 5
    yield 0.6, 0.1, 0.05


@gamma_exercise.trap("Vous maximisez les tokens par passe : le coût du brouillon n’y entre pas.")
def _(alpha, c, w=0.0, limit=16):
    return limit


@gamma_exercise.trap("Comptez aussi γ = 0 : ne pas spéculer est parfois le mieux.")
def _(alpha, c, w=0.0, limit=16):
    gains = [sum(alpha**i for i in range(g + 1)) / (g * c + 1 + w * g) for g in range(1, limit + 1)]
    return 1 + int(np.argmax(gains))


@gamma_exercise.trap("La vérification de γ + 1 tokens coûte 1 + w γ, pas 1.")
def _(alpha, c, w=0.0, limit=16):
    return best_lookahead(alpha, c, 0.0, limit)


@gamma_exercise.trap("Une passe ajoute aussi le token de la cible : la somme va jusqu’à la "
                     "puissance γ comprise.")  # fmt: skip
def _(alpha, c, w=0.0, limit=16):
    gains = [sum(alpha**i for i in range(g)) / (g * c + 1 + w * g) for g in range(limit + 1)]
    return int(np.argmax(gains))


@gamma_exercise.variant
def _(alpha, c, w=0.0, limit=16):
    best, choice, tokens = 1.0, 0, 1.0
    for gamma in range(1, limit + 1):
        tokens += alpha**gamma
        gain = tokens / (1 + gamma * (c + w))
        if gain > best + 1e-12:
            best, choice = gain, gamma
    return choice


lookup_exercise = Exercise(
    "ex-speculatif-recherche",
    title="Chercher dans le texte",
    level="moyen",
    minutes=15,
    hints=(
        "Deux boucles : la longueur de largest à 1, puis le début, de la fin vers le commencement.",
        "Partez de len(ids) - size - 1 : l’occurrence de la fin elle-même ne compte pas.",
        "Les propositions s’arrêtent au bout de ids.",
    ),
)


@lookup_exercise.reference
def propose(ids, largest, count):
    """Jusqu’à count tokens qui ont suivi la dernière occurrence de la fin de ids."""
    for size in range(min(largest, len(ids) - 1), 0, -1):
        key = ids[-size:]
        for start in range(len(ids) - size - 1, -1, -1):
            if ids[start : start + size] == key:
                return ids[start + size : start + size + count]
    return []


@lookup_exercise.cases
def _(rng):
    yield [1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], 3, 2
    yield [4, 1, 7, 9, 1], 3, 2
    yield [1, 2, 3], 2, 4
    yield [8, 8, 8], 2, 3
    yield [5, 6, 1, 6, 9, 5, 6], 2, 1
    yield [7], 3, 2


def _lookup(ids, sizes, count, starts, first=0):
    for size in sizes:
        for start in starts(len(ids) - size):
            if ids[start : start + size] == ids[-size:]:
                return ids[start + size - first : start + size - first + count]
    return []


@lookup_exercise.trap("Prenez l’occurrence la plus récente : vous prenez la plus ancienne.")
def _(ids, largest, count):
    sizes = range(min(largest, len(ids) - 1), 0, -1)
    return _lookup(ids, sizes, count, lambda end: range(end))


@lookup_exercise.trap("Essayez les longueurs de la plus grande à la plus petite : une longue "
                      "coïncidence prédit mieux.")  # fmt: skip
def _(ids, largest, count):
    sizes = range(1, min(largest, len(ids) - 1) + 1)
    return _lookup(ids, sizes, count, lambda end: range(end - 1, -1, -1))


@lookup_exercise.trap("Vous retrouvez la fin elle-même, que rien ne suit.")
def _(ids, largest, count):
    sizes = range(min(largest, len(ids) - 1), 0, -1)
    return _lookup(ids, sizes, count, lambda end: range(end, -1, -1))


@lookup_exercise.trap("Proposez ce qui *suit* l’occurrence, pas l’occurrence.")
def _(ids, largest, count):
    sizes = range(min(largest, len(ids) - 1), 0, -1)
    return _lookup(ids, sizes, count, lambda end: range(end - 1, -1, -1), first=1)


@lookup_exercise.variant
def _(ids, largest, count):
    best = (0, -1)
    for end in range(1, len(ids)):
        common = 0
        while common < min(largest, end) and ids[end - 1 - common] == ids[-1 - common]:
            common += 1
        best = max(best, (common, end))
    return ids[best[1] : best[1] + count] if best[0] else []


board_exercise = Exercise(
    "ex-speculatif-tableau",
    title="Lire un tableau de bord",
    level="moyen",
    minutes=15,
    hints=(
        "Chaque passe écrit ses propositions acceptées, plus un token.",
        "La somme 1 + α + … + α^γ croît avec α : cherchez par dichotomie.",
    ),
)


@board_exercise.reference
def read_dashboard(tokens, passes, lookahead):
    """Renvoie (part des propositions acceptées, α)."""
    share = (tokens - passes) / (passes * lookahead)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        enough = sum(middle**i for i in range(lookahead + 1)) > tokens / passes
        low, high = (low, middle) if enough else (middle, high)
    return share, low


@board_exercise.cases
def _(rng):
    yield 3361, 1000, 4
    yield 150, 100, 1
    yield 700, 200, 8


def _board(tokens, passes, lookahead, share):
    return share, read_dashboard(tokens, passes, lookahead)[1]


@board_exercise.trap("Le dernier token de chaque passe vient de la cible : il n’est pas une "
                     "proposition acceptée.")  # fmt: skip
def _(tokens, passes, lookahead):
    return _board(tokens, passes, lookahead, tokens / (passes * lookahead))


@board_exercise.trap("La part acceptée n’est pas α : les propositions qui suivent un refus sont "
                     "perdues sans être jugées.")  # fmt: skip
def _(tokens, passes, lookahead):
    share = (tokens - passes) / (passes * lookahead)
    return share, share * (1 if lookahead > 1 else 0.9)


@board_exercise.trap("Votre somme oublie un terme : elle va de la puissance 0 à la puissance γ.")
def _(tokens, passes, lookahead):
    share, _ = read_dashboard(tokens, passes, lookahead)
    roots = np.roots([1.0] * lookahead + [1 - tokens / passes]) if lookahead > 1 else [0.0]
    real = [r.real for r in np.atleast_1d(roots) if abs(np.imag(r)) < 1e-9 and r.real >= 0]
    return share, min(1.0, max(real, default=0.0)) ** 2


@board_exercise.variant
def _(tokens, passes, lookahead):
    from scipy.optimize import brentq

    mean = tokens / passes
    found = brentq(lambda a: (1 - a ** (lookahead + 1)) / (1 - a) - mean, 0, 1 - 1e-9, xtol=1e-13)
    return (mean - 1) / lookahead, found


judge_exercise = Exercise(
    "ex-speculatif-juge",
    title="Juger",
    level="difficile",
    minutes=25,
    hints=(
        "Une boucle sur les propositions ; au premier refus, tirez dans la loi résiduelle.",
        "Si tout est accepté, tirez dans p[n] : c’est le token gratuit.",
        "np.searchsorted(law.cumsum(), u, side='right') donne le premier cumul qui dépasse u.",
    ),
)


def _pick(law, u):
    return int(min(np.searchsorted(np.cumsum(law), u, side="right"), len(law) - 1))


@judge_exercise.reference
def judge_with(p, q, proposals, u):
    """Les propositions gardées, puis un token de la cible."""
    kept = []
    for i, x in enumerate(proposals):
        if u[i] < p[i][x] / q[i][x]:
            kept.append(x)
            continue
        missing = np.maximum(p[i] - q[i], 0)
        law = missing / missing.sum()
        break
    else:
        law = p[len(proposals)]
    last = np.searchsorted(np.cumsum(law), u[-1], side="right")
    return [*kept, int(min(last, len(law) - 1))]


@judge_exercise.cases
def _(rng):
    for n, seed in ((1, 0), (3, 1), (3, 2), (4, 3), (2, 4), (4, 5), (3, 6), (0, 7)):
        r = np.random.default_rng(seed)
        p = list(r.dirichlet(np.ones(5), size=n + 1))
        q = [0.7 * row + 0.3 * r.dirichlet(np.ones(5)) for row in p[:n]]
        yield p, q, [int(r.integers(5)) for _ in range(n)], r.random(n + 1)


def _judged(p, q, proposals, u, *, after=None, bonus=True, stop=True, ratio=None):
    kept, law = [], p[len(proposals)]
    for i, x in enumerate(proposals):
        if u[i] < (ratio or (lambda a, b: a / b))(p[i][x], q[i][x]):
            kept.append(x)
        else:
            missing = np.maximum(p[i] - q[i], 0)
            law = after(p[i], q[i]) if after else missing / missing.sum()
            if stop:
                return [*kept, _pick(law, u[-1])]
    return [*kept, _pick(law, u[-1])] if bonus else kept


@judge_exercise.trap("Après un refus, tirez dans max(0, p - q) normalisé, pas dans p : la loi "
                     "changerait.")  # fmt: skip
def _(p, q, proposals, u):
    return _judged(p, q, proposals, u, after=lambda a, b: a)


@judge_exercise.trap("Normalisez la loi résiduelle avant de la cumuler.")
def _(p, q, proposals, u):
    return _judged(p, q, proposals, u, after=lambda a, b: np.maximum(a - b, 0))


@judge_exercise.trap("Quand tout est accepté, la passe de la cible donne un token de plus, tiré "
                     "dans p[n].")  # fmt: skip
def _(p, q, proposals, u):
    return _judged(p, q, proposals, u, bonus=False)


@judge_exercise.trap("Arrêtez au premier refus : les propositions suivantes continuaient un texte "
                     "qui n’existe plus.")  # fmt: skip
def _(p, q, proposals, u):
    return _judged(p, q, proposals, u, stop=False)


@judge_exercise.trap("La chance d’accepter est p(x) / q(x), pas p(x).")
def _(p, q, proposals, u):
    return _judged(p, q, proposals, u, ratio=lambda a, b: a)


@judge_exercise.variant
def _(p, q, proposals, u):
    ratios = np.array([p[i][x] / q[i][x] for i, x in enumerate(proposals)])
    refused = np.flatnonzero(np.asarray(u[:-1]) >= ratios)
    k = int(refused[0]) if len(refused) else len(proposals)
    law = p[k] if k == len(proposals) else np.clip(p[k] - q[k], 0, None)
    total, threshold = 0.0, u[-1] * law.sum()
    for token, mass in enumerate(law):
        total += mass
        if total > threshold:
            return list(proposals[:k]) + [token]
    return list(proposals[:k]) + [len(law) - 1]
