"""Exercices de la section « L’attention, mot à mot »."""

import math

import numpy as np

from llmbook.exercise import Exercise

soft_exercise = Exercise(
    "ex-attention-doux", title="Le dictionnaire adouci", level="facile", minutes=5,
    hints=("Les scores sont beta * K @ q, de forme (n,).",
           "Softmax : exponentielle des scores moins leur maximum, divisée par sa somme.",
           "Le résultat est p @ V."))


@soft_exercise.reference
def soft_dictionary(q, K, V, beta):
    """q : (d,) ; K : (n, d) ; V : (n, m) ; renvoie (m,)."""
    scores = beta * (K @ q)
    p = np.exp(scores - scores.max())
    return p @ V / p.sum()


@soft_exercise.cases
def _(rng):
    yield rng.normal(size=4), rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), 1.0
    yield rng.normal(size=8), rng.normal(size=(5, 8)), rng.normal(size=(5, 2)), 0.3
    yield 30 * rng.normal(size=8), rng.normal(size=(5, 8)), rng.normal(size=(5, 2)), 50.0


@soft_exercise.trap("L’exponentielle déborde sur de grands scores et donne nan : retirez leur "
                    "maximum avant.")
def _(q, K, V, beta):
    with np.errstate(all="ignore"):
        p = np.exp(beta * (K @ q))
        return p @ V / p.sum()


@soft_exercise.trap("Vous oubliez beta.")
def _(q, K, V, beta):
    return soft_dictionary(q, K, V, 1.0)


@soft_exercise.trap("Vos poids ne somment pas à 1 : divisez par leur somme.")
def _(q, K, V, beta):
    scores = beta * (K @ q)
    return np.exp(scores - scores.max()) @ V


@soft_exercise.trap("Vous rendez la valeur de la meilleure clé : c’est le dictionnaire dur.")
def _(q, K, V, beta):
    return V[(K @ q).argmax()]


@soft_exercise.variant
def _(q, K, V, beta):
    scores = beta * np.einsum("nd,d->n", K, q)
    log_p = scores - np.logaddexp.reduce(scores)
    return np.einsum("n,nm->m", np.exp(log_p), V)


entropy_exercise = Exercise(
    "ex-attention-entropie", title="L’entropie d’une carte", level="moyen", minutes=10,
    hints=("La ligne t a t + 1 cases visibles : comparez-la à une loi uniforme sur t + 1 cases.",
           "0 ln 0 = 0 : remplacez les zéros par 1 dans le logarithme seulement.",
           "La première ligne n’a qu’une case, ln 1 = 0 : elle est exclue."))


@entropy_exercise.reference
def relative_entropy(P):
    """P : (T, T), causale ; renvoie (T - 1,), entre 0 et 1."""
    entropy = -(P * np.log(np.where(P > 0, P, 1))).sum(axis=1)
    return entropy[1:] / np.log(np.arange(2, len(P) + 1))


def _causal(rng, T, spread):
    scores = np.where(np.tril(np.ones((T, T))) > 0, spread * rng.normal(size=(T, T)), -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@entropy_exercise.cases
def _(rng):
    yield _causal(rng, 6, 1.0)
    yield _causal(rng, 9, 3.0)
    yield np.eye(4)
    yield _causal(rng, 5, 0.0)


@entropy_exercise.trap("Vous divisez par ln T : une ligne du début ne voit pas T clés.")
def _(P):
    entropy = -(P * np.log(np.where(P > 0, P, 1))).sum(axis=1)
    return entropy[1:] / np.log(len(P))


@entropy_exercise.trap("Vous sommez sur les colonnes : la loi est une ligne, axis=1.")
def _(P):
    entropy = -(P * np.log(np.where(P > 0, P, 1))).sum(axis=0)
    return entropy[1:] / np.log(np.arange(2, len(P) + 1))


@entropy_exercise.trap("0 ln 0 donne nan : une case vide ne doit rien ajouter.")
def _(P):
    with np.errstate(all="ignore"):
        return -(P * np.log(P)).sum(axis=1)[1:] / np.log(np.arange(2, len(P) + 1))


@entropy_exercise.trap("Votre signe est faux : l’entropie est positive.")
def _(P):
    return -relative_entropy(P)


@entropy_exercise.trap("Vous divisez par le nombre de cases visibles, et non par son logarithme.")
def _(P):
    entropy = -(P * np.log(np.where(P > 0, P, 1))).sum(axis=1)
    return entropy[1:] / np.arange(2, len(P) + 1)


@entropy_exercise.variant
def _(P):
    rows = []
    for t in range(1, len(P)):
        seen = P[t, : t + 1]
        seen = seen[seen > 0]
        rows.append(abs(-(seen * np.log(seen)).sum()) / math.log(t + 1))
    return np.array(rows)


softmax_exercise = Exercise(
    "ex-attention-softmax", title="Remonter le softmax", level="moyen", minutes=12,
    hints=("Pour une ligne : ds_j = Σ_i dp_i p_i (δ_ij - p_j).",
           "La somme donne p_j (dp_j - Σ_i p_i dp_i).",
           "Gardez la dimension de la somme : keepdims=True."))


@softmax_exercise.reference
def softmax_backward(P, dP):
    """P, dP : (T, S) ; renvoie le gradient par rapport aux scores, (T, S)."""
    return P * (dP - (P * dP).sum(axis=1, keepdims=True))


def _rows(rng, T, S):
    weights = np.exp(rng.normal(size=(T, S)))
    return weights / weights.sum(axis=1, keepdims=True)


@softmax_exercise.cases
def _(rng):
    for T, S in ((3, 5), (4, 4), (1, 7)):
        yield _rows(rng, T, S), rng.normal(size=(T, S))


@softmax_exercise.trap("Vous traitez le softmax comme une exponentielle seule : il manque le terme "
                       "qui vient du dénominateur.")
def _(P, dP):
    return P * dP


@softmax_exercise.trap("P (1 - P) est la diagonale de la jacobienne : les autres scores comptent "
                       "aussi.")
def _(P, dP):
    return P * (1 - P) * dP


@softmax_exercise.trap("Vous retirez la moyenne simple de dP : la moyenne est pesée par P.")
def _(P, dP):
    return P * (dP - dP.mean(axis=1, keepdims=True))


@softmax_exercise.trap("La somme se fait sur les clés d’une même requête, axis=1.")
def _(P, dP):
    return P * (dP - (P * dP).sum(axis=0, keepdims=True))


@softmax_exercise.variant
def _(P, dP):
    return np.stack([(np.diag(p) - np.outer(p, p)) @ d for p, d in zip(P, dP, strict=True)])


flops_exercise = Exercise(
    "ex-attention-operations", title="Combien d’opérations ?", level="facile", minutes=6,
    hints=("La requête t voit t + 1 clés : combien de couples en tout ?",
           "Chaque couple coûte d multiplications-additions pour le score, d pour le mélange."))


@flops_exercise.reference
def causal_flops(T, d):
    """Opérations de Q Kᵀ et de P V, couples visibles seulement ; renvoie un entier."""
    return 4 * d * (T * (T + 1) // 2)


@flops_exercise.cases
def _(rng):
    yield 1, 64
    yield 5, 2
    yield 1024, 64
    yield 333, 128


@flops_exercise.trap("Vous comptez les T² couples : la moitié environ sont masqués.")
def _(T, d):
    return 4 * d * T * T


@flops_exercise.trap("La diagonale compte : un token se voit lui-même. Il y a T (T + 1) / 2 couples.")
def _(T, d):
    return 4 * d * (T * (T - 1) // 2)


@flops_exercise.trap("Une multiplication et une addition font deux opérations.")
def _(T, d):
    return 2 * d * (T * (T + 1) // 2)


@flops_exercise.trap("Il y a deux produits : les scores, puis le mélange des valeurs, tous deux "
                     "de dimension d.")
def _(T, d):
    return (2 * d + 2) * (T * (T + 1) // 2)


@flops_exercise.variant
def _(T, d):
    return sum(2 * (2 * d) * (t + 1) for t in range(T))


sharpness_exercise = Exercise(
    "ex-attention-nettete", title="Régler la netteté", level="difficile", minutes=25,
    hints=("Encadrez d’abord β : doublez une borne tant que l’entropie dépasse la cible.",
           "Entropie = ln Σ exp(β s) - β Σ p s : stable si l’on retire le maximum.",
           "Soixante étapes de dichotomie suffisent largement."))


def _entropy_at(beta, scores):
    s = beta * (scores - scores.max())
    p = np.exp(s)
    p = p / p.sum()
    return math.log(np.exp(s).sum()) - float(p @ s)


def _bisect(scores, target):
    low, high = 0.0, 1.0
    while _entropy_at(high, scores) > target:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _entropy_at(middle, scores) > target else (low, middle)
    return (low + high) / 2


@sharpness_exercise.reference
def sharpness(scores, target):
    """scores : (n,), distincts ; target : entropie voulue, en nats ; renvoie β."""
    return _bisect(scores, target)


@sharpness_exercise.cases
def _(rng):
    for n, share in ((8, 0.5), (50, 0.9), (20, 0.1), (5, 0.7)):
        yield rng.normal(size=n) * 3 ** rng.uniform(-1, 1), share * math.log(n)


@sharpness_exercise.trap("Vous rendez la température, 1/β.")
def _(scores, target):
    return 1 / _bisect(scores, target)


@sharpness_exercise.trap("Votre cible est lue en bits : l’entropie demandée est en nats.")
def _(scores, target):
    return _bisect(scores, target * math.log(2))


@sharpness_exercise.trap("Votre dichotomie reste dans [0, 1] : β peut dépasser 1, doublez d’abord "
                         "la borne haute.")
def _(scores, target):
    return min(_bisect(scores, target), 1.0)


@sharpness_exercise.trap("ln n - σ²/2 n’est qu’une approximation pour des scores gaussiens et "
                         "nombreux : cherchez le β exact.")
def _(scores, target):
    return math.sqrt(2 * (math.log(len(scores)) - target)) / scores.std()


@sharpness_exercise.variant
def _(scores, target):
    from scipy.optimize import brentq

    high = 1.0
    while _entropy_at(high, scores) > target:
        high *= 2
    return brentq(lambda beta: _entropy_at(beta, scores) - target, 1e-12, high, xtol=1e-14)


leak_exercise = Exercise(
    "ex-attention-fuite", title="Une fuite, oui ou non ?", level="moyen", minutes=12,
    hints=("Recalculez la carte que S devrait donner, masque avant softmax.",
           "Comparez-la à P partout, zéros compris."))


@leak_exercise.reference
def is_causal_map(P, S):
    """P : (T, T), carte ; S : (T, T), scores avant masque ; renvoie un booléen."""
    scores = np.where(np.tril(np.ones_like(S)) > 0, S, -np.inf)
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    return bool(np.abs(P - expected).max() < 1e-6)


def _softmax(S, axis=1):
    weights = np.exp(S - S.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


@leak_exercise.cases
def _(rng):
    S = rng.normal(size=(6, 6))
    hidden = np.where(np.tril(np.ones_like(S)) > 0, S, -1e30)
    good = _softmax(hidden)
    late = np.tril(_softmax(S))
    shifted = np.where(np.tril(np.ones_like(S), 1) > 0, S, -1e30)
    columns = np.tril(_softmax(hidden.T).T)
    yield good, S
    yield late, S
    yield _softmax(shifted), S
    yield _softmax(S), S
    yield columns / columns.sum(axis=1, keepdims=True), S
    yield _softmax(2 * hidden), S


@leak_exercise.trap("Les poids futurs peuvent être nuls et le futur avoir pesé quand même, dans le "
                    "dénominateur.")
def _(P, S):
    return bool(np.abs(np.triu(P, 1)).max() < 1e-6)


@leak_exercise.trap("Des lignes qui somment à 1 ne prouvent rien : une attention sans masque en a "
                    "aussi.")
def _(P, S):
    return bool(np.abs(P.sum(axis=1) - 1).max() < 1e-6)


@leak_exercise.trap("Une carte triangulaire dont les lignes somment à 1 peut venir d’autres "
                    "scores : comparez-la à celle de S.")
def _(P, S):
    return bool(np.abs(np.triu(P, 1)).max() < 1e-6 and np.abs(P.sum(axis=1) - 1).max() < 1e-6)


@leak_exercise.trap("Votre masque cache aussi la diagonale : un token se voit lui-même.")
def _(P, S):
    scores = np.where(np.tril(np.ones_like(S), -1) > 0, S, -1e30)
    return bool(np.abs(P - _softmax(scores)).max() < 1e-6)


@leak_exercise.variant
def _(P, S):
    for t in range(len(S)):
        weights = np.exp(S[t, : t + 1] - S[t, : t + 1].max())
        row = np.append(weights / weights.sum(), np.zeros(len(S) - t - 1))
        if not np.allclose(P[t], row, rtol=0, atol=1e-6):
            return False
    return True
