"""Exercices de la section « Encodeur, décodeur, attention croisée »."""

import numpy as np

from llmbook.exercise import Exercise

mask_exercise = Exercise(
    "ex-croisee-masque", title="Le masque d’un lot", level="facile", minutes=4,
    hints=("Comparez les places 0, 1, …, S - 1 à chaque longueur.",
           "Une colonne (B, 1) contre une ligne (S,) : la diffusion donne (B, S)."))


@mask_exercise.reference
def padding_mask(lengths, S):
    """lengths : (B,) ; renvoie (B, S), vrai où un token est réel."""
    return np.arange(S) < np.asarray(lengths)[:, None]


@mask_exercise.cases
def _(rng):
    yield np.array([3, 1, 5]), 5
    yield np.array([2]), 4
    yield rng.integers(1, 8, size=6), 8


@mask_exercise.trap("Votre masque est inversé : ici, vrai veut dire réel. C’est la convention de "
                    "PyTorch pour key_padding_mask que vous suivez.")
def _(lengths, S):
    return np.arange(S) >= np.asarray(lengths)[:, None]


@mask_exercise.trap("Une place de trop : la dernière place réelle est lengths - 1.")
def _(lengths, S):
    return np.arange(S) <= np.asarray(lengths)[:, None]


@mask_exercise.trap("Votre remplissage est à gauche ; ici les suites commencent à la place 0.")
def _(lengths, S):
    return np.arange(S) >= S - np.asarray(lengths)[:, None]


@mask_exercise.variant
def _(lengths, S):
    return np.array([[True] * n + [False] * (S - n) for n in map(int, lengths)])


shift_exercise = Exercise(
    "ex-croisee-decalage", title="Décaler la réponse", level="facile", minutes=10,
    hints=("Une réponse de n tokens donne n + 1 places : start devant, stop derrière.",
           "L’entrée et la cible d’une même réponse ont la même longueur.",
           "Remplissez deux tableaux de zéros de largeur max(n) + 1."))


@shift_exercise.reference
def shifted(rows, start, stop):
    """rows : B listes d’entiers ; renvoie (entrées, cibles), deux tableaux (B, T)."""
    T = max(map(len, rows)) + 1
    inputs, targets = np.zeros((2, len(rows), T), dtype=int)
    for i, row in enumerate(rows):
        inputs[i, : len(row) + 1] = [start, *row]
        targets[i, : len(row) + 1] = [*row, stop]
    return inputs, targets


@shift_exercise.cases
def _(rng):
    yield [[5, 6, 7], [8]], 1, 2
    yield [[4]], 1, 2
    yield [rng.integers(3, 20, size=n).tolist() for n in (2, 6, 3)], 1, 2


def _table(rows):
    T = max(map(len, rows))
    return np.array([row + [0] * (T - len(row)) for row in rows])


@shift_exercise.trap("L’entrée et la cible sont la même suite : le modèle n’aurait qu’à recopier.")
def _(rows, start, stop):
    table = _table([[start, *row, stop] for row in rows])
    return table, table


@shift_exercise.trap("La cible ne finit pas par stop : le modèle n’apprendrait jamais à s’arrêter.")
def _(rows, start, stop):
    return _table([[start, *row[:-1]] for row in rows]), _table(rows)


@shift_exercise.trap("Décalée après le remplissage, l’entrée des suites courtes contient stop là où "
                     "la cible est 0 : une place sans cible ne doit rien contenir.")
def _(rows, start, stop):
    table = _table([[start, *row, stop] for row in rows])
    return table[:, :-1], table[:, 1:]


@shift_exercise.trap("Vous complétez à gauche ; les suites commencent à la place 0.")
def _(rows, start, stop):
    inputs, targets = shifted(rows, start, stop)
    for i, row in enumerate(rows):
        room = inputs.shape[1] - len(row) - 1
        inputs[i], targets[i] = np.roll(inputs[i], room), np.roll(targets[i], room)
    return inputs, targets


@shift_exercise.variant
def _(rows, start, stop):
    table = _table([[start, *row, stop] for row in rows])
    inputs, targets = table[:, :-1].copy(), table[:, 1:]
    inputs[targets == 0] = 0
    return inputs, targets


attention_exercise = Exercise(
    "ex-croisee-attention", title="L’attention croisée, masquée", level="moyen", minutes=12,
    hints=("Les scores forment un rectangle (T, S), divisé par √D.",
           "Mettez les scores des clés absentes à -inf avant le softmax.",
           "Retirez le maximum de chaque ligne avant l’exponentielle."))


def _attend(q, k, v, mask, scale=None, axis=1, stable=True):
    scores = q @ k.T * (q.shape[1] ** -0.5 if scale is None else scale)
    scores = np.where(mask, scores, -np.inf)
    with np.errstate(all="ignore"):
        if stable:
            scores = scores - scores.max(axis=axis, keepdims=True)
        p = np.exp(scores)
        return p / p.sum(axis=axis, keepdims=True) @ v


@attention_exercise.reference
def cross_attention(q, k, v, mask):
    """q : (T, D) ; k : (S, D) ; v : (S, E) ; mask : (S,) ; renvoie (T, E)."""
    scores = np.where(mask, q @ k.T / np.sqrt(q.shape[1]), -np.inf)  # (T, S)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) @ v


@attention_exercise.cases
def _(rng):
    for T, S, scale in ((3, 5, 1), (4, 4, 1), (2, 6, 60), (6, 3, 1)):
        q, k, v = rng.normal(size=(T, 4)) * scale, rng.normal(size=(S, 4)) * scale, None
        v = rng.normal(size=(S, 3))
        yield q, k, v, np.arange(S) < S - 1
    yield rng.normal(size=(2, 4)), rng.normal(size=(4, 4)), rng.normal(size=(4, 2)), np.ones(4, bool)


@attention_exercise.trap("Divisez les scores par √D, avant le softmax.")
def _(q, k, v, mask):
    return _attend(q, k, v, mask, scale=1.0)


@attention_exercise.trap("Le masque ne sert pas : les clés de remplissage prennent leur part.")
def _(q, k, v, mask):
    return _attend(q, k, v, np.ones_like(mask))


@attention_exercise.trap("Vous annulez les poids après le softmax : ils ne somment plus à un. "
                         "Masquez les scores, ou renormalisez.")
def _(q, k, v, mask):
    scores = q @ k.T / np.sqrt(q.shape[1])
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) * mask @ v


@attention_exercise.trap("Un score nul n’est pas un score caché : exp(0) vaut 1. Mettez -inf.")
def _(q, k, v, mask):
    scores = q @ k.T / np.sqrt(q.shape[1]) * mask
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) @ v


@attention_exercise.trap("Vous normalisez par colonne : chaque *requête* répartit un poids de un "
                         "entre les clés.")
def _(q, k, v, mask):
    return np.nan_to_num(_attend(q, k, v, mask, axis=0))


@attention_exercise.trap("L’exponentielle déborde pour de grands scores : retirez d’abord le "
                         "maximum de chaque ligne.")
def _(q, k, v, mask):
    return _attend(q, k, v, mask, stable=False)


@attention_exercise.variant
def _(q, k, v, mask):
    rows = []
    for query in q:
        a = np.array([query @ key / len(query) ** 0.5 for key in k[mask]])
        p = np.exp(a - np.logaddexp.reduce(a))
        rows.append(sum(weight * value for weight, value in zip(p, v[mask], strict=True)))
    return np.array(rows)


step_exercise = Exercise(
    "ex-croisee-pas", title="Ce que coûte un token de plus", level="moyen", minutes=15,
    hints=("Quatre matrices C × C pour l’auto-attention, deux pour la croisée, puis 2 C d_ff.",
           "Face à N clés, les scores et la somme des valeurs font chacun N × C multiplications.",
           "L’auto-attention voit t clés, la croisée S."))


@step_exercise.reference
def step_operations(C, d_ff, n, S, t):
    """Opérations de n couches du décodeur pour un token, caches remplis ; un entier."""
    weights = 4 * C * C + 2 * C * C + 2 * C * d_ff  # auto-attention, croisée, feed-forward
    attention = 2 * C * (t + S)  # scores et sommes
    return 2 * n * (weights + attention)


@step_exercise.cases
def _(rng):
    yield 48, 192, 2, 22, 1
    yield 512, 2048, 6, 100, 30
    yield 1280, 5120, 4, 1500, 10
    yield 8, 12, 1, 5, 3


@step_exercise.trap("Les clés et les valeurs de la mémoire sont déjà projetées : la croisée ne "
                    "coûte plus que sa requête et sa sortie.")
def _(C, d_ff, n, S, t):
    return 2 * n * (8 * C * C + 2 * C * d_ff + 2 * C * (t + S))


@step_exercise.trap("Vous projetez encore les S mots de la mémoire : c’est fait une fois pour "
                    "toutes, avant le premier token.")
def _(C, d_ff, n, S, t):
    return 2 * n * (6 * C * C + 2 * C * C * S + 2 * C * d_ff + 2 * C * (t + S))


@step_exercise.trap("L’attention manque : scores et sommes coûtent, pour t tokens et S mots.")
def _(C, d_ff, n, S, t):
    return 2 * n * (6 * C * C + 2 * C * d_ff)


@step_exercise.trap("Avec le cache, un seul token traverse les matrices, pas t.")
def _(C, d_ff, n, S, t):
    return 2 * n * t * (6 * C * C + 2 * C * d_ff + 2 * C * (t + S))


@step_exercise.trap("Une multiplication-addition compte pour deux opérations.")
def _(C, d_ff, n, S, t):
    return step_operations(C, d_ff, n, S, t) // 2


@step_exercise.variant
def _(C, d_ff, n, S, t):
    shapes = [(C, C)] * 6 + [(C, d_ff), (d_ff, C)] + [(C, t), (t, C), (C, S), (S, C)]
    return n * sum(2 * rows * columns for rows, columns in shapes)


corruption_exercise = Exercise(
    "ex-croisee-corruption", title="La corruption de T5", level="moyen", minutes=15,
    hints=("Avancez dans tokens de morceau en morceau, en recopiant ce qui est entre eux.",
           "Le repère du morceau i est sentinel - i, dans la source comme dans la cible.",
           "La cible se termine par un repère de plus, qui dit la fin."))


@corruption_exercise.reference
def corrupt(tokens, spans, sentinel):
    """tokens : entiers ; spans : (début, fin) croissants ; renvoie (source, cible), des listes."""
    source, target, last = [], [], 0
    for i, (start, stop) in enumerate(spans):
        source += [*tokens[last:start], sentinel - i]
        target += [sentinel - i, *tokens[start:stop]]
        last = stop
    return source + list(tokens[last:]), [*target, sentinel - len(spans)]


@corruption_exercise.cases
def _(rng):
    yield [10, 11, 12, 13, 14, 15, 16], [(2, 4), (5, 6)], 99
    yield [10, 11, 12, 13], [(0, 1), (3, 4)], 50
    yield rng.integers(1, 40, size=12).tolist(), [(1, 4), (4, 6), (9, 12)], 99
    yield [3, 4, 5], [], 20


def _corrupt(tokens, spans, mark, end=True, keep=True):
    source, target, last = [], [], 0
    for i, (start, stop) in enumerate(spans):
        source += [*tokens[last:start], *mark(i, stop - start)]
        target += [mark(i, 1)[0], *tokens[start:stop]]
        last = stop
    source += list(tokens[last:])
    return source, [*target, mark(len(spans), 1)[0]] if end else target


@corruption_exercise.trap("Un seul repère par morceau, quelle que soit sa longueur : sinon la source "
                          "dit combien de tokens manquent.")
def _(tokens, spans, sentinel):
    return _corrupt(tokens, spans, lambda i, n: [sentinel - i] * n)


@corruption_exercise.trap("Chaque morceau a son propre repère, sentinel - i : avec le même partout, "
                          "la cible ne dit plus quel trou elle comble.")
def _(tokens, spans, sentinel):
    return _corrupt(tokens, spans, lambda i, n: [sentinel])


@corruption_exercise.trap("Il manque le dernier repère, sentinel - len(spans), qui clôt la cible.")
def _(tokens, spans, sentinel):
    return _corrupt(tokens, spans, lambda i, n: [sentinel - i], end=False)


@corruption_exercise.trap("Les repères descendent : sentinel - i, pas sentinel + i.")
def _(tokens, spans, sentinel):
    return _corrupt(tokens, spans, lambda i, n: [sentinel + i])


@corruption_exercise.trap("La cible est la phrase entière : T5 ne récrit que ce qui manque.")
def _(tokens, spans, sentinel):
    return corrupt(tokens, spans, sentinel)[0], list(tokens)


@corruption_exercise.variant
def _(tokens, spans, sentinel):
    owner = {j: i for i, (start, stop) in enumerate(spans) for j in range(start, stop)}
    source, target = [], []
    for j, token in enumerate(tokens):
        if j not in owner:
            source.append(token)
            continue
        if j == spans[owner[j]][0]:
            source.append(sentinel - owner[j])
            target.append(sentinel - owner[j])
        target.append(token)
    return source, target + [sentinel - len(spans)]


number_exercise = Exercise(
    "ex-croisee-nombre", title="Sans réseau", level="difficile", minutes=30,
    hints=("La plupart des mots s’ajoutent ; « mille » et « cent » multiplient ce qui précède.",
           "« cent » ne multiplie que ce qui vient après « mille » : gardez deux totaux.",
           "« vingt » multiplie s’il suit immédiatement « quatre » : quatre-vingts. Sinon, il s’ajoute.",
           "Rien devant « mille » ou « cent » veut dire un ; « et » ne vaut rien."))  # fmt: skip

_UNITS = ("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze "
          "quinze seize").split()
_VALUES = {word: n for n, word in enumerate(_UNITS)}
_VALUES |= {"vingt": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60, "et": 0}


@number_exercise.reference
def value(words):
    """words : mots d’un nombre de 0 à 9 999, traits d’union défaits ; renvoie un entier."""
    units = ("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze "
             "quinze seize").split()
    values = {word: n for n, word in enumerate(units)} | {"et": 0}
    values |= {"vingt": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60}
    thousands = below = 0
    for i, word in enumerate(words):
        if word == "mille":
            thousands, below = max(below, 1), 0
        elif word == "cent":
            below = 100 * max(below, 1)
        elif word == "vingt" and i and words[i - 1] == "quatre":
            below += 4 * 20 - 4
        else:
            below += values[word]
    return 1000 * thousands + below


@number_exercise.cases
def _(rng):
    for text in ("quatre vingt dix sept", "deux mille un", "mille neuf cent douze", "zéro",
                 "soixante et onze", "trois cent quatre vingt", "cent vingt quatre",
                 "neuf mille neuf cent quatre vingt dix neuf", "mille quatre", "vingt quatre",
                 "quatre cent vingt", "quatre mille cent un", "mille quatre vingt un"):
        yield (text.split(),)


def _value(words, fourscore=True, thousand=True, alone=1, hundred=True, past=False):
    thousands = below = 0
    for i, word in enumerate(words):
        if word == "mille":
            thousands, below = (max(below, alone) if thousand else below + 1), 0
        elif word == "cent":
            below = 100 * max(below, alone) if hundred else below + 100
        elif fourscore and word == "vingt" and i and (
            "quatre" in words[:i] if past else words[i - 1] == "quatre"
        ):  # fmt: skip
            below += 4 * 20 - 4
        else:
            below += _VALUES[word]
    return 1000 * thousands + below


@number_exercise.trap("« quatre vingt » vaut 80 : vingt multiplie le quatre qui le précède.")
def _(words):
    return _value(words, fourscore=False)


@number_exercise.trap("« vingt » ne multiplie que s’il suit immédiatement « quatre » : dans "
                      "« quatre cent vingt », il s’ajoute.")
def _(words):
    return _value(words, past=True)


@number_exercise.trap("« mille » et « cent » seuls valent un mille, un cent : il n’y a rien devant à "
                      "multiplier.")
def _(words):
    return _value(words, alone=0)


@number_exercise.trap("« cent » multiplie ce qui précède : « neuf cent » vaut 900, pas 109.")
def _(words):
    return _value(words, hundred=False)


@number_exercise.trap("« mille » multiplie tout ce qui le précède ; le vôtre ajoute un.")
def _(words):
    return _value(words, thousand=False)


@number_exercise.trap("« cent » ne doit multiplier que ce qui vient après « mille » : gardez à part les "
                      "milliers déjà lus.")
def _(words):
    total = 0
    for i, word in enumerate(words):
        if word in ("mille", "cent"):
            total = max(total, 1) * (1000 if word == "mille" else 100)
        elif word == "vingt" and i and words[i - 1] == "quatre":
            total += 76
        else:
            total += _VALUES[word]
    return total


@number_exercise.variant
def _(words):
    text = " ".join(words).replace("quatre vingt", "octante")
    head, mille, tail = text.rpartition("mille")
    if mille:
        return 1000 * (_VALUES[head.strip()] if head.strip() else 1) + (_small(tail) if tail else 0)
    return _small(text)


def _small(text):
    head, cent, tail = text.rpartition("cent")
    hundreds = (_VALUES[head.strip()] if head.strip() else 1) if cent else 0
    return 100 * hundreds + sum(80 if w == "octante" else _VALUES[w] for w in tail.split())
