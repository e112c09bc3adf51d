"""Exercices de la section « Prompt, recherche ou affinage »."""

import math
import re
from collections import Counter

from llmbook.exercise import Exercise

baseline_exercise = Exercise(
    "ex-choisir-repere",
    title="Le repère",
    level="facile",
    minutes=4,
    hints=(
        "La réponse se choisit sur train, et se juge sur test.",
        "Counter(train).most_common(1)[0][0] rend la plus fréquente, la première à égalité.",
    ),
)


@baseline_exercise.reference
def majority_accuracy(train, test):
    """Exactitude, sur test, de la réponse la plus fréquente de train."""
    common = Counter(train).most_common(1)[0][0]
    return sum(answer == common for answer in test) / len(test)


@baseline_exercise.cases
def _(rng):
    yield ["None", "0", "None"], ["0", "0", "None", "True"]
    yield ["0", "True", "True", "0"], ["0", "0", "True"]
    yield ["a"], ["b", "c"]
    yield ["None"] * 3 + ["1"], ["None", "1", "1", "1", "None"]


@baseline_exercise.trap(
    "Vous choisissez la réponse sur test : un repère n’a pas le droit de le regarder."
)
def _(train, test):
    return Counter(test).most_common(1)[0][1] / len(test)


@baseline_exercise.trap("Vous jugez sur train : c’est la part de la réponse à l’apprentissage.")
def _(train, test):
    return Counter(train).most_common(1)[0][1] / len(train)


@baseline_exercise.trap("Divisez par le nombre de questions de test.")
def _(train, test):
    common = Counter(train).most_common(1)[0][0]
    return sum(answer == common for answer in test) / len(train)


@baseline_exercise.variant
def _(train, test):
    common = max(dict.fromkeys(train), key=train.count)
    return test.count(common) / len(test)


balanced_exercise = Exercise(
    "ex-choisir-equilibre",
    title="Chaque réponse compte autant",
    level="facile",
    minutes=8,
    hints=(
        "Groupez les questions par réponse attendue.",
        "Une exactitude par groupe, puis la moyenne des exactitudes.",
    ),
)


@balanced_exercise.reference
def balanced_accuracy(given, expected):
    """Moyenne, sur les réponses attendues, de la part de questions réussies."""
    groups = {}
    for a, e in zip(given, expected, strict=True):
        groups.setdefault(e, []).append(a == e)
    return sum(sum(g) / len(g) for g in groups.values()) / len(groups)


@balanced_exercise.cases
def _(rng):
    yield ["None"] * 5, ["None", "None", "None", "0", "True"]
    yield ["a", "b", "b", "c"], ["a", "b", "a", "b"]
    yield ["x", "y"], ["x", "y"]
    yield ["0", "0", "1", "2", "2", "0"], ["0", "1", "1", "2", "0", "0"]


@balanced_exercise.trap(
    "C’est l’exactitude ordinaire : la réponse fréquente y pèse autant qu’elle est fréquente."
)
def _(given, expected):
    return sum(a == e for a, e in zip(given, expected, strict=True)) / len(expected)


@balanced_exercise.trap(
    "Vous groupez par réponse donnée : c’est une précision. Groupez par réponse attendue."
)
def _(given, expected):
    return balanced_accuracy(expected, given)


@balanced_exercise.trap("Vous comptez aussi les réponses données que personne n’attendait.")
def _(given, expected):
    return balanced_accuracy(given, expected) * len(set(expected)) / len({*given, *expected})


@balanced_exercise.variant
def _(given, expected):
    count = Counter(expected)
    total = sum(1 / count[e] for a, e in zip(given, expected, strict=True) if a == e)
    return total / len(count)


table_exercise = Exercise(
    "ex-choisir-table",
    title="La table des noms",
    level="moyen",
    minutes=10,
    hints=(
        "Un Counter par nom, et un pour toutes les réponses.",
        "Counter.most_common garde l’ordre d’arrivée à égalité.",
        "table.get(nom, toutes).most_common(1)[0][0]",
    ),
)


@table_exercise.reference
def by_name(pairs, names):
    """Réponse la plus fréquente de chaque nom ; de tous les exemples s’il est inconnu."""
    table, everyone = {}, Counter()
    for name, answer in pairs:
        table.setdefault(name, Counter())[answer] += 1
        everyone[answer] += 1
    return [table.get(name, everyone).most_common(1)[0][0] for name in names]


@table_exercise.cases
def _(rng):
    pairs = [
        ("timeout", "None"),
        ("errors", "'strict'"),
        ("timeout", "0"),
        ("timeout", "0"),
        ("encoding", "None"),
        ("data", "None"),
        ("errors", "None"),
    ]
    yield pairs, ["timeout", "errors", "encoding", "couleur"]
    yield [("a", "1"), ("b", "2")], ["b", "z", "a"]
    yield [("a", "1"), ("a", "2"), ("a", "2"), ("b", "1"), ("c", "1")], ["a", "b", "d"]
    yield [("n", "0"), ("n", "1"), ("m", "1")], ["n", "x"]


@table_exercise.trap("Un nom inconnu reçoit la réponse la plus fréquente de toutes, pas None.")
def _(pairs, names):
    known = {name for name, _ in pairs}
    return [a if n in known else None for n, a in zip(names, by_name(pairs, names), strict=True)]


@table_exercise.trap(
    "Vous gardez la dernière réponse vue de chaque nom : gardez la plus fréquente."
)
def _(pairs, names):
    last = dict(pairs)
    return [last.get(n, a) for n, a in zip(names, by_name(pairs, names), strict=True)]


@table_exercise.trap("Vous répondez toujours la plus fréquente : c’est le repère majoritaire.")
def _(pairs, names):
    return [Counter(answer for _, answer in pairs).most_common(1)[0][0]] * len(names)


@table_exercise.trap("À égalité, la première rencontrée l’emporte.")
def _(pairs, names):
    return by_name(pairs[::-1], names)


@table_exercise.variant
def _(pairs, names):
    found = []
    for name in names:
        seen = [a for n, a in pairs if n == name] or [a for _, a in pairs]
        found.append(max(dict.fromkeys(seen), key=seen.count))
    return found


recall_exercise = Exercise(
    "ex-choisir-rappel",
    title="Le rappel de la réponse",
    level="moyen",
    minutes=15,
    hints=(
        "re.escape protège les parenthèses et les points d’une réponse.",
        r"(?<!\w) et (?!\w) interdisent une lettre, un chiffre ou un tiret bas avant et après.",
        "Un seul des k premiers passages suffit : any.",
    ),
)


@recall_exercise.reference
def answer_recall(ranked, expected, k):
    """Part des questions dont un des k premiers passages contient la réponse, mot entier."""
    found = 0
    for passages, answer in zip(ranked, expected, strict=True):
        pattern = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
        found += any(pattern.search(passage) for passage in passages[:k])
    return found / len(expected)


@recall_exercise.cases
def _(rng):
    ranked = [["f(a=10, b=None)", "g(a=1)"], ["h(x=())", "k()"], ["m(n=Nonesuch)", "m(n=None)"]]
    yield ranked, ["1", "()", "None"], 1
    yield ranked, ["1", "()", "None"], 2
    yield [["p(q='r')"], ["p(q='rb')"]], ["'r'", "'r'"], 1
    yield [["f(x=1.5)"], ["f(x=125)"]], ["1.5", "1.5"], 3
    yield [["f(v_1=0)"], ["f(v=1)"]], ["1", "1"], 1


@recall_exercise.trap("« 1 » n’est pas dans « 10 » : cherchez la réponse comme mot entier.")
def _(ranked, expected, k):
    hits = [any(a in p for p in passages[:k]) for passages, a in zip(ranked, expected, strict=True)]
    return sum(hits) / len(hits)


@recall_exercise.trap("Regardez les k premiers passages, pas seulement le premier.")
def _(ranked, expected, k):
    return answer_recall(ranked, expected, 1)


@recall_exercise.trap("Vous regardez tous les passages : seuls les k premiers seront lus.")
def _(ranked, expected, k):
    return answer_recall(ranked, expected, None)


@recall_exercise.trap(
    r"\b demande une lettre d’un côté : « () » n’en a pas. Employez (?<!\w) et (?!\w)."
)
def _(ranked, expected, k):
    hits = [
        any(re.search(rf"\b{re.escape(a)}\b", p) for p in passages[:k])
        for passages, a in zip(ranked, expected, strict=True)
    ]
    return sum(hits) / len(hits)


@recall_exercise.trap("Le point d’une réponse est un point : protégez-la par re.escape.")
def _(ranked, expected, k):
    hits = []
    for passages, a in zip(ranked, expected, strict=True):
        pattern = re.escape(a).replace(r"\.", ".")
        hits.append(any(re.search(rf"(?<!\w){pattern}(?!\w)", p) for p in passages[:k]))
    return sum(hits) / len(hits)


def _whole(passage, answer):
    start = passage.find(answer)
    while start >= 0:
        around = passage[max(0, start - 1) : start] + passage[start + len(answer) :][:1]
        if not any(c.isalnum() or c == "_" for c in around):
            return True
        start = passage.find(answer, start + 1)
    return False


@recall_exercise.variant
def _(ranked, expected, k):
    pairs = list(zip(ranked, expected, strict=True))
    return sum(any(_whole(p, a) for p in passages[:k]) for passages, a in pairs) / len(pairs)


key_exercise = Exercise(
    "ex-choisir-cle",
    title="Couper par clé",
    level="moyen",
    minutes=12,
    hints=(
        "dict.fromkeys(keys) donne les clés différentes, dans l’ordre d’apparition.",
        "Comptez combien d’enregistrements a chaque clé avant de la faire passer.",
        "Une clé passe si le test compte encore moins de count enregistrements.",
    ),
)


@key_exercise.reference
def split_by_key(keys, count):
    """Vrai pour les enregistrements de test : des clés entières, jusqu’à count au moins."""
    sizes, chosen, size = Counter(keys), set(), 0
    for key in dict.fromkeys(keys):
        if size >= count:
            break
        chosen.add(key)
        size += sizes[key]
    return [key in chosen for key in keys]


@key_exercise.cases
def _(rng):
    yield ["a", "b", "a", "c", "b", "d"], 3
    yield ["a", "b", "a", "c"], 2
    yield ["x", "y", "z"], 0
    yield ["x", "x", "x", "y"], 1
    yield [str(rng.integers(6)) for _ in range(20)], 7


@key_exercise.trap(
    "Vous coupez au milieu d’une clé : ses autres enregistrements restent à "
    "l’apprentissage, et le test fuit."
)
def _(keys, count):
    return [i < count for i in range(len(keys))]


@key_exercise.trap(
    "Vous prenez une clé de trop : dès que le test a count enregistrements, arrêtez."
)
def _(keys, count):
    chosen = split_by_key(keys, count)
    rest = next((k for k, c in zip(keys, chosen, strict=True) if not c), None)
    return [c or k == rest for k, c in zip(keys, chosen, strict=True)]


@key_exercise.trap("count est un nombre d’enregistrements, non de clés.")
def _(keys, count):
    chosen = set(list(dict.fromkeys(keys))[:count])
    return [key in chosen for key in keys]


@key_exercise.trap("Prenez les clés dans l’ordre de leur première apparition, non triées.")
def _(keys, count):
    sizes, chosen, size = Counter(keys), set(), 0
    for key in sorted(sizes, reverse=True):
        if size < count:
            chosen.add(key)
            size += sizes[key]
    return [key in chosen for key in keys]


@key_exercise.variant
def _(keys, count):
    first, marks = {}, []
    for key in keys:
        first.setdefault(key, len(first))
    before = [sum(first[k] < rank for k in keys) for rank in range(len(first))]
    for key in keys:
        marks.append(before[first[key]] < count)
    return marks


break_exercise = Exercise(
    "ex-choisir-seuil",
    title="Quand l’affinage s’amortit-il ?",
    level="difficile",
    minutes=20,
    hints=(
        "La question se paie dans les deux cas : elle ne compte pas.",
        "Après n questions, le préfixe a coûté prefix (1 + (n - 1) cached).",
        "Il faut que ce coût dépasse strictement tuning ; si cached vaut 0, il ne croît plus.",
    ),
)


@break_exercise.reference
def break_even(prefix, question, cached, tuning):
    """Plus petit nombre de questions après lequel l’affinage est moins cher ; -1 sinon."""
    if prefix > tuning:
        return 1
    if prefix * cached == 0:
        return -1
    return math.floor((tuning - prefix) / (prefix * cached)) + 2


@break_exercise.cases
def _(rng):
    yield 300, 40, 1.0, 54_000
    yield 300, 40, 0.25, 54_000
    yield 256, 10, 0.125, 5_000
    yield 100, 10, 0.0, 1_000
    yield 100, 10, 0.5, 50
    yield 100, 10, 0.5, 100
    yield 0, 10, 1.0, 100


@break_exercise.trap("La question se paie aussi après l’affinage : elle s’annule des deux côtés.")
def _(prefix, question, cached, tuning):
    return break_even(prefix + question, 0, cached, tuning)


@break_exercise.trap("Vous oubliez le cache : à partir de la deuxième, le préfixe coûte cached.")
def _(prefix, question, cached, tuning):
    return break_even(prefix, question, 1.0, tuning)


@break_exercise.trap("La première question lit le préfixe au plein tarif.")
def _(prefix, question, cached, tuning):
    if prefix * cached == 0:
        return -1
    return math.floor(tuning / (prefix * cached)) + 1


@break_exercise.trap("Strictement moins cher : à égalité, il faut une question de plus.")
def _(prefix, question, cached, tuning):
    if prefix >= tuning:
        return 1
    if prefix * cached == 0:
        return -1
    return math.ceil((tuning - prefix) / (prefix * cached)) + 1


@break_exercise.variant
def _(prefix, question, cached, tuning):
    paid, n = question + prefix, 1
    while paid <= tuning + n * question:
        if not prefix * cached:
            return -1
        n, paid = n + 1, paid + question + prefix * cached
    return n
