"""Exercices de la section « Rang, α et cibles »."""

import numpy as np

from llmbook.exercise import Exercise

budget_exercise = Exercise(
    "ex-reglages-budget",
    title="À budget égal",
    level="facile",
    minutes=5,
    hints=(
        "Une matrice (m, n) coûte r (m + n).",
        "Divisez le budget par la somme des m + n, sans reste.",
        "Une matrice (m, n) n’a que min(m, n) rangs.",
    ),
)


@budget_exercise.reference
def rank_for_budget(shapes, budget):
    """shapes : liste de (m, n) ; renvoie un entier."""
    return min(budget // sum(m + n for m, n in shapes), min(min(shape) for shape in shapes))


@budget_exercise.cases
def _(rng):
    yield [(512, 256), (256, 256)], 20_000
    yield [(1408, 256), (256, 704)], 125_952 // 6
    yield [(4, 1000), (1000, 1000)], 100_000
    yield [(512, 256)], 700


@budget_exercise.trap(
    "Vous comptez m × n : c’est la matrice entière. Un adaptateur en coûte r (m + n)."
)
def _(shapes, budget):
    return min(budget // sum(m * n for m, n in shapes), min(min(shape) for shape in shapes))


@budget_exercise.trap("Le rang dépasse la plus petite matrice : inject le refuserait.")
def _(shapes, budget):
    return budget // sum(m + n for m, n in shapes)


@budget_exercise.trap("Vous arrondissez : le budget est dépassé. Il faut la partie entière.")
def _(shapes, budget):
    each = sum(m + n for m, n in shapes)
    return min(-(-budget // each), min(min(shape) for shape in shapes))


@budget_exercise.trap(
    "Votre budget ne paie qu’une matrice : toutes ont le même rang, il faut la somme."
)
def _(shapes, budget):
    return min(budget // max(m + n for m, n in shapes), min(min(shape) for shape in shapes))


@budget_exercise.variant
def _(shapes, budget):
    rank = 0
    while (rank + 1) * sum(map(sum, shapes)) <= budget and rank < min(map(min, shapes)):
        rank += 1
    return rank


alpha_exercise = Exercise(
    "ex-reglages-alpha",
    title="À déplacement égal",
    level="facile",
    minutes=6,
    hints=("Le déplacement est proportionnel à s √r, et s = α / r.", "Gardez α / √r constant."),
)


@alpha_exercise.reference
def equivalent_alpha(alpha, rank, new_rank):
    """Renvoie un nombre."""
    return alpha * (new_rank / rank) ** 0.5


@alpha_exercise.cases
def _(rng):
    yield 16.0, 8, 32
    yield 16.0, 8, 2
    yield 32, 16, 64
    yield 10.0, 5, 7


@alpha_exercise.trap("Vous gardez l’échelle α / r : le déplacement croît alors en √r.")
def _(alpha, rank, new_rank):
    return alpha * new_rank / rank


@alpha_exercise.trap("Vous gardez α : l’échelle baisse en 1 / r, et le déplacement en 1 / √r.")
def _(alpha, rank, new_rank):
    return alpha


@alpha_exercise.trap("Le sens est inversé : α doit croître avec le rang.")
def _(alpha, rank, new_rank):
    return alpha * (rank / new_rank) ** 0.5


@alpha_exercise.variant
def _(alpha, rank, new_rank):
    move = alpha / rank * rank**0.5
    return move / new_rank**0.5 * new_rank


def _half(values, quantile=None, ddof=1, root=True):
    from scipy import stats

    n = len(values)
    quantile = stats.t.ppf(0.975, n - 1) if quantile is None else quantile
    return quantile * np.std(values, ddof=ddof) / (n**0.5 if root else 1)


interval_exercise = Exercise(
    "ex-reglages-intervalle",
    title="L’intervalle",
    level="moyen",
    minutes=8,
    hints=(
        "L’écart type divise par n - 1 : ddof=1.",
        "À 95 %, le quantile est celui de 0,975, à n - 1 degrés de liberté.",
        "La demi-largeur est t s / √n.",
    ),
)


@interval_exercise.reference
def student_interval(values):
    """values : deux scores au moins ; renvoie (bas, haut)."""
    return np.mean(values) - _half(values), np.mean(values) + _half(values)


@interval_exercise.cases
def _(rng):
    yield [0.535, 0.507, 0.542]
    yield [0.56, 0.52]
    yield list(rng.normal(0.5, 0.03, 6))


@interval_exercise.trap(
    "1,96 suppose un écart type connu : sur si peu de graines, prenez le quantile de Student."
)
def _(values):
    half = _half(values, 1.959963985)
    return np.mean(values) - half, np.mean(values) + half


@interval_exercise.trap("L’écart type d’un échantillon divise par n - 1 : ddof=1.")
def _(values):
    half = _half(values, ddof=0)
    return np.mean(values) - half, np.mean(values) + half


@interval_exercise.trap("C’est l’intervalle d’une course ; celui de la moyenne divise par √n.")
def _(values):
    half = _half(values, root=False)
    return np.mean(values) - half, np.mean(values) + half


@interval_exercise.trap("Votre quantile laisse 5 % d’un seul côté : à 95 %, des deux, c’est 0,975.")
def _(values):
    from scipy import stats

    half = _half(values, stats.t.ppf(0.95, len(values) - 1))
    return np.mean(values) - half, np.mean(values) + half


@interval_exercise.variant
def _(values):
    from scipy import stats

    return stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))


paired_exercise = Exercise(
    "ex-reglages-apparie",
    title="L’écart apparié",
    level="moyen",
    minutes=10,
    hints=(
        "Les graines communes : a.keys() & b.keys(), dans un ordre fixé.",
        "Formez d’abord les écarts, b moins a, puis leur intervalle.",
    ),
)


@paired_exercise.reference
def paired_gap(a, b):
    """a, b : graine -> score ; renvoie (écart moyen de b sur a, demi-largeur)."""
    gaps = [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]
    return np.mean(gaps), _half(gaps)


@paired_exercise.cases
def _(rng):
    yield {0: 0.535, 1: 0.507, 2: 0.542}, {0: 0.56, 1: 0.52, 2: 0.568}
    yield {0: 0.5, 1: 0.4, 2: 0.6}, {2: 0.63, 0: 0.51, 1: 0.42}
    yield {0: 0.5, 1: 0.4, 3: 0.45, 4: 0.7}, {4: 0.74, 1: 0.42, 0: 0.5, 7: 0.1}


@paired_exercise.trap(
    "Vous appariez dans l’ordre d’écriture : alignez les deux réglages par graine."
)
def _(a, b):
    gaps = [y - x for x, y in zip(a.values(), b.values(), strict=True)]
    return np.mean(gaps), _half(gaps)


@paired_exercise.trap("L’écart est pris à l’envers : on demande b moins a.")
def _(a, b):
    mean, half = paired_gap(a, b)
    return -mean, half


@paired_exercise.trap(
    "Vous ajoutez les deux variances, comme si les graines étaient sans rapport : "
    "prenez l’écart type des écarts."
)
def _(a, b):
    seeds = sorted(a.keys() & b.keys())
    x, y = ([side[seed] for seed in seeds] for side in (a, b))
    return np.mean(y) - np.mean(x), (_half(x) ** 2 + _half(y) ** 2) ** 0.5


@paired_exercise.trap("Une graine absente d’un côté n’a pas d’écart : ne gardez que les communes.")
def _(a, b):
    _, half = paired_gap(a, b)
    return np.mean(list(b.values())) - np.mean(list(a.values())), half


@paired_exercise.variant
def _(a, b):
    from scipy import stats

    seeds = [seed for seed in a if seed in b]
    gaps = np.array([b[seed] for seed in seeds]) - np.array([a[seed] for seed in seeds])
    low, high = stats.t.interval(0.95, len(gaps) - 1, loc=gaps.mean(), scale=stats.sem(gaps))
    return gaps.mean(), (high - low) / 2


share_exercise = Exercise(
    "ex-reglages-partage",
    title="Ouvrir la perte",
    level="moyen",
    minutes=12,
    hints=(
        "Retirez d’abord les positions où targets vaut -100.",
        "torch.isin(targets, torch.tensor(special)) donne le premier groupe.",
        "La part est une part de la somme des pertes, pas de leur nombre.",
    ),
)


@share_exercise.reference
def split_loss(logits, targets, special):
    """logits (N, V), targets (N,), -100 ignoré ; renvoie trois nombres."""
    import torch
    import torch.nn.functional as F

    kept = targets != -100
    nats = F.cross_entropy(logits[kept], targets[kept], reduction="none")
    first = torch.isin(targets[kept], torch.tensor(special))
    return (nats[first].mean().item(), nats[~first].mean().item(),
            (nats[first].sum() / nats.sum()).item())  # fmt: skip


@share_exercise.cases
def _(rng):
    import torch

    for size, special in ((12, [3]), (30, [3, 2])):
        logits = torch.from_numpy(rng.normal(size=(size, 9)) * 2).float()
        targets = torch.from_numpy(rng.integers(0, 9, size))
        targets[:4] = torch.tensor([3, -100, 2, 5])
        targets[-1] = -100
        yield logits, targets, special


def _split(logits, targets, special):
    import torch
    import torch.nn.functional as F

    kept = targets != -100
    nats = F.cross_entropy(logits[kept], targets[kept], reduction="none")
    return nats, torch.isin(targets[kept], torch.tensor(special))


@share_exercise.trap(
    "La part que vous rendez est celle du nombre de tokens, pas celle de leur perte."
)
def _(logits, targets, special):
    nats, first = _split(logits, targets, special)
    return nats[first].mean().item(), nats[~first].mean().item(), first.float().mean().item()


@share_exercise.trap(
    "Vous divisez une moyenne par la somme des deux moyennes : les groupes n’ont pas "
    "la même taille."
)
def _(logits, targets, special):
    nats, first = _split(logits, targets, special)
    a, b = nats[first].mean().item(), nats[~first].mean().item()
    return a, b, a / (a + b)


@share_exercise.trap(
    "Les positions à -100 comptent dans votre second groupe, avec une perte nulle."
)
def _(logits, targets, special):
    import torch
    import torch.nn.functional as F

    nats = F.cross_entropy(logits, targets, reduction="none")
    first = torch.isin(targets, torch.tensor(special))
    return (
        nats[first].mean().item(),
        nats[~first].mean().item(),
        (nats[first].sum() / nats.sum()).item(),
    )


@share_exercise.trap(
    "Vous regardez le token que le modèle préfère, et non celui qu’il fallait prédire."
)
def _(logits, targets, special):
    import torch

    nats, _ = _split(logits, targets, special)
    first = torch.isin(logits[targets != -100].argmax(-1), torch.tensor(special))
    return (
        nats[first].mean().item(),
        nats[~first].mean().item(),
        (nats[first].sum() / nats.sum()).item(),
    )


@share_exercise.variant
def _(logits, targets, special):
    sums, counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
    for row, target in zip(logits.log_softmax(-1), targets.tolist(), strict=True):
        if target >= 0:
            sums[target in special] -= row[target].item()
            counts[target in special] += 1
    return (sums[True] / counts[True], sums[False] / counts[False],
            sums[True] / (sums[True] + sums[False]))  # fmt: skip


choice_exercise = Exercise(
    "ex-reglages-choix",
    title="Le plus petit rang défendable",
    level="difficile",
    minutes=20,
    hints=(
        "Trouvez d’abord le rang de meilleure moyenne.",
        "Pour chaque rang, formez les écarts graine par graine : meilleur moins lui.",
        "Zéro n’est pas exclu si la moyenne des écarts ne dépasse pas leur demi-largeur.",
        "Le meilleur lui-même convient toujours ; parcourez les rangs en croissant.",
    ),
)


@choice_exercise.reference
def smallest_rank(scores):
    """scores : rang -> (S,) ; renvoie un rang."""
    best = max(scores, key=lambda rank: np.mean(scores[rank]))
    for rank in sorted(scores):
        gaps = np.asarray(scores[best]) - np.asarray(scores[rank])
        if rank == best or gaps.mean() <= _half(gaps):
            return rank


@choice_exercise.cases
def _(rng):
    yield {1: np.array([0.287, 0.270, 0.263]), 8: np.array([0.535, 0.507, 0.542]),
           16: np.array([0.562, 0.575, 0.545]), 64: np.array([0.555, 0.552, 0.595])}  # fmt: skip
    # Le rang 4 recouvre le meilleur, mais son retard est le même à chaque graine.
    yield {4: np.array([0.40, 0.50, 0.60]), 8: np.array([0.45, 0.56, 0.65]),
           16: np.array([0.46, 0.56, 0.66])}  # fmt: skip
    yield {16: np.array([0.55, 0.57, 0.56]), 4: np.array([0.54, 0.575, 0.55])}
    yield {32: np.array([0.50, 0.51, 0.52]), 4: np.array([0.60, 0.61, 0.63]),
           8: np.array([0.50, 0.52, 0.53])}  # fmt: skip
    yield {2: np.array([0.50, 0.55, 0.54]), 4: np.array([0.531, 0.551, 0.56]),
           8: np.array([0.538, 0.580, 0.576])}  # fmt: skip
    yield {2: np.array([0.50, 0.60, 0.58]), 4: np.array([0.545, 0.642, 0.630]),
           8: np.array([0.60, 0.61, 0.67])}  # fmt: skip


def _smallest(scores, accept):
    best = max(scores, key=lambda rank: np.mean(scores[rank]))
    for rank in sorted(scores):
        if rank == best or accept(np.asarray(scores[best]), np.asarray(scores[rank])):
            return rank


@choice_exercise.trap(
    "Vous rendez le rang de meilleure moyenne : un plus petit ne s’en distingue peut-être pas."
)
def _(scores):
    return max(scores, key=lambda rank: np.mean(scores[rank]))


@choice_exercise.trap(
    "Vous regardez si les deux intervalles se recouvrent : c’est l’écart, graine par "
    "graine, qu’il faut tester."
)
def _(scores):
    return _smallest(scores, lambda x, y: x.mean() - _half(x) <= y.mean() + _half(y))


@choice_exercise.trap("1,96 est trop court pour quelques graines : quantile de Student.")
def _(scores):
    return _smallest(scores, lambda x, y: (x - y).mean() <= _half(x - y, 1.96))


@choice_exercise.trap(
    "Votre boucle suit l’ordre du dictionnaire : parcourez les rangs en croissant."
)
def _(scores):
    best = max(scores, key=lambda rank: np.mean(scores[rank]))
    return next(rank for rank in scores if rank == best
                or (np.asarray(scores[best]) - scores[rank]).mean()
                <= _half(np.asarray(scores[best]) - scores[rank]))  # fmt: skip


@choice_exercise.variant
def _(scores):
    from scipy import stats

    table = np.array([scores[rank] for rank in sorted(scores)], dtype=float)  # (R, S)
    gaps = table[table.mean(1).argmax()] - table
    half = stats.t.ppf(0.975, table.shape[1] - 1) * stats.sem(gaps, axis=1)
    return sorted(scores)[int(np.argmax(gaps.mean(1) <= half + 1e-15))]
