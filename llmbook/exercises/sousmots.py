"""Exercices de la section « WordPiece et Unigram »."""

import math
from functools import lru_cache
from itertools import product

import numpy as np

from llmbook.exercise import Exercise

# Recoller

join_exercise = Exercise(
    "ex-sousmots-recoller", title="Recoller les mots", level="facile", minutes=5,
    hints=("Un token qui commence par ## continue le mot précédent ; les autres en ouvrent un.",
           'Joignez les tokens par des espaces, puis supprimez chaque " ##".'))


@join_exercise.reference
def join_words(tokens):
    """tokens : liste de textes ; renvoie les mots, séparés par une espace."""
    return " ".join(tokens).replace(" ##", "")


@join_exercise.cases
def _(rng):
    yield ["rapide", "##ment", ",", "dit", "-", "il"]
    yield ["l", "’", "in", "##form", "##ation"]
    yield ["C", "#", "et", "F", "##14"]


@join_exercise.trap("Il reste des ## dans le texte : ce n’est qu’une marque, elle ne s’écrit pas.")
def _(tokens):
    return " ".join(tokens)


@join_exercise.trap("Tous les mots sont collés : seuls les tokens marqués ## continuent un mot.")
def _(tokens):
    return "".join(token.removeprefix("##") for token in tokens)


@join_exercise.trap("La marque est retirée, mais l’espace est restée : les morceaux sont séparés.")
def _(tokens):
    return " ".join(token.removeprefix("##") for token in tokens)


@join_exercise.trap("lstrip et strip retirent aussi un dièse isolé, qui est un vrai signe : retirez "
                    "seulement un ## au début du token.")
def _(tokens):
    text = ""
    for token in tokens:
        text += token.lstrip("#") if token.startswith("#") else " " + token
    return text.strip()


@join_exercise.variant
def _(tokens):
    words = []
    for token in tokens:
        if token.startswith("##") and words:
            words[-1] += token[2:]
        else:
            words.append(token)
    return " ".join(words)


# Glouton

greedy_exercise = Exercise(
    "ex-sousmots-glouton", title="Le plus long début", level="moyen", minutes=15,
    hints=("Partez de la fin du mot et raccourcissez, jusqu’à trouver un token.",
           "Après le premier token, cherchez « ## » suivi du morceau.",
           "Si aucun morceau ne convient, tout le mot devient [UNK]."))


@greedy_exercise.reference
def longest_first(word, vocab):
    """word : un mot ; vocab : ensemble de tokens ; renvoie la liste des tokens, ou ["[UNK]"]."""
    tokens, start = [], 0
    while start < len(word):
        mark = "##" if start else ""
        for end in range(len(word), start, -1):
            if mark + word[start:end] in vocab:
                break
        else:
            return ["[UNK]"]
        tokens.append(mark + word[start:end])
        start = end
    return tokens


@greedy_exercise.cases
def _(rng):
    vocab = {"ra", "rapide", "rapid", "##ment", "##me", "##nt", "##p", "##ide", "##e", "##s"}
    yield "rapidement", vocab
    yield "rapides", vocab
    yield "rapidité", vocab
    yield "ment", vocab
    yield "abcde", {"ab", "abc", "##cde", "##d", "##e", "##c"}


def _greedy(word, vocab, mark="##", shortest=False, unknown=None):
    tokens, start = [], 0
    while start < len(word):
        prefix = mark if start else ""
        ends = range(start + 1, len(word) + 1)
        for end in ends if shortest else reversed(ends):
            if prefix + word[start:end] in vocab:
                tokens.append(prefix + word[start:end])
                start = end
                break
        else:
            if unknown is None:
                return ["[UNK]"]
            tokens.append("[UNK]")
            if unknown == "stop":
                return tokens
            start += 1
    return tokens


@greedy_exercise.trap("Vous prenez le plus court morceau : c’est le plus long qui est retenu.")
def _(word, vocab):
    return _greedy(word, vocab, shortest=True)


@greedy_exercise.trap("Un morceau qui continue le mot se cherche avec ## devant : sans lui, les débuts de "
                      "mots servent au milieu.")
def _(word, vocab):
    return _greedy(word, vocab, mark="")


@greedy_exercise.trap("Vous gardez les tokens déjà trouvés avant [UNK] : WordPiece abandonne tout le mot.")
def _(word, vocab):
    return _greedy(word, vocab, unknown="stop")


@greedy_exercise.trap("Vous ne remplacez que le caractère inconnu : c’est ce que fait Unigram, pas "
                      "WordPiece.")
def _(word, vocab):
    return _greedy(word, vocab, unknown="skip")


@greedy_exercise.trap("Vous cherchez la découpe la plus courte ; WordPiece ne revient jamais sur un choix, "
                      "même mauvais.")
def _(word, vocab):
    @lru_cache
    def best(start):
        if start == len(word):
            return ()
        found = []
        for end in range(start + 1, len(word) + 1):
            token = ("##" if start else "") + word[start:end]
            if token in vocab and best(end) is not None:
                found.append((token, *best(end)))
        return min(found, key=len) if found else None

    return list(best(0)) if best(0) is not None else ["[UNK]"]


@greedy_exercise.variant
def _(word, vocab):
    def split(rest, mark):
        if not rest:
            return []
        size = next((n for n in range(len(rest), 0, -1) if mark + rest[:n] in vocab), 0)
        tail = split(rest[size:], "##") if size else None
        return None if tail is None else [mark + rest[:size], *tail]

    return split(word, "") or ["[UNK]"]


# Gain

gain_exercise = Exercise(
    "ex-sousmots-gain", title="Ce que rapporte une fusion", level="moyen", minutes=15,
    hints=("La log-vraisemblance est la somme des n log n de tous les tokens, moins N log N.",
           "Seuls changent n_a, n_b, le nouveau token et le total N.",
           "Après la fusion : n_a - n, n_b - n, n et N - n. Un token disparu compte pour 0."))


def _xlogx(x):
    return x * math.log(x) if x > 0 else 0.0


@gain_exercise.reference
def merge_gain(n, a, b, total):
    """n : occurrences de la paire ; a, b : de ses tokens ; total : tokens du corpus. En nats."""
    def f(x):
        return x * math.log(x) if x > 0 else 0.0

    return f(n) + f(a - n) + f(b - n) - f(a) - f(b) - f(total - n) + f(total)


@gain_exercise.cases
def _(rng):
    yield 30, 50, 80, 1000
    yield 4, 4, 9, 100
    yield 120, 500, 400, 3000
    yield 2, 30, 40, 300


@gain_exercise.trap("C’est n fois l’information mutuelle ponctuelle, une approximation : les tokens "
                    "restants changent aussi de probabilité.")
def _(n, a, b, total):
    return n * math.log(n * total / (a * b))


@gain_exercise.trap("C’est le rapport n / (a b), qui préfère les paires rares : on demande une "
                    "différence de log-vraisemblances.")
def _(n, a, b, total):
    return n / (a * b)


@gain_exercise.trap("Le corpus raccourcit : après la fusion il n’a plus que total - n tokens.")
def _(n, a, b, total):
    return _xlogx(n) + _xlogx(a - n) + _xlogx(b - n) - _xlogx(a) - _xlogx(b)


@gain_exercise.trap("Les deux tokens perdent n occurrences chacun : comptez a - n et b - n après la "
                    "fusion.")
def _(n, a, b, total):
    return _xlogx(n) - _xlogx(total - n) + _xlogx(total)


@gain_exercise.trap("Le signe est inversé : c’est l’état d’après moins celui d’avant.")
def _(n, a, b, total):
    return -merge_gain(n, a, b, total)


@gain_exercise.trap("Votre logarithme est en base 2 ; on demande des nats.")
def _(n, a, b, total):
    return merge_gain(n, a, b, total) / math.log(2)


@gain_exercise.variant
def _(n, a, b, total):
    def log_likelihood(counts):
        counts = np.array([c for c in counts if c], dtype=float)
        return (counts * np.log(counts / counts.sum())).sum()

    rest = total - a - b
    return log_likelihood([n, a - n, b - n, rest]) - log_likelihood([a, b, rest])


# Viterbi

viterbi_exercise = Exercise(
    "ex-sousmots-viterbi", title="La découpe la plus probable", level="moyen", minutes=20,
    hints=("best[t] est le meilleur score des t premiers caractères ; best[0] = 0.",
           "best[t] est le plus grand des best[s] + scores[word[s:t]], pour s < t.",
           "Retenez le s qui donne le maximum, puis remontez de la fin au début."))

PIECES = {"a": -2.2, "b": -7.0, "c": -4.6, "ab": -6.6, "bc": -2.0, "abc": -4.7, "ca": -6.3, "cab": -3.4,
          "cbb": -7.7}


@viterbi_exercise.reference
def best_segmentation(word, scores):
    """scores : log-probabilité de chaque token ; renvoie la liste des tokens de la meilleure découpe."""
    best, back = [0.0], [0]
    for t in range(1, len(word) + 1):
        found = [(best[s] + scores[word[s:t]], s) for s in range(t) if word[s:t] in scores]
        value, start = max(found)
        best.append(value)
        back.append(start)
    pieces, t = [], len(word)
    while t:
        pieces.append(word[back[t]:t])
        t = back[t]
    return pieces[::-1]


@viterbi_exercise.cases
def _(rng):
    yield "abcab", PIECES
    yield "abc", PIECES
    yield "cabca", PIECES
    yield "abcbb", PIECES


def _all(word, scores):
    for cuts in product((0, 1), repeat=len(word) - 1):
        ends = [i for i, cut in enumerate(cuts, 1) if cut] + [len(word)]
        pieces = [word[s:t] for s, t in zip([0, *ends], ends, strict=False)]
        if all(piece in scores for piece in pieces):
            yield pieces


@viterbi_exercise.trap("Vous prenez le plus long début, comme WordPiece : ici la découpe est celle de plus "
                       "grande somme.")
def _(word, scores):
    return _greedy(word, scores, mark="")


@viterbi_exercise.trap("Vous minimisez la somme : les scores sont des logarithmes, on en veut la plus "
                       "grande.")
def _(word, scores):
    return min(_all(word, scores), key=lambda pieces: sum(scores[p] for p in pieces))


@viterbi_exercise.trap("Vous minimisez le nombre de tokens ; la plus courte découpe n’est pas toujours la "
                       "plus probable.")
def _(word, scores):
    return min(_all(word, scores), key=len)


@viterbi_exercise.trap("Les tokens sont dans l’ordre inverse : on remonte de la fin, puis on retourne la "
                       "liste.")
def _(word, scores):
    return best_segmentation(word, scores)[::-1]


@viterbi_exercise.trap("Vous choisissez à chaque pas le token de meilleur score, sans regarder la suite.")
def _(word, scores):
    pieces, start = [], 0
    while start < len(word):
        ends = [t for t in range(start + 1, len(word) + 1) if word[start:t] in scores]
        end = max(ends, key=lambda t: scores[word[start:t]])
        pieces.append(word[start:end])
        start = end
    return pieces


@viterbi_exercise.variant
def _(word, scores):
    return max(_all(word, scores), key=lambda pieces: sum(scores[p] for p in pieces))


# Somme

sum_exercise = Exercise(
    "ex-sousmots-somme", title="La probabilité d’un mot", level="moyen", minutes=15,
    hints=("La même récurrence que Viterbi, une somme de probabilités à la place du maximum.",
           "total[t] est la somme des total[s] × exp(scores[word[s:t]]) ; total[0] = 1.",
           "Un mot long donne une probabilité minuscule : restez en logarithmes, avec np.logaddexp."))


@sum_exercise.reference
def word_log_probability(word, scores):
    """Log de la somme des probabilités de toutes les découpes, en nats."""
    total = [0.0]
    for t in range(1, len(word) + 1):
        arcs = [total[s] + scores[word[s:t]] for s in range(t) if word[s:t] in scores]
        total.append(float(np.logaddexp.reduce(arcs)))
    return total[-1]


@sum_exercise.cases
def _(rng):
    yield "abcab", PIECES
    yield "b", PIECES
    yield "cabca" * 3, PIECES
    yield "abc" * 300, PIECES


@sum_exercise.trap("C’est la meilleure découpe, Viterbi : on demande la somme de toutes.")
def _(word, scores):
    best = [0.0]
    for t in range(1, len(word) + 1):
        best.append(max(best[s] + scores[word[s:t]] for s in range(t) if word[s:t] in scores))
    return best[-1]


@sum_exercise.trap("Vos probabilités deviennent nulles sur un mot long : additionnez des logarithmes avec "
                   "np.logaddexp.")
def _(word, scores):
    total = [1.0]
    for t in range(1, len(word) + 1):
        total.append(sum(total[s] * math.exp(scores[word[s:t]])
                         for s in range(t) if word[s:t] in scores))
    return math.log(total[-1]) if total[-1] else -math.inf


@sum_exercise.trap("Vous additionnez des log-probabilités là où il faut additionner des probabilités : "
                   "np.logaddexp(x, y) est log(exp(x) + exp(y)).")
def _(word, scores):
    total = [0.0]
    for t in range(1, len(word) + 1):
        total.append(sum(total[s] + scores[word[s:t]] for s in range(t) if word[s:t] in scores))
    return total[-1]


@sum_exercise.trap("Vous renvoyez la probabilité ; on demande son logarithme.")
def _(word, scores):
    return math.exp(word_log_probability(word, scores))


@sum_exercise.trap("Le signe est inversé : une log-probabilité est négative.")
def _(word, scores):
    return -word_log_probability(word, scores)


@sum_exercise.variant
def _(word, scores):
    rest = [0.0]                                       # de droite à gauche
    for s in reversed(range(len(word))):
        after = [scores[word[s:t]] + rest[len(word) - t]
                 for t in range(s + 1, len(word) + 1) if word[s:t] in scores]
        top = max(after)
        rest.append(top + math.log(sum(math.exp(x - top) for x in after)))
    return rest[-1]


# Comptes attendus

expected_exercise = Exercise(
    "ex-sousmots-attendus", title="Les comptes attendus", level="difficile", minutes=35,
    hints=("Il faut la somme des débuts (forward) et celle des fins (backward).",
           "La part des découpes qui passent par l’arc s→t est forward[s] + score + backward[t] - total.",
           "Un même token peut servir à plusieurs places : additionnez."))


@expected_exercise.reference
def expected_counts(word, scores):
    """{token: nombre moyen d’emplois dans une découpe du mot, tirée selon sa probabilité}."""
    n = len(word)
    arcs = [(s, t) for t in range(1, n + 1) for s in range(t) if word[s:t] in scores]
    forward, backward = np.full(n + 1, -np.inf), np.full(n + 1, -np.inf)
    forward[0] = backward[n] = 0.0
    for s, t in arcs:                                  # t croissant
        forward[t] = np.logaddexp(forward[t], forward[s] + scores[word[s:t]])
    for s, t in sorted(arcs, reverse=True):            # s décroissant
        backward[s] = np.logaddexp(backward[s], scores[word[s:t]] + backward[t])
    counts = {}
    for s, t in arcs:
        share = np.exp(forward[s] + scores[word[s:t]] + backward[t] - forward[n])
        counts[word[s:t]] = counts.get(word[s:t], 0.0) + float(share)
    return counts


@expected_exercise.cases
def _(rng):
    yield "abcab", PIECES
    yield "abc", PIECES
    yield "cabca", PIECES
    yield "abcabcab", PIECES


def _by_enumeration(word, scores, weight):
    cuts = list(_all(word, scores))
    total = sum(weight(sum(scores[p] for p in cut)) for cut in cuts)
    counts = {}
    for cut in cuts:
        share = weight(sum(scores[p] for p in cut)) / total
        for piece in cut:
            counts[piece] = counts.get(piece, 0.0) + share
    return counts


@expected_exercise.trap("Toutes les découpes ne se valent pas : pondérez chacune par sa probabilité.")
def _(word, scores):
    return _by_enumeration(word, scores, lambda score: 1.0)


@expected_exercise.trap("Vous ne comptez que la meilleure découpe : c’est l’EM « dur ».")
def _(word, scores):
    counts = dict.fromkeys(_by_enumeration(word, scores, math.exp), 0.0)
    for piece in best_segmentation(word, scores):
        counts[piece] += 1.0
    return counts


@expected_exercise.trap("Vous n’avez pas divisé par la probabilité du mot : les parts doivent avoir pour "
                        "somme 1 sur les découpes.")
def _(word, scores):
    total = math.exp(word_log_probability(word, scores))
    return {piece: n * total for piece, n in _by_enumeration(word, scores, math.exp).items()}


@expected_exercise.trap("Un token employé à deux places doit additionner les deux parts : vous n’en gardez "
                        "qu’une.")
def _(word, scores):
    counts = {}
    for t in range(1, len(word) + 1):
        for s in range(t):
            piece = word[s:t]
            if piece in scores:
                before, after = word[:s], word[t:]
                score = scores[piece] - word_log_probability(word, scores)
                score += word_log_probability(before, scores) if before else 0.0
                score += word_log_probability(after, scores) if after else 0.0
                counts[piece] = math.exp(score)
    return counts


@expected_exercise.trap("Il manque la somme des fins : la part d’un arc dépend aussi de ce qui le suit.")
def _(word, scores):
    n, forward, counts = len(word), [0.0], {}
    for t in range(1, n + 1):
        forward.append(np.logaddexp.reduce(
            [forward[s] + scores[word[s:t]] for s in range(t) if word[s:t] in scores]))
    for t in range(1, n + 1):
        for s in range(t):
            if word[s:t] in scores:
                share = math.exp(forward[s] + scores[word[s:t]] - forward[n])
                counts[word[s:t]] = counts.get(word[s:t], 0.0) + share
    return counts


@expected_exercise.variant
def _(word, scores):
    return _by_enumeration(word, scores, math.exp)
