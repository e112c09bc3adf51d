"""Exercices de la section « L’attention par tuiles »."""

import math

import numpy as np

from llmbook.exercise import Exercise

merge_exercise = Exercise(
    "ex-flash-fusion", title="Fusionner deux états", level="facile", minutes=6,
    hints=("Le nouveau maximum est le plus grand des deux.",
           "Chaque somme, chaque accumulateur se multiplie par exp(ancien m - nouveau m).",
           "exp(-inf) vaut 0 : l’état vide ne demande rien de plus."))


@merge_exercise.reference
def merge_states(first, second):
    """first, second : (m, l, a) ; renvoie (m, l, a)."""
    (m1, l1, a1), (m2, l2, a2) = first, second
    m = max(m1, m2)
    return m, math.exp(m1 - m) * l1 + math.exp(m2 - m) * l2, (
        math.exp(m1 - m) * a1 + math.exp(m2 - m) * a2)


def _state(rng, n, d=3, shift=0.0):
    scores, values = shift + 3 * rng.normal(size=n), rng.normal(size=(n, d))
    p = np.exp(scores - scores.max())
    return float(scores.max()), float(p.sum()), p @ values


@merge_exercise.cases
def _(rng):
    yield _state(rng, 5), _state(rng, 8)
    yield _state(rng, 4, shift=20.0), _state(rng, 4)
    yield _state(rng, 4), (-math.inf, 0.0, np.zeros(3))
    yield (-math.inf, 0.0, np.zeros(3)), _state(rng, 6, shift=900.0)


@merge_exercise.trap("Les deux sommes sont comptées avec des maximums différents : corrigez-les "
                     "avant de les ajouter.")
def _(first, second):
    return max(first[0], second[0]), first[1] + second[1], first[2] + second[2]


@merge_exercise.trap("L’accumulateur se corrige par le même facteur que la somme.")
def _(first, second):
    m, total, _ = merge_states(first, second)
    return m, total, first[2] + second[2]


@merge_exercise.trap("Votre correction est à l’envers : exp(ancien m - nouveau m), au plus 1.")
def _(first, second):
    (m1, l1, a1), (m2, l2, a2) = first, second
    m = max(m1, m2)
    with np.errstate(all="ignore"):
        c1, c2 = np.exp(np.float64(m - m1)), np.exp(np.float64(m - m2))
        return m, c1 * l1 + c2 * l2, c1 * a1 + c2 * a2


@merge_exercise.trap("Rendez l’accumulateur, sans le diviser par la somme : l’état doit pouvoir "
                     "fusionner encore.")
def _(first, second):
    m, total, a = merge_states(first, second)
    return m, total, a / total


@merge_exercise.variant
def _(first, second):
    low, high = sorted((first, second), key=lambda state: state[0])
    c = np.exp(low[0] - high[0])
    return high[0], high[1] + c * low[1], high[2] + c * low[2]


stream_exercise = Exercise(
    "ex-flash-somme", title="Une somme d’exponentielles en une passe", level="facile", minutes=8,
    hints=("Gardez le maximum vu et la somme comptée avec lui.",
           "Quand un plus grand nombre arrive, multipliez la somme par exp(ancien - nouveau).",
           "À la fin : m + ln ℓ."))


@stream_exercise.reference
def streaming_lse(stream):
    """stream : itérateur de nombres, non vide ; renvoie ln Σ exp(s)."""
    best, total = -math.inf, 0.0
    for s in stream:
        new = max(best, s)
        total = total * math.exp(best - new) + math.exp(s - new)
        best = new
    return best + math.log(total)


class Once:
    """Un itérateur qu’on ne lit qu’une fois, et qui se copie pour chaque essai."""

    def __init__(self, numbers):
        self.numbers = [float(x) for x in numbers]

    def __iter__(self):
        return self

    def __next__(self):
        if not self.numbers:
            raise StopIteration
        return self.numbers.pop(0)

    def __repr__(self):
        return f"itérateur de {len(self.numbers)} nombres"


@stream_exercise.cases
def _(rng):
    yield Once(rng.normal(size=20)),
    yield Once([1000.0, 1001.0, 999.0]),
    yield Once(np.sort(300 * rng.normal(size=50))),
    yield Once([-5000.0]),


@stream_exercise.trap("L’exponentielle d’un grand nombre déborde : soustrayez le maximum vu.")
def _(stream):
    with np.errstate(all="ignore"):
        return float(np.log(np.exp(np.array(list(stream))).sum()))


@stream_exercise.trap("Le flux ne se lit qu’une fois : au second parcours, il est vide.")
def _(stream):
    best = max(stream)
    total = sum(math.exp(s - best) for s in stream)
    return best + (math.log(total) if total else -math.inf)


@stream_exercise.trap("Quand le maximum change, la somme déjà faite doit être corrigée.")
def _(stream):
    best, total = -math.inf, 0.0
    for s in stream:
        best = max(best, s)
        total += math.exp(s - best)
    return best + math.log(total)


@stream_exercise.trap("Il manque le maximum que vous avez soustrait.")
def _(stream):
    numbers = list(stream)
    best = max(numbers)
    return math.log(sum(math.exp(s - best) for s in numbers))


@stream_exercise.variant
def _(stream):
    result = -math.inf
    for s in stream:
        result = float(np.logaddexp(result, s))
    return result


window_exercise = Exercise(
    "ex-flash-fenetre", title="Les tuiles d’une fenêtre", level="moyen", minutes=15,
    hints=("Le bloc de requêtes i voit les clés de i B - window + 1 à (i + 1) B - 1.",
           "Divisez ces deux bornes par B, avec division entière, sans descendre sous 0."))


def _window(T, B, window, first=None):
    first = first or (lambda i: max(0, (i * B - window + 1) // B))
    return sum(i - first(i) + 1 for i in range(T // B))


@window_exercise.reference
def window_tiles(T, B, window):
    """Tuiles qui contiennent au moins un couple visible ; renvoie un entier."""
    return _window(T, B, window)


@window_exercise.cases
def _(rng):
    yield 64, 16, 1
    yield 128, 16, 16
    yield 128, 16, 17
    yield 256, 32, 100
    yield 256, 32, 1000


@window_exercise.trap("La fenêtre compte : les blocs trop anciens sont sautés.")
def _(T, B, window):
    n = T // B
    return n * (n + 1) // 2


@window_exercise.trap("La première requête d’un bloc voit plus loin en arrière que la dernière : "
                      "c’est elle qui fixe le premier bloc.")
def _(T, B, window):
    return _window(T, B, window, lambda i: max(0, ((i + 1) * B - window) // B))


@window_exercise.trap("La fenêtre comprend la requête : la plus ancienne clé est t - window + 1.")
def _(T, B, window):
    return _window(T, B, window, lambda i: max(0, (i * B - window) // B))


@window_exercise.trap("Une fenêtre ne commence pas toujours au bord d’un bloc : window / B ne "
                      "suffit pas.")
def _(T, B, window):
    return (T // B) * max(1, window // B)


@window_exercise.variant
def _(T, B, window):
    t, s = np.mgrid[:T, :T]
    seen = (s <= t) & (s > t - window)
    n = T // B
    return int(seen.reshape(n, B, n, B).any(axis=(1, 3)).sum())


weights_exercise = Exercise(
    "ex-flash-recalcul", title="Retrouver les poids", level="facile", minutes=6,
    hints=("p = exp(score - lse), une lse par ligne.",
           "-inf - (-inf) vaut nan : traitez les lignes vides à part."))


@weights_exercise.reference
def tile_weights(scores, lse):
    """scores : (T, S), -inf si caché ; lse : (T,) ; renvoie (T, S)."""
    safe = np.where(np.isneginf(lse), 0.0, lse)
    return np.exp(scores - safe[:, None])


@weights_exercise.cases
def _(rng):
    full = rng.normal(size=(4, 10)) * 3
    lse = np.log(np.exp(full).sum(axis=1))
    yield full[:, :6], lse
    hidden = full.copy()
    hidden[1, 2:] = -np.inf
    yield hidden[:, 2:5], np.log(np.exp(hidden).sum(axis=1))
    empty = full.copy()
    empty[2] = -np.inf
    with np.errstate(divide="ignore"):
        yield empty[:, 3:9], np.log(np.exp(empty).sum(axis=1))


@weights_exercise.trap("Vous normalisez la tuile : d’autres tuiles ont leur part de la somme.")
def _(scores, lse):
    with np.errstate(all="ignore"):
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.nan_to_num(p / p.sum(axis=1, keepdims=True))


@weights_exercise.trap("Une ligne sans clé donne -inf - (-inf) = nan : ses poids sont nuls.")
def _(scores, lse):
    with np.errstate(all="ignore"):
        return np.exp(scores - lse[:, None])


@weights_exercise.trap("lse est un logarithme : retranchez-le avant l’exponentielle, au lieu de "
                       "diviser par lui.")
def _(scores, lse):
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.exp(scores) / lse[:, None])


@weights_exercise.trap("lse est par requête, donc par ligne.")
def _(scores, lse):
    return np.exp(scores - np.where(np.isneginf(lse), 0.0, lse).mean())


@weights_exercise.variant
def _(scores, lse):
    with np.errstate(all="ignore"):
        return np.where(np.isneginf(scores), 0.0, np.exp(scores - lse[:, None]))


combine_exercise = Exercise(
    "ex-flash-recoller", title="Recoller des sorties déjà normalisées", level="moyen", minutes=12,
    hints=("La sortie commune est une moyenne de y1 et y2, pesée par exp(lse).",
           "Le poids du premier est exp(lse1) / (exp(lse1) + exp(lse2)) : une sigmoïde.",))


@combine_exercise.reference
def combine(y1, lse1, y2, lse2):
    """y1, y2 : (T, d), normalisées ; lse1, lse2 : (T,) ; renvoie (T, d)."""
    m = np.maximum(lse1, lse2)
    w1, w2 = np.exp(lse1 - m)[:, None], np.exp(lse2 - m)[:, None]
    return (w1 * y1 + w2 * y2) / (w1 + w2)


def _halves(rng, scale):
    scores, values = scale * rng.normal(size=(4, 12)), rng.normal(size=(12, 3))
    found = []
    for part in (slice(0, 5), slice(5, 12)):
        s = scores[:, part]
        p = np.exp(s - s.max(axis=1, keepdims=True))
        lse = s.max(axis=1) + np.log(p.sum(axis=1))
        found += [p @ values[part] / p.sum(axis=1, keepdims=True), lse]
    return tuple(found)


@combine_exercise.cases
def _(rng):
    yield _halves(rng, 1.0)
    yield _halves(rng, 4.0)
    yield _halves(rng, 800.0)


@combine_exercise.trap("Ce n’est pas une moyenne simple : une carte peut porter presque tout le "
                       "poids.")
def _(y1, lse1, y2, lse2):
    return (y1 + y2) / 2


@combine_exercise.trap("Les poids sont exp(lse), pas lse.")
def _(y1, lse1, y2, lse2):
    return (lse1[:, None] * y1 + lse2[:, None] * y2) / (lse1 + lse2)[:, None]


@combine_exercise.trap("exp(lse) déborde : retranchez le plus grand des deux.")
def _(y1, lse1, y2, lse2):
    with np.errstate(all="ignore"):
        w1, w2 = np.exp(lse1)[:, None], np.exp(lse2)[:, None]
        return (w1 * y1 + w2 * y2) / (w1 + w2)


@combine_exercise.trap("Divisez par la somme des deux poids.")
def _(y1, lse1, y2, lse2):
    m = np.maximum(lse1, lse2)
    return np.exp(lse1 - m)[:, None] * y1 + np.exp(lse2 - m)[:, None] * y2


@combine_exercise.variant
def _(y1, lse1, y2, lse2):
    share = 0.5 * (1 + np.tanh((lse1 - lse2) / 2))[:, None]
    return share * y1 + (1 - share) * y2


flow_exercise = Exercise(
    "ex-flash-flux", title="L’attention, clé après clé", level="difficile", minutes=30,
    hints=("Une boucle sur les clés ; à la clé j, seules les requêtes j et suivantes la voient.",
           "Gardez best (T,), total (T,) et acc (T, d) ; mettez à jour les lignes j à T - 1.",
           "Corrigez total et acc par exp(best - new) avant d’ajouter la nouvelle clé."))


def _flow(Q, K, V, fix=True, scale=None, start=0, stable=True):
    T, d = Q.shape
    scale = 1 / math.sqrt(d) if scale is None else scale
    best, total, acc = np.full(T, -np.inf), np.zeros(T), np.zeros_like(V, dtype=float)
    with np.errstate(all="ignore"):
        for j in range(T):
            rows = slice(max(0, j + start), T)
            s = Q[rows] @ K[j] * scale
            new = np.maximum(best[rows], s) if stable else np.zeros(len(s))
            shrink = np.exp(best[rows] - new) if stable else np.ones(len(s))
            p = np.exp(s - new)
            total[rows] = shrink * total[rows] + p
            acc[rows] = (shrink[:, None] if fix else 1) * acc[rows] + p[:, None] * V[j]
            best[rows] = new
        return acc / total[:, None]


@flow_exercise.reference
def streaming_attention(Q, K, V):
    """Q, K, V : (T, d) ; attention causale ; renvoie (T, d)."""
    return _flow(Q, K, V)


@flow_exercise.cases
def _(rng):
    yield tuple(rng.normal(size=(7, 4)) for _ in range(3))
    yield tuple(3 * rng.normal(size=(12, 5)) for _ in range(3))
    yield 60 * rng.normal(size=(6, 4)), 60 * rng.normal(size=(6, 4)), rng.normal(size=(6, 4))


@flow_exercise.trap("L’accumulateur aussi se corrige quand le maximum change.")
def _(Q, K, V):
    return _flow(Q, K, V, fix=False)


@flow_exercise.trap("Le facteur 1/√d manque.")
def _(Q, K, V):
    return _flow(Q, K, V, scale=1.0)


@flow_exercise.trap("La requête t voit la clé t : un token se voit lui-même.")
def _(Q, K, V):
    return np.nan_to_num(_flow(Q, K, V, start=1))


@flow_exercise.trap("Vous ne masquez pas le futur.")
def _(Q, K, V):
    return _flow(Q, K, V, start=-len(Q))


@flow_exercise.trap("Sans soustraire le maximum, l’exponentielle déborde.")
def _(Q, K, V):
    return _flow(Q, K, V, stable=False)


@flow_exercise.variant
def _(Q, K, V):
    out = []
    for t in range(len(Q)):
        scores = K[: t + 1] @ Q[t] / math.sqrt(len(Q[t]))
        p = np.exp(scores - scores.max())
        out.append(p @ V[: t + 1] / p.sum())
    return np.array(out)
