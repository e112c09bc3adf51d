"""Exercices de la section « Des données écrites, composées, vérifiées »."""

import math
import re

import numpy as np

from llmbook.exercise import Exercise

seen_exercise = Exercise(
    "ex-qualite-vues",
    title="La part déjà vue",
    level="facile",
    minutes=5,
    hints=(
        "Un ensemble des clés d’apprentissage rend la recherche immédiate.",
        "Comptez les enregistrements de test, répétitions comprises.",
        "sum(key in known for key in test_keys)",
    ),
)


@seen_exercise.reference
def seen_share(train_keys, test_keys):
    """Part des enregistrements de test dont la clé est à l’apprentissage."""
    known = set(train_keys)
    return sum(key in known for key in test_keys) / len(test_keys) if test_keys else 0.0


@seen_exercise.cases
def _(rng):
    yield ["a", "b", "b"], ["b", "c", "b", "d"]
    yield ["a"], []
    yield ["a", "b"], ["a", "b", "a"]
    yield [f"k{k}" for k in rng.integers(0, 30, 40)], [f"k{k}" for k in rng.integers(0, 30, 25)]


@seen_exercise.trap("Comptez des enregistrements, pas des clés distinctes : une clé peut revenir.")
def _(train_keys, test_keys):
    found = set(test_keys)
    return len(found & set(train_keys)) / len(found) if found else 0.0


@seen_exercise.trap("Divisez par le nombre d’enregistrements de test, pas d’apprentissage.")
def _(train_keys, test_keys):
    return sum(key in set(train_keys) for key in test_keys) / len(train_keys)


@seen_exercise.trap("Un test vide n’a rien vu : renvoyez 0.")
def _(train_keys, test_keys):
    return seen_share(train_keys, test_keys) if test_keys else math.nan


@seen_exercise.trap("Vous renvoyez la part jamais vue : c’est le complément.")
def _(train_keys, test_keys):
    return 1 - seen_share(train_keys, test_keys) if test_keys else 0.0


@seen_exercise.variant
def _(train_keys, test_keys):
    return float(np.isin(test_keys, train_keys).mean()) if len(test_keys) else 0.0


windows_exercise = Exercise(
    "ex-qualite-fenetres",
    title="Des suites de mots en commun",
    level="moyen",
    minutes=12,
    hints=(
        r"re.findall(r'\w+', text.lower()) donne les mots.",
        "Les suites de n mots d’un texte : tuple(words[i : i + n]).",
        "Mettez toutes celles de train dans un ensemble, puis cherchez-y celles de test.",
    ),
)


def _runs(text, n, lower=True):
    words = re.findall(r"\w+", text.lower() if lower else text)
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@windows_exercise.reference
def contaminated(train, test, n):
    """Rangs des textes de test qui ont n mots de suite en commun avec un texte de train."""

    def runs(text):
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    known = set().union(*(runs(text) for text in train))
    return [rank for rank, text in enumerate(test) if runs(text) & known]


@windows_exercise.cases
def _(rng):
    yield (
        ["Que renvoie la fonction len ?", "Écris une fonction somme(a, b)."],
        [
            "QUE RENVOIE LA max",
            "elle renvoie, la fonction",
            "somme de a et b",
            "Écris une fonction",
        ],
        3,
    )
    yield ["a b c d e"], ["x b c d y", "e d c b a", "a b x c d", "b c"], 3
    yield ["un deux", "trois quatre"], ["un deux trois", "deux trois", "quatre"], 2
    yield [], ["rien à voir ici"], 2


@windows_exercise.trap("La casse ne compte pas : passez tout en minuscules.")
def _(train, test, n):
    known = set().union(*(_runs(text, n, lower=False) for text in train))
    return [rank for rank, text in enumerate(test) if _runs(text, n, lower=False) & known]


@windows_exercise.trap("Des mots communs ne suffisent pas : ils doivent se suivre, dans l’ordre.")
def _(train, test, n):
    bags = [set(re.findall(r"\w+", text.lower())) for text in train]
    return [
        rank
        for rank, text in enumerate(test)
        if any(len(bag & set(re.findall(r"\w+", text.lower()))) >= n for bag in bags)
    ]


@windows_exercise.trap(
    "Vous joignez les textes de train : une suite ne va pas de la fin de l’un au début de l’autre."
)
def _(train, test, n):
    known = _runs(" ".join(train), n)
    return [rank for rank, text in enumerate(test) if _runs(text, n) & known]


@windows_exercise.trap(
    "La ponctuation n’interrompt pas une suite : « renvoie, la », ce sont deux mots qui se suivent."
)
def _(train, test, n):
    def runs(text):
        words = text.lower().split()
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    known = set().union(*(runs(text) for text in train))
    return [rank for rank, text in enumerate(test) if runs(text) & known]


@windows_exercise.variant
def _(train, test, n):
    flat = [" " + " ".join(re.findall(r"\w+", text.lower())) + " " for text in train]
    found = []
    for rank, text in enumerate(test):
        words = re.findall(r"\w+", text.lower())
        pieces = [" " + " ".join(words[i : i + n]) + " " for i in range(len(words) - n + 1)]
        if any(piece in whole for piece in pieces for whole in flat):
            found.append(rank)
    return found


execute_exercise = Exercise(
    "ex-qualite-executer",
    title="Les fausses d’un lot, par exécution",
    level="moyen",
    minutes=10,
    hints=(
        "eval(expression) calcule, repr(...) donne ce que l’interpréteur affiche.",
        "Comparez des textes : `1` et `1.0` sont égaux, et ne s’affichent pas pareil.",
        "try / except Exception : une expression qui échoue rend la réponse fausse.",
    ),
)


@execute_exercise.reference
def wrong_answers(lot):
    """Rangs des réponses qui ne sont pas ce que l’interpréteur afficherait."""
    wrong = []
    for rank, (expression, answer) in enumerate(lot):
        try:
            right = repr(eval(expression)) == answer.strip()
        except Exception:
            right = False
        if not right:
            wrong.append(rank)
    return wrong


@execute_exercise.cases
def _(rng):
    yield [("1 + 1", "2"), ("'ab'.upper()", "'AB'"), ("3 / 1", "3"), ("len('abc')", " 3 ")]
    yield [("'a'", "a"), ("[1, 2]", "[1,2]"), ("1 == 1.0", "1"), ("{}", "{}")]
    yield [("1 / 0", "0"), ("int('x')", "ValueError"), ("max([4, 2])", "4")]
    yield [("sorted('cab')", "['a', 'b', 'c']"), ("'b' in 'abc'", "False")]


@execute_exercise.trap(
    "Comparez des textes, pas des valeurs : 3.0 et 3 sont égaux sans s’écrire pareil."
)
def _(lot):
    wrong = []
    for rank, (expression, answer) in enumerate(lot):
        try:
            right = eval(expression) == eval(answer.strip())
        except Exception:
            right = False
        if not right:
            wrong.append(rank)
    return wrong


@execute_exercise.trap("L’interpréteur affiche repr, pas str : une chaîne a ses guillemets.")
def _(lot):
    wrong = []
    for rank, (expression, answer) in enumerate(lot):
        try:
            right = str(eval(expression)) == answer.strip()
        except Exception:
            right = False
        if not right:
            wrong.append(rank)
    return wrong


@execute_exercise.trap(
    "Une expression qui lève une exception rend la réponse fausse : ne la sautez pas."
)
def _(lot):
    wrong = []
    for rank, (expression, answer) in enumerate(lot):
        try:
            if repr(eval(expression)) != answer.strip():
                wrong.append(rank)
        except Exception:
            continue
    return wrong


@execute_exercise.trap("Les espaces des bords de la réponse ne comptent pas : strip().")
def _(lot):
    wrong = []
    for rank, (expression, answer) in enumerate(lot):
        try:
            right = repr(eval(expression)) == answer
        except Exception:
            right = False
        if not right:
            wrong.append(rank)
    return wrong


@execute_exercise.variant
def _(lot):
    def shown(expression):
        try:
            return repr(eval(compile(expression, "lot", "eval"), {}))
        except Exception:
            return None

    return [rank for rank, (e, a) in enumerate(lot) if shown(e) != a.strip()]


suspects_exercise = Exercise(
    "ex-qualite-suspectes",
    title="Les suspectes d’un lot, par la perte",
    level="moyen",
    minutes=10,
    hints=(
        "Calculez d’abord la médiane de chaque famille.",
        "np.median(losses[familles == f]) ; retirez-la à chaque exemple de la famille.",
        "np.argsort(-écarts, kind='stable')[:k] donne les rangs, du plus grand écart au plus petit.",
    ),
)


@suspects_exercise.reference
def suspects(losses, families, k):
    """losses : (N,) ; families : N noms. Renvoie k rangs."""
    names = np.asarray(families)
    median = {name: np.median(losses[names == name]) for name in set(families)}
    gaps = losses - np.array([median[name] for name in families])
    return np.argsort(-gaps, kind="stable")[:k].tolist()


@suspects_exercise.cases
def _(rng):
    yield np.array([1.0, 1.1, 3.0, 5.0, 5.2, 5.1]), ["a", "a", "a", "b", "b", "b"], 2
    yield np.array([0.1, 0.12, 0.11, 9.0, 0.3, 0.2]), ["a", "a", "a", "a", "b", "b"], 3
    yield np.array([2.0, 2.5, 9.9, 10.0, 2.1]), ["x", "x", "y", "y", "x"], 1
    losses = rng.gamma(2, 1, 24) + np.repeat([0, 4, 8], 8)
    yield losses, list(np.repeat(["a", "b", "c"], 8)), 5


@suspects_exercise.trap("Un classement global ne trouve que la famille la plus difficile.")
def _(losses, families, k):
    return np.argsort(-losses, kind="stable")[:k].tolist()


@suspects_exercise.trap(
    "Vous retirez la moyenne : une fausse très surprenante la tire vers elle, pas la médiane."
)
def _(losses, families, k):
    names = np.asarray(families)
    gaps = losses - np.array([losses[names == name].mean() for name in families])
    return np.argsort(-gaps, kind="stable")[:k].tolist()


@suspects_exercise.trap("Commencez par la plus suspecte : le plus grand écart d’abord.")
def _(losses, families, k):
    return suspects(losses, families, k)[::-1] if k > 1 else suspects(losses, families, 2)[1:]


@suspects_exercise.trap("Seules les pertes trop grandes sont suspectes, pas les trop petites.")
def _(losses, families, k):
    names = np.asarray(families)
    gaps = losses - np.array([np.median(losses[names == name]) for name in families])
    return np.argsort(gaps, kind="stable")[:k].tolist()


@suspects_exercise.variant
def _(losses, families, k):
    groups = {}
    for loss, family in zip(losses, families, strict=True):
        groups.setdefault(family, []).append(loss)
    middle = {}
    for family, values in groups.items():
        values, half = sorted(values), len(values) // 2
        middle[family] = values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
    ranks = sorted(range(len(losses)), key=lambda r: -(losses[r] - middle[families[r]]))
    return ranks[:k]


equivalent_exercise = Exercise(
    "ex-qualite-equivalent",
    title="Ce que valent des exemples bruités",
    level="moyen",
    minutes=12,
    hints=(
        "Hors de [clean[0], clean[-1]], renvoyez nan.",
        "Cherchez i tel que clean[i] <= a <= clean[i + 1].",
        "sizes[i] * (sizes[i + 1] / sizes[i]) ** ((a - clean[i]) / (clean[i + 1] - clean[i]))",
    ),
)


@equivalent_exercise.reference
def clean_equivalent(a, sizes, clean):
    """Exemples propres qui donnent le score a ; sizes, clean : (K,), croissants."""
    if not clean[0] <= a <= clean[-1]:
        return math.nan
    i = next(i for i in range(len(clean) - 1) if a <= clean[i + 1])
    step = (a - clean[i]) / (clean[i + 1] - clean[i])
    return sizes[i] * (sizes[i + 1] / sizes[i]) ** step


@equivalent_exercise.cases
def _(rng):
    sizes, clean = [50, 200, 800, 3200], [0.08, 0.19, 0.39, 0.54]
    for a in (0.08, 0.12, 0.19, 0.3, 0.5, 0.54, 0.05, 0.6):
        yield a, sizes, clean
    yield 0.5, [10, 1000], [0.0, 1.0]


@equivalent_exercise.trap("Interpolez en logarithme de la taille : les tailles vont par facteurs.")
def _(a, sizes, clean):
    return float(np.interp(a, clean, sizes)) if clean[0] <= a <= clean[-1] else math.nan


@equivalent_exercise.trap("Hors des mesures, on n’extrapole pas : renvoyez nan.")
def _(a, sizes, clean):
    return float(np.exp(np.interp(a, clean, np.log(sizes))))


@equivalent_exercise.trap("Prenez les deux tailles qui encadrent le score, pas la plus proche.")
def _(a, sizes, clean):
    if not clean[0] <= a <= clean[-1]:
        return math.nan
    return sizes[int(np.abs(np.asarray(clean) - a).argmin())]


@equivalent_exercise.trap(
    "Une seule droite ne passe pas par tous les points : restez entre deux voisins."
)
def _(a, sizes, clean):
    if not clean[0] <= a <= clean[-1]:
        return math.nan
    return sizes[0] * (sizes[-1] / sizes[0]) ** ((a - clean[0]) / (clean[-1] - clean[0]))


@equivalent_exercise.variant
def _(a, sizes, clean):
    if a < clean[0] or a > clean[-1]:
        return float("nan")
    return float(2 ** np.interp(a, clean, np.log2(sizes)))
