"""Exercices de la section « Choisir le token suivant »."""

import math

import numpy as np

from llmbook.exercise import Exercise


def _softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def _law(rng, V=12):
    """Une loi (V,) contrastée, sans ex æquo."""
    return rng.dirichlet(np.full(V, 0.6)) * 0.99 + 0.01 / V


# La température

temperature = Exercise(
    "ex-echantillonnage-temperature", title="Une loi refroidie", level="facile", minutes=6,
    hints=("Divisez les logits par T, puis appliquez le softmax.",
           "exp(700) déborde : retirez d’abord le plus grand des logits divisés."))


@temperature.reference
def law_at(z, T):
    """z : (V,) logits ; T > 0 ; renvoie la loi (V,)."""
    scaled = (z - z.max()) / T
    weights = np.exp(scaled)
    return weights / weights.sum()


@temperature.cases
def _(rng):
    for T in (0.3, 1.0, 2.5):
        yield rng.normal(size=8) * 3, T
    yield np.array([4000.0, 4000.5, 3990.0]), 1.0
    yield np.array([3.0, 2.9, -1.0]), 0.01


@temperature.trap("Vous multipliez les logits par T : une température basse doit resserrer la loi.")
def _(z, T):
    return _softmax(z * T)


@temperature.trap("Vous divisez les probabilités, puis vous renormalisez : cela ne change rien.")
def _(z, T):
    p = _softmax(z) / T
    return p / p.sum()


@temperature.trap("Vos exponentielles débordent : retirez d’abord le plus grand logit.")
def _(z, T):
    with np.errstate(all="ignore"):
        e = np.exp(z / T)
        return e / e.sum()


@temperature.trap("Le softmax est appliqué deux fois : le second reçoit des probabilités.")
def _(z, T):
    return _softmax(_softmax(z) / T)


@temperature.variant
def _(z, T):
    p = _softmax(z)
    with np.errstate(divide="ignore"):
        return _softmax(np.log(p) / T)


# Les accidents

accident = Exercise(
    "ex-echantillonnage-accident", title="Combien de tokens sans accident ?", level="facile",
    minutes=8,
    hints=("n tokens sans accident : (1 - q) à la puissance n.",
           "Prenez le logarithme ; attention, ln(1 - q) est négatif.",
           "On demande le plus grand entier : arrondissez vers le bas."))


@accident.reference
def safe_length(q, confidence):
    """q, confidence : dans ]0, 1[ ; renvoie un entier."""
    return math.floor(math.log(confidence) / math.log1p(-q) + 1e-9)


@accident.cases
def _(rng):
    yield 0.05, 0.5
    yield 0.001, 0.9
    yield 0.5, 0.2
    yield 0.3, 0.95
    yield 0.02, 0.99


@accident.trap("Vous arrondissez vers le haut : le dernier token ferait passer sous la confiance.")
def _(q, confidence):
    return math.ceil(math.log(confidence) / math.log1p(-q))


@accident.trap("Vous additionnez les risques : (1 - confidence) / q n’est qu’une approximation.")
def _(q, confidence):
    return math.floor((1 - confidence) / q)


@accident.trap("Vous cherchez quand un accident devient certain à `confidence` : il faut la probabilité "
               "de n’en avoir aucun.")
def _(q, confidence):
    return math.floor(math.log(1 - confidence) / math.log1p(-q))


@accident.variant
def _(q, confidence):
    n, alive = 0, 1 - q
    while alive >= confidence:
        n, alive = n + 1, alive * (1 - q)
    return n


# Min-p

minp = Exercise(
    "ex-echantillonnage-minp", title="Min-p sans softmax", level="facile", minutes=8,
    hints=("p_i / p_max = exp((z_i - z_max) / T).",
           "Prenez le logarithme des deux membres de p_i >= a p_max."))


@minp.reference
def min_p_mask(z, a, T):
    """z : (V,) ; a dans ]0, 1] ; T > 0 ; renvoie (V,) booléen."""
    return z >= z.max() + T * np.log(a)


@minp.cases
def _(rng):
    z = rng.normal(size=15) * 2
    for a, T in ((0.1, 1.0), (0.02, 0.6), (0.3, 1.8), (1.0, 1.0)):
        yield z, a, T
    yield z - 40, 0.05, 1.3


@minp.trap("Vous comparez la probabilité à `a` tout court : c’est epsilon. Min-p la compare à `a` fois "
           "la plus grande.")
def _(z, a, T):
    return _softmax(z / T) >= a


@minp.trap("La température étire la distance permise : multipliez ln(1/a) par T.")
def _(z, a, T):
    return z >= z.max() + np.log(a)


@minp.trap("Vous comparez les logits eux-mêmes à `a` fois le plus grand : un logit n’est pas une "
           "probabilité, il peut être négatif.")
def _(z, a, T):
    return z >= a * z.max()


@minp.trap("Vous divisez la distance par T : chauffer doit laisser passer davantage.")
def _(z, a, T):
    return z >= z.max() + np.log(a) / T


@minp.variant
def _(z, a, T):
    p = _softmax(z / T)
    return p >= a * p.max() * (1 - 1e-12)


# Le noyau

nucleus = Exercise(
    "ex-echantillonnage-noyau", title="Le noyau", level="moyen", minutes=12,
    hints=("Triez par probabilité décroissante, puis cumulez.",
           "Un token est gardé si la masse de ceux qui le précèdent est inférieure à P.",
           "Revenez à l’ordre d’origine : masque[ordre] = …"))


@nucleus.reference
def nucleus_mask(p, P):
    """p : (V,) loi ; P dans ]0, 1] ; renvoie (V,) booléen."""
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    mask = np.zeros(len(p), dtype=bool)
    mask[order] = before < P
    return mask


@nucleus.cases
def _(rng):
    yield np.array([0.05, 0.6, 0.25, 0.1]), 0.8
    yield np.array([0.05, 0.92, 0.02, 0.01]), 0.3
    for P in (0.5, 0.9, 0.97):
        yield _law(rng), P


@nucleus.trap("Vous cumulez sans trier : le noyau dépendrait du numéro des tokens.")
def _(p, P):
    return np.cumsum(p) - p < P


@nucleus.trap("Il manque le token qui franchit P : le noyau doit atteindre la masse, pas s’arrêter "
              "avant.")
def _(p, P):
    order = np.argsort(-p)
    mask = np.zeros(len(p), dtype=bool)
    mask[order] = np.cumsum(p[order]) <= P
    return mask


@nucleus.trap("Votre masque est resté dans l’ordre du tri : remettez-le dans celui des tokens.")
def _(p, P):
    ordered = -np.sort(-p)
    return np.cumsum(ordered) - ordered < P


@nucleus.trap("Vous triez par probabilité croissante : vous gardez la queue.")
def _(p, P):
    order = np.argsort(p)
    mask = np.zeros(len(p), dtype=bool)
    mask[order] = np.cumsum(p[order]) - p[order] < P
    return mask


@nucleus.variant
def _(p, P):
    mask, mass = np.zeros(len(p), dtype=bool), 0.0
    while mass < P and not mask.all():
        best = int(np.argmax(np.where(mask, -1, p)))
        mask[best] = True
        mass += p[best]
    return mask


# Gumbel

gumbel = Exercise(
    "ex-echantillonnage-gumbel", title="Tirer par un maximum", level="moyen", minutes=12,
    hints=("Le bruit de Gumbel est -ln(-ln u).",
           "Ajoutez-le à z / T, puis prenez le maximum de chaque ligne."))


@gumbel.reference
def gumbel_draws(z, T, u):
    """z : (V,) ; T > 0 ; u : (n, V) uniformes ; renvoie (n,) entiers."""
    return (z / T - np.log(-np.log(u))).argmax(axis=1)


@gumbel.cases
def _(rng):
    yield np.array([2.0, 1.0, 0.0, -1.0]), 1.0, rng.uniform(size=(400, 4))
    yield rng.normal(size=6) * 2, 0.5, rng.uniform(size=(400, 6))
    yield rng.normal(size=6), 3.0, rng.uniform(size=(400, 6))


@gumbel.trap("Le signe du bruit est faux : g = -ln(-ln u), à ajouter.")
def _(z, T, u):
    return (z / T + np.log(-np.log(u))).argmax(axis=1)


@gumbel.trap("Vous divisez aussi le bruit par T : la température n’agirait plus du tout sur la loi.")
def _(z, T, u):
    return ((z - np.log(-np.log(u))) / T).argmax(axis=1)


@gumbel.trap("Vous ajoutez u lui-même : le maximum d’un bruit uniforme ne suit pas le softmax.")
def _(z, T, u):
    return (z / T + u).argmax(axis=1)


@gumbel.trap("Un seul maximum pour tout le tableau : on demande un tirage par ligne.")
def _(z, T, u):
    flat = (z / T - np.log(-np.log(u))).argmax()
    return np.full(len(u), flat % u.shape[1])


@gumbel.variant
def _(z, T, u):
    # exp(-(z/T + g)) = -ln(u) / exp(z/T) : une course d’horloges exponentielles, la première gagne
    return (-np.log(u) / np.exp((z - z.max()) / T)).argmin(axis=1)


# Typique

typique = Exercise(
    "ex-echantillonnage-typique", title="Le masque typique", level="moyen", minutes=15,
    hints=("Surprise : -ln p. Entropie : la moyenne des surprises selon p.",
           "Triez par |surprise - entropie| croissant, et cumulez p dans cet ordre.",
           "Gardez ceux dont la masse qui précède est inférieure à mass."))


@typique.reference
def typical_mask(p, mass):
    """p : (V,) loi strictement positive ; mass dans ]0, 1[ ; renvoie (V,) booléen."""
    surprise = -np.log(p)
    order = np.argsort(np.abs(surprise - p @ surprise))
    before = np.cumsum(p[order]) - p[order]
    mask = np.zeros(len(p), dtype=bool)
    mask[order] = before < mass
    return mask


@typique.cases
def _(rng):
    yield np.array([0.42, 0.17, 0.13, 0.11, 0.09, 0.08]), 0.3
    for mass in (0.2, 0.5, 0.9):
        yield _law(rng, 15), mass


def _typical(p, mass, gap):
    order = np.argsort(gap)
    mask = np.zeros(len(p), dtype=bool)
    mask[order] = np.cumsum(p[order]) - p[order] < mass
    return mask


@typique.trap("Vous gardez les moins surprenants : c’est le noyau. Rangez par écart à l’entropie, en "
              "valeur absolue.")
def _(p, mass):
    return _typical(p, mass, -np.log(p))


@typique.trap("Il manque le token qui franchit la masse : arrêtez-vous après lui, pas avant.")
def _(p, mass):
    surprise = -np.log(p)
    order = np.argsort(np.abs(surprise - p @ surprise))
    mask = np.zeros(len(p), dtype=bool)
    mask[order] = np.cumsum(p[order]) <= mass
    return mask


@typique.trap("L’entropie est la moyenne des surprises selon p, pas leur moyenne simple.")
def _(p, mass):
    surprise = -np.log(p)
    return _typical(p, mass, np.abs(surprise - surprise.mean()))


@typique.trap("Surprise et entropie dans deux unités : bits d’un côté, nats de l’autre.")
def _(p, mass):
    return _typical(p, mass, np.abs(-np.log(p) + p @ np.log2(p)))


@typique.variant
def _(p, mass):
    entropy = -(p * np.log(p)).sum()
    gaps = sorted((abs(-math.log(x) - entropy), i) for i, x in enumerate(p))
    mask, total = np.zeros(len(p), dtype=bool), 0.0
    for _, i in gaps:
        if total >= mass:
            break
        mask[i] = True
        total += p[i]
    return mask


# La chaîne

chaine = Exercise(
    "ex-echantillonnage-chaine", title="Une chaîne de filtres", level="difficile", minutes=30,
    hints=("Gardez des logits d’un bout à l’autre, et mettez à -inf ce qui est écarté.",
           "Recalculez la loi avant chaque filtre : exp(-inf) vaut 0, la renormalisation suit.",
           "Diviser -inf par T laisse -inf : la température peut venir n’importe où."))


@chaine.reference
def chained_law(z, chain):
    """z : (V,) ; chain : couples (nom, réglage) ; renvoie la loi (V,)."""
    z = z.astype(float)
    for name, value in chain:
        p = _softmax(z)
        if name == "temperature":
            z = z / value
        elif name == "top_k":
            z = np.where(z >= np.sort(z)[-min(value, len(z))], z, -np.inf)
        elif name == "top_p":
            z = np.where(nucleus_mask(p, value), z, -np.inf)
        elif name == "min_p":
            z = np.where(p >= value * p.max(), z, -np.inf)
    return _softmax(z)


@chaine.cases
def _(rng):
    z = rng.normal(size=20) * 2
    yield z, [("temperature", 2.0), ("top_p", 0.8)]
    yield z, [("top_p", 0.8), ("temperature", 2.0)]
    yield z, [("top_k", 5), ("top_p", 0.7), ("min_p", 0.2)]
    yield z, [("min_p", 0.15), ("temperature", 3.0), ("top_k", 4)]
    yield rng.normal(size=20) * 2, [("temperature", 0.5), ("min_p", 0.3), ("temperature", 2.0)]
    yield z, []


@chaine.trap("Vous appliquez la température d’abord, quel que soit son rang : suivez l’ordre de la "
             "liste.")
def _(z, chain):
    return chained_law(z, sorted(chain, key=lambda pair: pair[0] != "temperature"))


@chaine.trap("Vous appliquez la température en dernier, quel que soit son rang.")
def _(z, chain):
    return chained_law(z, sorted(chain, key=lambda pair: pair[0] == "temperature"))


@chaine.trap("Chaque filtre regarde la loi de départ : il doit voir celle que laissent les "
             "précédents.")
def _(z, chain):
    kept, T = np.ones(len(z), dtype=bool), 1.0
    for name, value in chain:
        if name == "temperature":
            T *= value
        else:
            kept &= chained_law(z, [(name, value)]) > 0
    return _softmax(np.where(kept, z / T, -np.inf))


@chaine.trap("La loi finale n’a pas pour somme 1 : renormalisez après avoir coupé.")
def _(z, chain):
    p = _softmax(z)
    return np.where(chained_law(z, chain) > 0, p, 0.0)


@chaine.variant
def _(z, chain):
    p = _softmax(z)
    for name, value in chain:
        if name == "temperature":
            p = p ** (1 / value)
        elif name == "top_k":
            p = np.where(np.argsort(np.argsort(-p)) < value, p, 0)
        elif name == "top_p":
            order = np.argsort(-p)
            before = np.cumsum(p[order]) - p[order]
            p = np.where(np.isin(np.arange(len(p)), order[before < value]), p, 0)
        else:
            p = np.where(p < value * p.max(), 0, p)
        p = p / p.sum()
    return p
