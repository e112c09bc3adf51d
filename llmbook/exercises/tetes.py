"""Exercices de la section « Plusieurs têtes, un masque »."""

import numpy as np

from llmbook.exercise import Exercise

split_exercise = Exercise(
    "ex-tetes-ranger", title="Ranger les têtes", level="facile", minutes=4,
    hints=("Découpez d’abord le dernier axe : (T, H, C/H).", "Puis échangez les deux premiers axes."))


@split_exercise.reference
def split_heads(X, H):
    """X : (T, C) ; renvoie (H, T, C / H)."""
    T, C = X.shape
    return X.reshape(T, H, C // H).transpose(1, 0, 2)


@split_exercise.cases
def _(rng):
    yield rng.normal(size=(5, 12)), 3
    yield rng.normal(size=(7, 8)), 2
    yield rng.normal(size=(4, 6)), 1


@split_exercise.trap("reshape directement en (H, T, D) découpe la suite, et non les "
                     "canaux : passez par (T, H, D).")
def _(X, H):
    T, C = X.shape
    return X.reshape(H, T, C // H)


@split_exercise.trap("Il manque l’échange d’axes : les têtes doivent venir d’abord.")
def _(X, H):
    T, C = X.shape
    return X.reshape(T, H, C // H)


@split_exercise.trap("La tête h reçoit des colonnes contiguës ; vous les entrelacez.")
def _(X, H):
    T, C = X.shape
    return X.reshape(T, C // H, H).transpose(2, 0, 1)


@split_exercise.variant
def _(X, H):
    return np.stack(np.split(X, H, axis=1))


merge_exercise = Exercise(
    "ex-tetes-recoller", title="Les remettre bout à bout", level="facile", minutes=4,
    hints=("Ramenez l’axe des têtes à côté des canaux avant de fondre les deux.",))


@merge_exercise.reference
def merge_heads(Y):
    """Y : (H, T, D) ; renvoie (T, H·D)."""
    H, T, D = Y.shape
    return Y.transpose(1, 0, 2).reshape(T, H * D)


@merge_exercise.cases
def _(rng):
    yield rng.normal(size=(3, 5, 4)),
    yield rng.normal(size=(2, 6, 3)),
    yield rng.normal(size=(4, 4, 4)),


@merge_exercise.trap("reshape sans échanger les axes mélange tokens et têtes.")
def _(Y):
    H, T, D = Y.shape
    return Y.reshape(T, H * D)


@merge_exercise.trap("Vous additionnez les têtes : on les met bout à bout, W_O les mélange ensuite.")
def _(Y):
    return Y.sum(axis=0)


@merge_exercise.trap("Vos canaux sont entrelacés : ceux d’une même tête doivent se suivre.")
def _(Y):
    H, T, D = Y.shape
    return Y.transpose(1, 2, 0).reshape(T, H * D)


@merge_exercise.variant
def _(Y):
    return np.concatenate(list(Y), axis=1)


group_exercise = Exercise(
    "ex-tetes-groupes", title="Quelle tête de clés ?", level="facile", minutes=4,
    hints=("H / Hk têtes de requêtes consécutives partagent une tête de clés.",))


@group_exercise.reference
def key_heads(H, Hk):
    """Renvoie la liste, de longueur H, des têtes de clés lues."""
    return [h // (H // Hk) for h in range(H)]


@group_exercise.cases
def _(rng):
    yield 8, 2
    yield 4, 4
    yield 6, 1
    yield 32, 8


@group_exercise.trap("Vous alternez (h modulo Hk) : c’est l’ordre de repeat, pas de "
                     "repeat_interleave.")
def _(H, Hk):
    return [h % Hk for h in range(H)]


@group_exercise.trap("Divisez par la taille d’un groupe, H / Hk, et non par Hk.")
def _(H, Hk):
    return [h // Hk for h in range(H)]


@group_exercise.trap("Il faut une tête de clés par tête de requêtes : la liste a H éléments.")
def _(H, Hk):
    return list(range(Hk))


@group_exercise.variant
def _(H, Hk):
    return np.repeat(np.arange(Hk), H // Hk).tolist()


target_exercise = Exercise(
    "ex-tetes-induction", title="Où regarde une tête d’induction ?", level="moyen", minutes=10,
    hints=("Gardez dans un dictionnaire la dernière position de chaque token.",
           "Consultez-le avant d’y écrire la position courante.", "La cible est cette position + 1."))


@target_exercise.reference
def induction_targets(tokens):
    """tokens : liste ; renvoie une liste de positions, -1 si le token est nouveau."""
    last, found = {}, []
    for t, token in enumerate(tokens):
        found.append(last[token] + 1 if token in last else -1)
        last[token] = t
    return found


@target_exercise.cases
def _(rng):
    yield [1, 2, 3, 1, 2, 3],
    yield [5, 5, 5],
    yield [1, 2, 1, 3, 1],
    yield rng.integers(0, 5, size=20).tolist(),


@target_exercise.trap("Vous rendez la place de l’apparition ; la tête regarde ce qui la suit.")
def _(tokens):
    return [p - 1 if p > 0 else p for p in induction_targets(tokens)]


@target_exercise.trap("Vous prenez la première apparition ; on demande la plus récente.")
def _(tokens):
    return [tokens[:t].index(x) + 1 if x in tokens[:t] else -1 for t, x in enumerate(tokens)]


@target_exercise.trap("La position courante n’est pas une apparition antérieure.")
def _(tokens):
    return [t + 1 for t in range(len(tokens))]


@target_exercise.trap("Vous rendez le token qui suivait ; on demande sa position.")
def _(tokens):
    return [tokens[p] if p >= 0 else -1 for p in induction_targets(tokens)]


@target_exercise.variant
def _(tokens):
    return [max((s + 1 for s in range(t) if tokens[s] == tokens[t]), default=-1)
            for t in range(len(tokens))]


score_exercise = Exercise(
    "ex-tetes-score", title="Le score d’une tête", level="facile", minutes=8,
    hints=("Le token t de la seconde copie est apparu en t - n, suivi par t - n + 1.",
           "Indexez P par deux vecteurs : P[t, t - n + 1].mean()."))


@score_exercise.reference
def induction_score(P, n):
    """P : (2n, 2n) ; renvoie la moyenne de P[t, t - n + 1] pour t de n à 2n - 1."""
    t = np.arange(n, 2 * n)
    return float(P[t, t - n + 1].mean())


@score_exercise.cases
def _(rng):
    for n in (4, 7):
        P = np.tril(rng.random((2 * n, 2 * n)) + 0.01)
        yield P / P.sum(axis=1, keepdims=True), n


@score_exercise.trap("C’est le poids de la première apparition elle-même : décalez d’une position.")
def _(P, n):
    t = np.arange(n, 2 * n)
    return float(P[t, t - n].mean())


@score_exercise.trap("Seule la seconde copie compte : dans la première, rien ne s’est répété.")
def _(P, n):
    t = np.arange(1, 2 * n)
    return float(P[t, np.maximum(t - n + 1, 0)].mean())


@score_exercise.trap("C’est une moyenne, pas une somme.")
def _(P, n):
    return induction_score(P, n) * n


@score_exercise.trap("Lignes et colonnes sont échangées : la ligne est le token qui regarde.")
def _(P, n):
    t = np.arange(n, 2 * n)
    return float(P[t - n + 1, t].mean())


@score_exercise.variant
def _(P, n):
    return float(np.mean(np.diagonal(P, offset=-(n - 1))[1:]))


whole_exercise = Exercise(
    "ex-tetes-entier", title="L’attention à plusieurs têtes, en entier", level="difficile",
    minutes=30,
    hints=("Rangez Q en (H, T, D), K et V en (Hk, T, D).",
           "Répétez K et V, chaque tête H / Hk fois de suite.",
           "Masque causal avant softmax ; remettez bout à bout ; multipliez par W_o."))


def _whole(X, W_q, W_k, W_v, W_o, H, Hk, *, repeat=np.repeat, causal=True, dim=None, wrong=False):
    T, D = len(X), W_q.shape[1] // H
    q, k, v = ((X @ W).reshape(T, -1, D).transpose(1, 0, 2) for W in (W_q, W_k, W_v))
    if wrong:
        q, k, v = ((X @ W).reshape(-1, T, D) for W in (W_q, W_k, W_v))
    k, v = repeat(k, H // Hk, axis=0), repeat(v, H // Hk, axis=0)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(dim or D)
    if causal:
        scores = np.where(np.tril(np.ones((T, T))) > 0, scores, -1e30)
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    y = p / p.sum(axis=-1, keepdims=True) @ v
    return y.transpose(1, 0, 2).reshape(T, H * D) @ W_o


@whole_exercise.reference
def grouped_attention(X, W_q, W_k, W_v, W_o, H, Hk):
    """X : (T, C) ; renvoie (T, C)."""
    return _whole(X, W_q, W_k, W_v, W_o, H, Hk)


@whole_exercise.cases
def _(rng):
    for T, C, H, Hk, D in ((5, 8, 4, 2, 3), (6, 12, 3, 3, 4), (7, 8, 4, 1, 2)):
        yield (rng.normal(size=(T, C)), rng.normal(size=(C, H * D)), rng.normal(size=(C, Hk * D)),
               rng.normal(size=(C, Hk * D)), rng.normal(size=(H * D, C)), H, Hk)


@whole_exercise.trap("Les têtes de clés se répètent par blocs (repeat_interleave), pas en "
                     "alternance.")
def _(X, W_q, W_k, W_v, W_o, H, Hk):
    def alternate(x, n, axis):
        return np.concatenate([x] * n, axis=axis)

    return _whole(X, W_q, W_k, W_v, W_o, H, Hk, repeat=alternate)


@whole_exercise.trap("Le masque causal manque.")
def _(X, W_q, W_k, W_v, W_o, H, Hk):
    return _whole(X, W_q, W_k, W_v, W_o, H, Hk, causal=False)


@whole_exercise.trap("Divisez par la racine de D, la dimension d’une tête, et non de C.")
def _(X, W_q, W_k, W_v, W_o, H, Hk):
    return _whole(X, W_q, W_k, W_v, W_o, H, Hk, dim=X.shape[1])


@whole_exercise.trap("reshape directement en (têtes, T, D) découpe la suite : passez par "
                     "(T, têtes, D).")
def _(X, W_q, W_k, W_v, W_o, H, Hk):
    return _whole(X, W_q, W_k, W_v, W_o, H, Hk, wrong=True)


@whole_exercise.variant
def _(X, W_q, W_k, W_v, W_o, H, Hk):
    D, total = W_q.shape[1] // H, 0
    hidden = np.triu(np.full((len(X), len(X)), -np.inf), 1)
    for h in range(H):
        g = h * Hk // H
        q = X @ W_q[:, h * D : (h + 1) * D]
        k, v = (X @ W[:, g * D : (g + 1) * D] for W in (W_k, W_v))
        scores = q @ k.T * D**-0.5 + hidden
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        total = total + (p / p.sum(axis=1, keepdims=True)) @ v @ W_o[h * D : (h + 1) * D]
    return total
