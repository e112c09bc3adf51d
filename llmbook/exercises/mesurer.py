"""Exercices de la section « Mesurer un assistant »."""

import ast
import math

import numpy as np

from llmbook.exercise import Exercise

value_exercise = Exercise(
    "ex-mesurer-valeur",
    title="La même valeur",
    level="moyen",
    minutes=12,
    hints=(
        '" ".join(text.split()) réduit les espaces.',
        "ast.literal_eval lève ValueError ou SyntaxError si le texte n’est pas un littéral.",
        "Comparez repr(literal_eval(answer)) et repr(literal_eval(expected)).",
    ),
)


@value_exercise.reference
def same_answer(answer, expected):
    """Vrai si les deux textes sont égaux, ou deux littéraux de même valeur et de même type."""
    answer, expected = (" ".join(text.split()) for text in (answer, expected))
    if answer == expected:
        return True
    try:
        return repr(ast.literal_eval(answer)) == repr(ast.literal_eval(expected))
    except (ValueError, SyntaxError):
        return False


@value_exercise.cases
def _(rng):
    yield '"Pomme"', "'Pomme'"
    yield "[1,2]", "[1, 2]"
    yield "1", "True"
    yield "[1, 2]", "[True, 2]"
    yield "1", "1.0"
    yield "Pomme", "'Pomme'"
    yield " from  math import floor", "from math import floor"
    yield "nom", "texte"
    yield "2 + 2", "4"
    yield "{'a': 15}", '{"a" : 0xF}'


@value_exercise.trap("C’est l’égalité des textes : `'a'` et `\"a\"` sont la même valeur.")
def _(answer, expected):
    return " ".join(answer.split()) == " ".join(expected.split())


@value_exercise.trap("1 == True et 1 == 1.0 en Python : il faut aussi le même type, même dans une "
                     "liste.")  # fmt: skip
def _(answer, expected):
    answer, expected = (" ".join(text.split()) for text in (answer, expected))
    try:
        return answer == expected or ast.literal_eval(answer) == ast.literal_eval(expected)
    except (ValueError, SyntaxError):
        return False


@value_exercise.trap("Un texte qui n’est pas un littéral se compare tel quel : "
                     "`from math import floor` peut être juste.")  # fmt: skip
def _(answer, expected):
    try:
        return repr(ast.literal_eval(answer.strip())) == repr(ast.literal_eval(expected))
    except (ValueError, SyntaxError):
        return False


@value_exercise.trap("Ôter les guillemets confond le nom `Pomme` et la chaîne `'Pomme'`.")
def _(answer, expected):
    def bare(text):
        return " ".join(text.split()).strip("'\"")

    return same_answer(answer, expected) or bare(answer) == bare(expected)


@value_exercise.trap("eval exécute le code du modèle : `2 + 2` n’est pas un littéral.")
def _(answer, expected):
    if " ".join(answer.split()) == " ".join(expected.split()):
        return True
    try:
        return repr(eval(answer, {})) == repr(eval(expected, {}))
    except Exception:
        return False


@value_exercise.variant
def _(answer, expected):
    def read(text):
        text = " ".join(text.split())
        try:
            return ("littéral", repr(ast.literal_eval(text)))
        except (ValueError, SyntaxError):
            return ("texte", text)

    return read(answer) == read(expected)


pass_exercise = Exercise(
    "ex-mesurer-passk",
    title="pass@k",
    level="facile",
    minutes=6,
    hints=(
        "Comptez les choix de k essais parmi n où tout échoue.",
        "math.comb(n - c, k) vaut 0 quand il n’y a pas assez d’échecs.",
    ),
)


@pass_exercise.reference
def unbiased_pass(n, c, k):
    """1 - C(n - c, k) / C(n, k)."""
    return 1 - math.comb(n - c, k) / math.comb(n, k)


@pass_exercise.cases
def _(rng):
    yield 5, 1, 2
    yield 5, 3, 5
    yield 10, 4, 3
    yield 5, 0, 5
    yield 8, 2, 1
    yield 6, 5, 3


@pass_exercise.trap("C’est l’estimateur naïf, biaisé : il remplace p par c/n.")
def _(n, c, k):
    return 1 - (1 - c / n) ** k


@pass_exercise.trap("C’est la probabilité que tout échoue : prenez son complément.")
def _(n, c, k):
    return math.comb(n - c, k) / math.comb(n, k)


@pass_exercise.trap("Vous demandez que les k essais réussissent : un seul suffit.")
def _(n, c, k):
    return math.comb(c, k) / math.comb(n, k)


@pass_exercise.trap("C’est la part d’essais réussis, pass@1 : k n’y entre pas.")
def _(n, c, k):
    return c / n


@pass_exercise.variant
def _(n, c, k):
    fail = 1.0
    for i in range(k):  # k tirages sans remise, tous manqués
        fail *= max(0, n - c - i) / (n - i)
    return 1 - fail


mcnemar_exercise = Exercise(
    "ex-mesurer-mcnemar",
    title="McNemar, depuis les réponses",
    level="moyen",
    minutes=12,
    hints=(
        "Seules comptent les questions où a et b diffèrent.",
        "Le plus petit des deux nombres, et la somme des binomiales jusqu’à lui.",
        "Doublez, puis bornez à 1.",
    ),
)


@mcnemar_exercise.reference
def exact_mcnemar(a, b):
    """Probabilité bilatérale, sous l’hypothèse d’un tirage à pile ou face."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def _answers(both, only_a, only_b, neither):
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a), np.array(b)


@mcnemar_exercise.cases
def _(rng):
    for table in ((34, 11, 2, 33), (10, 1, 5, 4), (6, 3, 3, 8), (5, 0, 0, 5), (2, 7, 0, 1)):
        a, b = _answers(*table)
        order = rng.permutation(len(a))
        yield a[order], b[order]


def _tail(low, n):
    return sum(math.comb(n, i) for i in range(low + 1)) / 2**n


@mcnemar_exercise.trap("C’est le test d’un seul côté : doublez-le.")
def _(a, b):
    only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
    return _tail(int(min(only_a, only_b)), int(only_a + only_b))


@mcnemar_exercise.trap("Une probabilité ne dépasse pas 1 : bornez-la.")
def _(a, b):
    only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
    return 2 * _tail(int(min(only_a, only_b)), int(only_a + only_b))


@mcnemar_exercise.trap("Les questions où les deux s’accordent ne sont pas des tirages à pile ou "
                       "face.")  # fmt: skip
def _(a, b):
    right, n = int(a.sum()), len(a)
    other = int(b.sum())
    return min(1.0, 2 * _tail(max(0, n // 2 - abs(right - other)), n))


@mcnemar_exercise.trap("C’est la forme approchée, par le khi-deux : sommez les binomiales.")
def _(a, b):
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return math.erfc(abs(only_a - only_b) / math.sqrt(2 * (only_a + only_b)))


@mcnemar_exercise.variant
def _(a, b):
    gaps = a.astype(int) - b.astype(int)
    n, gap = int(np.abs(gaps).sum()), abs(int(gaps.sum()))
    return sum(math.comb(n, i) for i in range(n + 1) if abs(2 * i - n) >= gap) / 2**n


size_exercise = Exercise(
    "ex-mesurer-taille",
    title="Combien de questions",
    level="facile",
    minutes=6,
    hints=(
        "Sous l’hypothèse nulle, la variance est d ; sous l’autre, d - δ².",
        "math.ceil arrondit vers le haut.",
    ),
)


@size_exercise.reference
def sample_size(delta, discordant, z_level, z_power):
    """Nombre de questions, entier."""
    z = z_level * math.sqrt(discordant) + z_power * math.sqrt(discordant - delta**2)
    return math.ceil((z / delta) ** 2)


@size_exercise.cases
def _(rng):
    yield 0.05, 0.2, 1.96, 0.8416
    yield 0.05, 0.1, 1.96, 0.8416
    yield 0.1, 0.3, 1.96, 1.2816
    yield 0.2, 0.25, 2.5758, 0.8416


@size_exercise.trap("Le carré manque : n croît comme 1/δ².")
def _(delta, discordant, z_level, z_power):
    z = z_level * math.sqrt(discordant) + z_power * math.sqrt(discordant - delta**2)
    return math.ceil(z / delta)


@size_exercise.trap("Arrondissez vers le haut : il faut au moins ce nombre.")
def _(delta, discordant, z_level, z_power):
    return sample_size(delta, discordant, z_level, z_power) - 1


@size_exercise.trap("La part de discordantes manque : sans elle, la variance serait 1.")
def _(delta, discordant, z_level, z_power):
    return math.ceil(((z_level + z_power) / delta) ** 2)


@size_exercise.trap("La puissance manque : sans z_power, on manque l’écart une fois sur deux.")
def _(delta, discordant, z_level, z_power):
    return math.ceil((z_level * math.sqrt(discordant) / delta) ** 2)


@size_exercise.variant
def _(delta, discordant, z_level, z_power):
    spread = discordant**0.5, (discordant - delta * delta) ** 0.5
    root = (z_level * spread[0] + z_power * spread[1]) / delta
    return int(root * root) + 1


interval_exercise = Exercise(
    "ex-mesurer-intervalle",
    title="L’intervalle apparié",
    level="moyen",
    minutes=12,
    hints=(
        "La différence d’une question vaut 1, 0 ou -1.",
        "gaps[picks] est (R, n) ; sa moyenne par ligne, (R,).",
        "np.quantile(…, [0.025, 0.975]).",
    ),
)


@interval_exercise.reference
def paired_interval(a, b, picks):
    """Quantiles 2,5 % et 97,5 % de la différence, (2,)."""
    gaps = a.astype(float) - b.astype(float)
    return np.quantile(gaps[picks].mean(axis=1), [0.025, 0.975])


@interval_exercise.cases
def _(rng):
    for n, rounds in ((12, 200), (30, 300), (7, 100)):
        a = rng.random(n) < 0.6
        b = a ^ (rng.random(n) < 0.3)
        yield a, b, rng.integers(0, n, (rounds, n))


@interval_exercise.trap("Les deux modèles doivent être rééchantillonnés ensemble : mêmes questions "
                        "à chaque tirage.")  # fmt: skip
def _(a, b, picks):
    return np.quantile(a[picks].mean(1) - b[picks[::-1]].mean(1), [0.025, 0.975])


@interval_exercise.trap("Des quantiles à 5 % et 95 % font un intervalle à 90 %.")
def _(a, b, picks):
    gaps = a.astype(float) - b.astype(float)
    return np.quantile(gaps[picks].mean(axis=1), [0.05, 0.95])


@interval_exercise.trap("Moyennez sur les questions d’un tirage (axis=1), pas sur les tirages.")
def _(a, b, picks):
    gaps = a.astype(float) - b.astype(float)
    return np.quantile(gaps[picks].mean(axis=0), [0.025, 0.975])


@interval_exercise.trap("Le signe est celui de a moins b.")
def _(a, b, picks):
    gaps = b.astype(float) - a.astype(float)
    return np.quantile(gaps[picks].mean(axis=1), [0.025, 0.975])


@interval_exercise.variant
def _(a, b, picks):
    found = sorted((a[row].sum() - b[row].sum()) / len(row) for row in picks)
    return np.quantile(np.array(found, dtype=float), [0.025, 0.975])
