"""Exercices de la section « Nombres et tokens orphelins »."""

import numpy as np

from llmbook.exercise import Exercise

groups_exercise = Exercise(
    "ex-pieges-groupes", title="Grouper par la droite", level="facile", minutes=6,
    hints=("Le premier groupe est plus court si len(digits) n’est pas un multiple de size.",
           "digits[max(0, end - size):end], pour end qui recule de size en size, puis l’ordre inverse."))


@groups_exercise.reference
def from_right(digits, size):
    """digits : texte de chiffres ; renvoie les groupes, de gauche à droite."""
    head = len(digits) % size
    groups = [digits[:head]] if head else []
    return groups + [digits[i : i + size] for i in range(head, len(digits), size)]


@groups_exercise.cases
def _(rng):
    yield "1234567", 3
    yield "100200", 3
    yield "10034", 2
    yield "7", 3


@groups_exercise.trap("Vous groupez par la gauche : le groupe incomplet doit être le premier.")
def _(digits, size):
    return [digits[i : i + size] for i in range(0, len(digits), size)]


@groups_exercise.trap("L’ordre est inversé : on demande les groupes de gauche à droite.")
def _(digits, size):
    return from_right(digits, size)[::-1]


@groups_exercise.trap("Ne complétez pas par des zéros : « 7 » et « 007 » sont deux tokens différents.")
def _(digits, size):
    padded = digits.zfill(-(-len(digits) // size) * size)
    return [padded[i : i + size] for i in range(0, len(padded), size)]


@groups_exercise.trap("Vos groupes sont des entiers : « 003 » devient 3, et le texte est perdu.")
def _(digits, size):
    return [int(group) for group in from_right(digits, size)]


@groups_exercise.trap("Il y a un groupe vide en tête quand la longueur est un multiple de size.")
def _(digits, size):
    head = len(digits) % size
    return [digits[:head]] + [digits[i : i + size] for i in range(head, len(digits), size)]


@groups_exercise.variant
def _(digits, size):
    backwards = digits[::-1]
    return [backwards[i : i + size][::-1] for i in range(0, len(digits), size)][::-1]


never_exercise = Exercise(
    "ex-pieges-jamais", title="Les tokens jamais lus", level="facile", minutes=4,
    hints=("np.bincount compte chaque numéro.", "minlength=V donne aussi leur zéro aux derniers."))


@never_exercise.reference
def never_seen(ids, V):
    """ids : (N,) numéros d’un corpus ; renvoie les numéros absents, croissants."""
    return np.flatnonzero(np.bincount(ids, minlength=V) == 0)


@never_exercise.cases
def _(rng):
    yield np.array([0, 2, 2, 5]), 8
    yield rng.integers(3, 30, size=25), 32
    yield np.arange(6), 6


@never_exercise.trap("Les derniers numéros manquent : bincount s’arrête au plus grand qu’il a vu. Donnez "
                     "minlength=V.")
def _(ids, V):
    return np.flatnonzero(np.bincount(ids) == 0)


@never_exercise.trap("Ce sont les tokens vus : on demande les autres.")
def _(ids, V):
    return np.unique(ids)


@never_exercise.trap("Ce sont les tokens vus une seule fois.")
def _(ids, V):
    return np.flatnonzero(np.bincount(ids, minlength=V) == 1)


@never_exercise.trap("Vous renvoyez leur nombre : on demande lesquels.")
def _(ids, V):
    return int((np.bincount(ids, minlength=V) == 0).sum())


@never_exercise.variant
def _(ids, V):
    return np.setdiff1d(np.arange(V), ids)


indicator_exercise = Exercise(
    "ex-pieges-indicateur", title="L’indicateur", level="moyen", minutes=10,
    hints=("Moyennez d’abord les plongements des tokens connus pour inutilisés.",
           "Le cosinus divise le produit scalaire par les deux normes."))


@indicator_exercise.reference
def orphan_indicator(embeddings, unused):
    """embeddings : (V, C) ; unused : liste de numéros ; renvoie (V,), petit pour un orphelin."""
    u = embeddings[unused].mean(axis=0)
    return 1 - embeddings @ u / (np.linalg.norm(embeddings, axis=1) * np.linalg.norm(u))


@indicator_exercise.cases
def _(rng):
    for V, C in ((9, 4), (20, 8)):
        embeddings = rng.normal(size=(V, C))
        embeddings[:3] = rng.normal(size=C) * 2 + rng.normal(size=(3, C)) * 0.4
        yield embeddings, [0, 1, 2]


@indicator_exercise.trap("C’est la norme : des poids partagés repoussent les tokens jamais vus, leur norme "
                         "n’est pas petite.")
def _(embeddings, unused):
    return np.linalg.norm(embeddings, axis=1)


@indicator_exercise.trap("C’est la distance euclidienne : prenez l’angle.")
def _(embeddings, unused):
    return np.linalg.norm(embeddings - embeddings[unused].mean(axis=0), axis=1)


@indicator_exercise.trap("Vous comparez à la moyenne de tous les tokens : la référence est celle des "
                         "tokens inutilisés.")
def _(embeddings, unused):
    return orphan_indicator(embeddings, range(len(embeddings)))


@indicator_exercise.trap("C’est le cosinus : l’indicateur est 1 moins lui, petit pour un orphelin.")
def _(embeddings, unused):
    return 1 - orphan_indicator(embeddings, unused)


@indicator_exercise.trap("Vous moyennez les cosinus : moyennez d’abord les plongements.")
def _(embeddings, unused):
    return np.mean([orphan_indicator(embeddings, [i]) for i in unused], axis=0)


@indicator_exercise.variant
def _(embeddings, unused):
    from scipy.spatial.distance import cdist

    return cdist(embeddings, embeddings[unused].mean(axis=0)[None], "cosine")[:, 0]


byte_exercise = Exercise(
    "ex-pieges-octet", title="La loi de l’octet suivant", level="moyen", minutes=10,
    hints=("Chaque token apporte sa probabilité à son premier octet.",
           "token[0] est un entier entre 0 et 255.",
           "np.add.at(law, first_bytes, p) ajoute même si un indice est répété."))


@byte_exercise.reference
def byte_law(p, tokens):
    """p : (V,) loi du token suivant ; tokens : octets de chacun ; renvoie (256,)."""
    law = np.zeros(256)
    np.add.at(law, [token[0] for token in tokens], p)
    return law


_TOKENS = [b"a", b" a", b" ", b"an", " é".encode(), "é".encode(), b"\n", b" an"]


@byte_exercise.cases
def _(rng):
    yield rng.dirichlet(np.ones(8)), _TOKENS
    yield rng.dirichlet(np.full(8, 0.3)), _TOKENS


@byte_exercise.trap("law[indices] += p n’ajoute qu’une fois par indice répété : prenez np.add.at ou une "
                    "boucle.")
def _(p, tokens):
    law = np.zeros(256)
    law[[token[0] for token in tokens]] += p
    return law


@byte_exercise.trap("Vous ne gardez que les tokens d’un seul octet : tous ont un premier octet.")
def _(p, tokens):
    law = np.zeros(256)
    for q, token in zip(p, tokens, strict=True):
        law[token[0]] += q * (len(token) == 1)
    return law


@byte_exercise.trap("Vous avez pris le dernier octet de chaque token.")
def _(p, tokens):
    law = np.zeros(256)
    np.add.at(law, [token[-1] for token in tokens], p)
    return law


@byte_exercise.trap("Vous partagez la probabilité d’un token entre tous ses octets : l’octet suivant est "
                    "le premier.")
def _(p, tokens):
    law = np.zeros(256)
    for q, token in zip(p, tokens, strict=True):
        for byte in token:
            law[byte] += q / len(token)
    return law


@byte_exercise.variant
def _(p, tokens):
    return np.bincount([token[0] for token in tokens], weights=p, minlength=256)


heal_exercise = Exercise(
    "ex-pieges-recul", title="Reculer d’un token", level="difficile", minutes=20,
    hints=("Retirez le dernier numéro, gardez ses octets.",
           "Un token convient si ses octets commencent par ceux du token retiré.",
           "np.where(allowed, logits, -np.inf).argmax()"))


@heal_exercise.reference
def healed_token(ids, tokens, logits_after):
    """ids : amorce ; tokens : octets ; logits_after(ids) : (V,). Renvoie le token qui remplace ids[-1]."""
    removed = tokens[ids[-1]]
    allowed = np.array([token.startswith(removed) for token in tokens])
    return int(np.where(allowed, logits_after(ids[:-1]), -np.inf).argmax())


class _Logits:
    """Des logits de poche, qui ne dépendent que du dernier token."""

    def __init__(self, table):
        self.table = table

    def __call__(self, ids):
        return self.table[ids[-1]]


_VOCABULARY = [b"<", b" ", b" re", b" return", b" r", b"return", b"e", b"re"]


@heal_exercise.cases
def _(rng):
    fixed = np.zeros((8, 8))
    fixed[0] = [9, 1, 2, 5, 3, 8, 7, 0]
    fixed[1] = [1, 2, 3, 4, 0, 9, 5, 8]
    fixed[4] = [-8, -5, 1, 7, 3, -4, 2, -2]
    fixed[2] = [0, 9, 5, 1, 2, 3, 4, 6]
    yield [0, 1], _VOCABULARY, _Logits(fixed)
    yield [0, 4], _VOCABULARY, _Logits(fixed)
    yield [0, 4, 7], _VOCABULARY, _Logits(fixed)
    yield [0, 2], _VOCABULARY, _Logits(fixed)


@heal_exercise.trap("Vous lisez encore le token retiré : les logits se prennent après ids[:-1].")
def _(ids, tokens, logits_after):
    allowed = np.array([token.startswith(tokens[ids[-1]]) for token in tokens])
    return int(np.where(allowed, logits_after(ids), -np.inf).argmax())


@heal_exercise.trap("Sans contrainte, le texte de l’utilisateur peut disparaître : n’autorisez que les "
                    "tokens qui commencent par lui.")
def _(ids, tokens, logits_after):
    return int(logits_after(ids[:-1]).argmax())


@heal_exercise.trap("Le sens est inversé : c’est le token choisi qui commence par le texte retiré.")
def _(ids, tokens, logits_after):
    removed = tokens[ids[-1]]
    allowed = np.array([removed.startswith(token) for token in tokens])
    return int(np.where(allowed, logits_after(ids[:-1]), -np.inf).argmax())


@heal_exercise.trap("Vous excluez le token retiré lui-même : il est permis, c’est parfois le bon.")
def _(ids, tokens, logits_after):
    removed = tokens[ids[-1]]
    allowed = np.array([token.startswith(removed) and token != removed for token in tokens])
    return int(np.where(allowed, logits_after(ids[:-1]), -np.inf).argmax())


@heal_exercise.trap("Un logit multiplié par zéro n’est pas interdit, il vaut zéro, parfois plus que les "
                    "autres : mettez −∞.")
def _(ids, tokens, logits_after):
    allowed = np.array([token.startswith(tokens[ids[-1]]) for token in tokens])
    return int((allowed * logits_after(ids[:-1])).argmax())


@heal_exercise.variant
def _(ids, tokens, logits_after):
    *before, last = ids
    logits = logits_after(before)
    fitting = [i for i, token in enumerate(tokens) if token[: len(tokens[last])] == tokens[last]]
    return max(fitting, key=lambda i: logits[i])


sum_exercise = Exercise(
    "ex-pieges-somme", title="Additionner par groupes", level="moyen", minutes=15,
    hints=("Alignez par la droite : retournez les deux listes, complétez la plus courte par des zéros.",
           "divmod(x + y + carry, base) donne la retenue et le groupe.",
           "Une dernière retenue ajoute un groupe en tête."))


@sum_exercise.reference
def add_groups(a, b, base):
    """a, b : groupes en base `base`, du plus fort au plus faible ; renvoie ceux de la somme."""
    size, carry, out = max(len(a), len(b)), 0, []
    for k in range(size):
        x = a[-1 - k] if k < len(a) else 0
        y = b[-1 - k] if k < len(b) else 0
        carry, group = divmod(x + y + carry, base)
        out.append(group)
    return ([carry] if carry else []) + out[::-1]


@sum_exercise.cases
def _(rng):
    yield [1, 998], [2], 1000
    yield [999, 999], [1], 1000
    yield [12, 345, 678], [987, 654], 1000
    yield [9, 9], [9, 9], 10


def _plain(a, b, base, carrying=True, last=True):
    size, carry, out = max(len(a), len(b)), 0, []
    a, b = [0] * (size - len(a)) + a, [0] * (size - len(b)) + b
    for x, y in zip(reversed(a), reversed(b), strict=True):
        carry, group = divmod(x + y + carry * carrying, base)
        out.append(group)
    return ([carry] if carry and last else []) + out[::-1]


@sum_exercise.trap("La retenue manque : elle passe au groupe de gauche.")
def _(a, b, base):
    return _plain(a, b, base, carrying=False)


@sum_exercise.trap("La dernière retenue est perdue : elle ajoute un groupe en tête.")
def _(a, b, base):
    return _plain(a, b, base, last=False)


@sum_exercise.trap("Vous alignez par la gauche : les unités doivent être sous les unités.")
def _(a, b, base):
    size = max(len(a), len(b))
    return _plain(a + [0] * (size - len(a)), b + [0] * (size - len(b)), base)


@sum_exercise.trap("Un groupe doit rester plus petit que la base : gardez le reste, passez la retenue.")
def _(a, b, base):
    size = max(len(a), len(b))
    a, b = [0] * (size - len(a)) + a, [0] * (size - len(b)) + b
    return [x + y for x, y in zip(a, b, strict=True)]


@sum_exercise.trap("Les groupes sont rendus du plus faible au plus fort : retournez la liste.")
def _(a, b, base):
    return _plain(a, b, base)[::-1]


@sum_exercise.variant
def _(a, b, base):
    total = sum(x * base**k for groups in (a, b) for k, x in enumerate(reversed(groups)))
    out = []
    while total:
        total, group = divmod(total, base)
        out.insert(0, group)
    return out
