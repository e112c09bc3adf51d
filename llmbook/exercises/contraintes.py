"""Exercices de la section « Contraindre la forme »."""

from collections import deque

import numpy as np

from llmbook.exercise import Exercise

mask_exercise = Exercise(
    "ex-contraintes-masque",
    title="Masquer",
    level="facile",
    minutes=8,
    hints=(
        "Z est la somme des probabilités permises, avant de renormaliser.",
        "Retirez le plus grand logit avant l’exponentielle.",
    ),
)


@mask_exercise.reference
def mask_law(logits, allowed):
    """logits : (V,) ; allowed : (V,) booléen ; renvoie (loi contrainte (V,), Z)."""
    p = np.exp(logits - logits.max())
    p /= p.sum()
    Z = p[allowed].sum()
    return np.where(allowed, p, 0) / Z, float(Z)


@mask_exercise.cases
def _(rng):
    yield rng.normal(size=5), np.array([True, False, True, True, False])
    yield np.array([2.0, 1.0, 0.0]), np.array([False, True, True])
    yield np.array([1000.0, 999.0, 998.0]), np.array([True, True, False])


@mask_exercise.trap("Mettre un logit à 0 n’interdit rien : e⁰ vaut 1. Mettez la probabilité à 0.")
def _(logits, allowed):
    masked = np.where(allowed, logits, 0.0)
    p = np.exp(masked - masked.max())
    return p / p.sum(), mask_law(logits, allowed)[1]


@mask_exercise.trap("Renormalisez : la loi contrainte doit sommer à 1.")
def _(logits, allowed):
    law, Z = mask_law(logits, allowed)
    return law * Z, Z


@mask_exercise.trap("Z se mesure sur la loi libre ; après le masque, la somme vaut toujours 1.")
def _(logits, allowed):
    return mask_law(logits, allowed)[0], 1.0


@mask_exercise.trap("L’exponentielle déborde pour de grands logits : retirez le maximum.")
def _(logits, allowed):
    with np.errstate(over="ignore", invalid="ignore"):
        p = np.exp(logits) / np.exp(logits).sum()
        return np.where(allowed, p, 0) / p[allowed].sum(), float(p[allowed].sum())


@mask_exercise.variant
def _(logits, allowed):
    high = logits.max()
    log_total = high + np.log(np.exp(logits - high).sum())
    masked = np.where(allowed, logits, -np.inf)
    top = masked.max()
    log_kept = top + np.log(np.exp(masked - top).sum())
    return np.exp(masked - log_kept), float(np.exp(log_kept - log_total))


tokens_exercise = Exercise(
    "ex-contraintes-tokens",
    title="Les tokens permis",
    level="moyen",
    minutes=12,
    hints=(
        "Un token avance l’automate d’autant d’états qu’il a d’octets.",
        "table[état].get(octet) vaut None dans une impasse.",
    ),
)

_NUMBER = [
    {byte: 1 for byte in b"0123456789"},
    {byte: 1 for byte in b"0123456789"} | {ord("."): 2},
    {byte: 1 for byte in b"0123456789"},
]
_VOCABULARY = [b"", b"1", b"12", b".", b"1.", b".5", b"1.5", b"a", b"1a", b"..", b"7.0."]


@tokens_exercise.reference
def permitted(table, state, token_bytes):
    """Renvoie [(token, état d’arrivée), …] pour les tokens permis depuis `state`."""
    found = []
    for token, text in enumerate(token_bytes):
        here = state
        for byte in text:
            here = table[here].get(byte)
            if here is None:
                break
        if text and here is not None:
            found.append((token, here))
    return found


@tokens_exercise.cases
def _(rng):
    for state in range(3):
        yield _NUMBER, state, _VOCABULARY
    yield [{ord("("): 1}, {ord(")"): 0}], 0, [b"(", b")", b"()", b"()(", b"((", b""]


@tokens_exercise.trap("Vérifiez tous les octets : un token peut se bloquer au deuxième.")
def _(table, state, token_bytes):
    return [
        (t, table[state][b[0]]) for t, b in enumerate(token_bytes) if b and b[0] in table[state]
    ]


@tokens_exercise.trap(
    "Chaque octet part de l’état où le précédent a mené, pas de l’état de départ."
)
def _(table, state, token_bytes):
    return [
        (t, table[state][b[-1]])
        for t, b in enumerate(token_bytes)
        if b and all(byte in table[state] for byte in b)
    ]


@tokens_exercise.trap("Un token vide n’écrit rien : permis, il ferait tourner la boucle sans fin.")
def _(table, state, token_bytes):
    empty = [(t, state) for t, b in enumerate(token_bytes) if not b]
    return sorted(permitted(table, state, token_bytes) + empty)


@tokens_exercise.trap(
    "Ne gardez pas que les tokens d’un octet : ceux qui enjambent comptent aussi."
)
def _(table, state, token_bytes):
    return [pair for pair in permitted(table, state, token_bytes) if len(token_bytes[pair[0]]) == 1]


@tokens_exercise.variant
def _(table, state, token_bytes):
    def follow(here, text):
        if not text or here is None:
            return here
        return follow(table[here].get(text[0]), text[1:])

    ends = [(token, follow(state, text)) for token, text in enumerate(token_bytes) if text]
    return [(token, end) for token, end in ends if end is not None]


finish_exercise = Exercise(
    "ex-contraintes-fin",
    title="Combien pour finir ?",
    level="moyen",
    minutes=15,
    hints=(
        "Les états d’arrivée sont à distance 0.",
        "Un parcours en largeur à rebours, depuis tous les états d’arrivée à la fois.",
        "Ou : répétez d = 1 + min des distances suivantes, jusqu’à ce que rien ne change.",
    ),
)


@finish_exercise.reference
def distances(table, final):
    """Nombre minimal d’octets de chaque état à un état de `final` ; -1 si c’est impossible."""
    before = {state: set() for state in range(len(table))}
    for state, edges in enumerate(table):
        for after in edges.values():
            before[after].add(state)
    found, queue = dict.fromkeys(final, 0), deque(final)
    while queue:
        state = queue.popleft()
        for previous in before[state]:
            if previous not in found:
                found[previous] = found[state] + 1
                queue.append(previous)
    return [found.get(state, -1) for state in range(len(table))]


@finish_exercise.cases
def _(rng):
    yield _NUMBER, [1]
    yield [{97: 1, 98: 2}, {97: 3}, {97: 1}, {}], [3]
    yield [{97: 1}, {97: 2}, {97: 0}, {97: 3}, {98: 2}], [2]
    yield [{97: 1, 98: 4}, {97: 2}, {97: 3}, {97: 4}, {}], [4]
    yield [{}, {97: 0}], []


@finish_exercise.trap("Un état sans issue vaut -1 : il faut l’interdire.")
def _(table, final):
    return [max(0, d) for d in distances(table, final)]


@finish_exercise.trap("Une arrivée est à 0 octet, pas 1.")
def _(table, final):
    return [d + 1 if d >= 0 else d for d in distances(table, final)]


@finish_exercise.trap(
    "Vous cherchez depuis le départ : la distance va de chaque état vers l’arrivée."
)
def _(table, final):
    found, queue = {0: 0}, deque([0])
    while queue:
        state = queue.popleft()
        for after in table[state].values():
            if after not in found:
                found[after] = found[state] + 1
                queue.append(after)
    return [found.get(state, -1) for state in range(len(table))]


@finish_exercise.trap("Un chemin n’est pas le plus court : prenez le minimum sur tous les octets.")
def _(table, final):
    def first(state, seen):
        if state in final:
            return 0
        for after in table[state].values():
            if after not in seen and (rest := first(after, seen | {after})) >= 0:
                return rest + 1
        return -1

    return [first(state, {state}) for state in range(len(table))]


@finish_exercise.variant
def _(table, final):
    far = [0 if state in final else np.inf for state in range(len(table))]
    for _ in table:
        far = [min([d, *(far[after] + 1 for after in edges.values())])
               for d, edges in zip(far, table, strict=True)]  # fmt: skip
    return [-1 if d == np.inf else int(d) for d in far]


stack_exercise = Exercise(
    "ex-contraintes-pile",
    title="Refermer",
    level="moyen",
    minutes=15,
    hints=(
        "Un drapeau : dans une chaîne, ou dehors. Une pile : ce qui est ouvert.",
        "Dans une chaîne, sautez le caractère qui suit une barre oblique inverse.",
        "Refermez dans l’ordre inverse de l’ouverture.",
    ),
)


@stack_exercise.reference
def closers(text):
    """Les caractères qui referment chaîne, listes et objets ouverts."""
    stack, in_string, skip = [], False, False
    for character in text:
        if skip:
            skip = False
        elif in_string:
            skip = character == "\\"
            in_string = character != '"'
        elif character == '"':
            in_string = True
        elif character in "[{":
            stack.append("]" if character == "[" else "}")
        elif character in "]}":
            stack.pop()
    return '"' * in_string + "".join(reversed(stack))


@stack_exercise.cases
def _(rng):
    yield '{"a": [1, {"b": "x'
    yield '{"a": 1, "b": [[2], ['
    yield '["]", "}{'
    yield r'["a\"b'
    yield r'{"chemin": "C:\\"'
    yield '{"a": [1]}'


@stack_exercise.trap("On referme dans l’ordre inverse : le dernier ouvert d’abord.")
def _(text):
    full = closers(text)
    quote = '"' * full.startswith('"')
    return quote + full[len(quote) :][::-1]


@stack_exercise.trap("Dans une chaîne, les crochets sont du texte : ils ne comptent pas.")
def _(text):
    stack = []
    for character in text:
        if character in "[{":
            stack.append("]" if character == "[" else "}")
        elif character in "]}" and stack:
            stack.pop()
    return '"' * closers(text).startswith('"') + "".join(reversed(stack))


@stack_exercise.trap("Un guillemet échappé ne ferme pas la chaîne.")
def _(text):
    return closers(text.replace("\\", ""))


@stack_exercise.trap("Fermez d’abord la chaîne, si le texte s’arrête dedans.")
def _(text):
    return closers(text).removeprefix('"')


@stack_exercise.variant
def _(text):
    import re

    outside = re.sub(r'"(\\.|[^"\\])*"', "", text)
    opened, _, _ = outside.partition('"')
    while opened != (shorter := re.sub(r"\[[^][{}]*\]|\{[^][{}]*\}", "", opened)):
        opened = shorter
    ends = {"[": "]", "{": "}"}
    return '"' * ('"' in outside) + "".join(ends[c] for c in reversed(opened) if c in ends)


weights_exercise = Exercise(
    "ex-contraintes-poids",
    title="Peser",
    level="moyen",
    minutes=10,
    hints=("Chaque tirage pèse le produit de ses Z.", "Divisez par le poids total."),
)


@weights_exercise.reference
def reweighted(samples):
    """samples : [(texte, [Z…]), …] ; renvoie {texte: probabilité estimée}."""
    weights = {}
    for text, masses in samples:
        weights[text] = weights.get(text, 0.0) + float(np.prod(masses))
    total = sum(weights.values())
    return {text: weight / total for text, weight in weights.items()}


@weights_exercise.cases
def _(rng):
    yield [("a", [0.5, 1.0]), ("b", [0.5, 0.1]), ("b", [0.5, 0.1]), ("b", [0.5, 0.1])]
    yield [("x", [0.2]), ("x", [0.4]), ("y", [0.3, 0.5])]
    yield [(str(i % 3), list(rng.uniform(0.1, 1, size=4))) for i in range(12)]


def _weighted(samples, weigh):
    weights = {}
    for text, masses in samples:
        weights[text] = weights.get(text, 0.0) + weigh(masses)
    total = sum(weights.values())
    return {text: weight / total for text, weight in weights.items()}


@weights_exercise.trap("Vous comptez les tirages sans les peser : c’est la loi contrainte.")
def _(samples):
    return _weighted(samples, lambda masses: 1.0)


@weights_exercise.trap(
    "Le poids est le produit des Z, pas leur inverse : un texte forcé compte peu."
)
def _(samples):
    return _weighted(samples, lambda masses: 1 / np.prod(masses))


@weights_exercise.trap("Les probabilités se multiplient : le produit des Z, pas leur somme.")
def _(samples):
    return _weighted(samples, sum)


@weights_exercise.trap(
    "Un texte tiré plusieurs fois compte plusieurs fois : additionnez ses poids."
)
def _(samples):
    weights = {text: float(np.prod(masses)) for text, masses in samples}
    total = sum(weights.values())
    return {text: weight / total for text, weight in weights.items()}


@weights_exercise.variant
def _(samples):
    logs = np.array([np.log(masses).sum() for _, masses in samples])
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    texts = [text for text, _ in samples]
    return {text: float(sum(s for t, s in zip(texts, shares, strict=True) if t == text))
            for text in dict.fromkeys(texts)}  # fmt: skip


laws_exercise = Exercise(
    "ex-contraintes-lois",
    title="Les deux lois",
    level="difficile",
    minutes=25,
    hints=(
        "p(x) est un produit : first[x₀] × P[x₀, x₁] × …",
        "Les tokens permis à l’étape t : ceux des suites du langage qui partagent vos t premiers.",
        "Z est la somme des probabilités de ces tokens, chacun compté une fois.",
    ),
)


def _free(first, P, text):
    steps = [first[text[0]], *(P[a, b] for a, b in zip(text, text[1:], strict=False))]
    return float(np.prod(steps))


@laws_exercise.reference
def both_laws(first, P, language):
    """first : (V,) ; P : (V, V) ; language : suites de même longueur. Deux tableaux (N,)."""
    free, local = [], []
    for text in language:
        p, q = 1.0, 1.0
        for t, token in enumerate(text):
            law = first if t == 0 else P[text[t - 1]]
            allowed = {other[t] for other in language if other[:t] == text[:t]}
            p *= law[token]
            q *= law[token] / sum(law[a] for a in allowed)
        free.append(p)
        local.append(q)
    free = np.array(free)
    return free / free.sum(), np.array(local)


@laws_exercise.cases
def _(rng):
    first, P = np.array([0.9, 0.1]), np.array([[0.99, 0.01], [0.5, 0.5]])
    yield first, P, [(0, 1), (1, 0), (1, 1)]
    V = 4
    yield (rng.dirichlet(np.ones(V)), rng.dirichlet(np.ones(V), size=V),
           [(0, 1, 2), (0, 1, 3), (0, 2, 2), (3, 3, 1)])  # fmt: skip


@laws_exercise.trap("La loi contrainte renormalise à chaque pas, avec les tokens permis à ce pas.")
def _(first, P, language):
    conditional, _ = both_laws(first, P, language)
    return conditional, conditional


@laws_exercise.trap("Vous donnez les deux lois dans l’autre ordre : d’abord la conditionnelle.")
def _(first, P, language):
    return both_laws(first, P, language)[::-1]


@laws_exercise.trap(
    "Un token permis compte une fois dans Z, même si plusieurs suites passent par lui."
)
def _(first, P, language):
    local = []
    for text in language:
        q = 1.0
        for t, token in enumerate(text):
            law = first if t == 0 else P[text[t - 1]]
            q *= law[token] / sum(law[o[t]] for o in language if o[:t] == text[:t])
        local.append(q)
    return both_laws(first, P, language)[0], np.array(local)


@laws_exercise.trap(
    "Sont permis les tokens qui prolongent *votre* début, pas tous ceux de cette place."
)
def _(first, P, language):
    local = []
    for text in language:
        q = 1.0
        for t, token in enumerate(text):
            law = first if t == 0 else P[text[t - 1]]
            q *= law[token] / sum(law[a] for a in {other[t] for other in language})
        local.append(q)
    return both_laws(first, P, language)[0], np.array(local)


@laws_exercise.trap("La loi conditionnelle doit sommer à 1 : divisez par P(L).")
def _(first, P, language):
    return np.array([_free(first, P, text) for text in language]), both_laws(first, P, language)[1]


@laws_exercise.variant
def _(first, P, language):
    def local(prefix):
        """Loi des suites du langage qui commencent par prefix."""
        if len(prefix) == len(language[0]):
            return {prefix: 1.0}
        law = P[prefix[-1]] if prefix else first
        following = sorted({tuple(text)[len(prefix)] for text in language
                            if tuple(text)[: len(prefix)] == prefix})  # fmt: skip
        Z, found = sum(law[token] for token in following), {}
        for token in following:
            for text, share in local((*prefix, token)).items():
                found[text] = share * law[token] / Z
        return found

    free = np.array([_free(first, P, text) for text in language])
    bound = local(())
    return free / free.sum(), np.array([bound[tuple(text)] for text in language])
