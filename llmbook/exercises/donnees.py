"""Exercices de la section « Du texte aux lots »."""

import hashlib
import re

import numpy as np

from llmbook.exercise import Exercise

shift_exercise = Exercise(
    "ex-donnees-decalage", title="Entrées et cibles", level="facile", minutes=6,
    hints=("La suite qui part de s occupe les places s à s + T - 1 ; sa cible, s + 1 à s + T.",
           "starts[:, None] + np.arange(T) donne toutes les places d’un coup, (B, T)."))


@shift_exercise.reference
def make_batch(stream, starts, T):
    """stream : (N,) ; starts : (B,) ; renvoie deux tableaux (B, T)."""
    places = starts[:, None] + np.arange(T)
    return stream[places], stream[places + 1]


@shift_exercise.cases
def _(rng):
    yield np.arange(12) ** 2, np.array([0, 4]), 3
    yield rng.integers(0, 500, size=40), np.array([31, 2, 2, 17]), 8
    yield rng.integers(0, 500, size=10), np.array([8]), 1


def _rows(stream, starts, T, shift=0):
    return np.stack([stream[s + shift : s + shift + T] for s in starts])


@shift_exercise.trap("Les cibles sont les entrées : le modèle apprendrait à recopier. Décalez d’un token.")
def _(stream, starts, T):
    return _rows(stream, starts, T), _rows(stream, starts, T)


@shift_exercise.trap("Vous décalez de T : la cible de chaque position est le token suivant, non la suite "
                     "suivante.")
def _(stream, starts, T):
    places = (starts[:, None] + np.arange(T)) % len(stream)
    return stream[places], stream[(places + T) % len(stream)]


@shift_exercise.trap("np.roll ramène le premier token à la fin : la dernière cible est fausse. "
                     "Il faut lire T + 1 tokens.")
def _(stream, starts, T):
    inputs = _rows(stream, starts, T)
    return inputs, np.roll(inputs, -1, axis=1)


@shift_exercise.trap("Vous lisez T tokens en tout : les suites n’en ont plus que T - 1. Lisez-en T + 1.")
def _(stream, starts, T):
    rows = _rows(stream, starts, T)
    return rows[:, :-1], rows[:, 1:]


@shift_exercise.trap("Entrées et cibles sont échangées : la cible vient après.")
def _(stream, starts, T):
    inputs, targets = make_batch(stream, starts, T)
    return targets, inputs


@shift_exercise.trap("Vous avez pris des suites consécutives : elles partent des places de starts.")
def _(stream, starts, T):
    places = np.arange(len(starts) * T).reshape(len(starts), T) % (len(stream) - 1)
    return stream[places], stream[places + 1]


@shift_exercise.variant
def _(stream, starts, T):
    every = np.lib.stride_tricks.sliding_window_view(stream, T + 1)[starts]
    return every[:, :T].copy(), every[:, 1:].copy()


budget_exercise = Exercise(
    "ex-donnees-budget", title="Combien de relectures ?", level="facile", minutes=4,
    hints=("Le corpus compte n_bytes / bytes_per_token tokens.",
           "Divisez les tokens voulus par ceux du corpus."))


@budget_exercise.reference
def epochs_needed(parameters, n_bytes, bytes_per_token, ratio):
    """Nombre de lectures du corpus."""
    return parameters * ratio / (n_bytes / bytes_per_token)


@budget_exercise.cases
def _(rng):
    yield 1e6, 40e6, 2.0, 20
    yield 5.5e6, 2.1e6, 3.5, 20
    yield 3e5, 9e6, 2.7, 100


@budget_exercise.trap("Vous comptez des octets : convertissez le corpus en tokens.")
def _(parameters, n_bytes, bytes_per_token, ratio):
    return parameters * ratio / n_bytes


@budget_exercise.trap("Un token vaut plusieurs octets : le corpus a moins de tokens que d’octets. Divisez "
                      "par bytes_per_token.")
def _(parameters, n_bytes, bytes_per_token, ratio):
    return parameters * ratio / (n_bytes * bytes_per_token)


@budget_exercise.trap("C’est la fraction du besoin que couvre une lecture ; on demande son inverse.")
def _(parameters, n_bytes, bytes_per_token, ratio):
    return n_bytes / bytes_per_token / (parameters * ratio)


@budget_exercise.trap("C’est le nombre de tokens à lire : divisez par ceux du corpus.")
def _(parameters, n_bytes, bytes_per_token, ratio):
    return parameters * ratio


@budget_exercise.trap("Le ratio multiplie les paramètres : vous avez oublié, ou divisé par lui.")
def _(parameters, n_bytes, bytes_per_token, ratio):
    return parameters / (n_bytes / bytes_per_token)


@budget_exercise.trap("Le nombre d’époques peut être fractionnaire : n’arrondissez pas.")
def _(parameters, n_bytes, bytes_per_token, ratio):
    return int(np.ceil(parameters * ratio * bytes_per_token / n_bytes))


@budget_exercise.variant
def _(parameters, n_bytes, bytes_per_token, ratio):
    return np.exp(np.log([parameters, ratio, bytes_per_token]).sum() - np.log(n_bytes))


split_exercise = Exercise(
    "ex-donnees-repartir", title="Répartir des fichiers", level="moyen", minutes=12,
    hints=("La clé : name.split('/')[0].",
           "hashlib.blake2b(key.encode(), digest_size=8).digest() donne 8 octets.",
           "int.from_bytes(digest, 'big') / 2**64 est dans [0, 1)."))


@split_exercise.reference
def held_files(names, share):
    """Chemins retenus, dans leur ordre."""

    def fraction(key):
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    return [name for name in names if fraction(name.split("/")[0]) < share]


def _paths(packages, each):
    return [f"paquet{i}/module{j}.py" for j in range(each) for i in range(packages)]


@split_exercise.cases
def _(rng):
    yield _paths(12, 3), 0.3
    yield [*_paths(25, 2), "seul.py", "autre.py"], 0.5
    yield _paths(40, 1), 0.1


def _digest(key, size=8, order="big", hasher=hashlib.blake2b):
    return int.from_bytes(hasher(key.encode(), digest_size=size).digest(), order) / 2 ** (8 * size)


@split_exercise.trap("Vous hachez le chemin entier : deux fichiers d’un même paquet peuvent être séparés.")
def _(names, share):
    return [name for name in names if _digest(name) < share]


@split_exercise.trap("Ce sont les fichiers laissés à l’apprentissage : on retient ceux dont la fraction "
                     "est inférieure à share.")
def _(names, share):
    return [name for name in names if _digest(name.split("/")[0]) >= share]


@split_exercise.trap("Vous prenez le début de la liste : tout ajout en tête change le test. Le sort d’un "
                     "fichier ne dépend que de sa clé.")
def _(names, share):
    return names[: int(share * len(names))]


@split_exercise.trap("Les octets sont lus en petit-boutiste ; l’énoncé demande gros-boutiste (« big »).")
def _(names, share):
    return [name for name in names if _digest(name.split("/")[0], order="little") < share]


@split_exercise.trap("Vous hachez le nom du fichier sans son paquet : la clé est ce qui précède le « / ».")
def _(names, share):
    return [name for name in names if _digest(name.split("/")[-1]) < share]


@split_exercise.trap("L’empreinte a une autre longueur : digest_size=8, et les octets changent tous avec "
                     "elle.")
def _(names, share):
    return [name for name in names if _digest(name.split("/")[0], size=64) < share]


@split_exercise.trap("On demande les fichiers, non les paquets retenus.")
def _(names, share):
    return sorted({name.split("/")[0] for name in names if _digest(name.split("/")[0]) < share})


@split_exercise.trap("C’est un mélange à graine fixée : un fichier de plus, et presque tout change "
                     "de côté.")
def _(names, share):
    chosen = np.random.default_rng(0).permutation(len(names))[: int(share * len(names))]
    return [names[i] for i in sorted(chosen)]


@split_exercise.variant
def _(names, share):
    from llmbook.corpus import split

    return split(names, (share, 1 - share), key=lambda name: name.partition("/")[0])[0]


window_exercise = Exercise(
    "ex-donnees-fenetres", title="Ce que le test doit à l’apprentissage", level="moyen", minutes=12,
    hints=("Une fenêtre est un tuple : tuple(words[i : i + n]), pour i de 0 à len(words) - n compris.",
           "Deux ensembles, leur intersection, et la taille de celui du test."))


@window_exercise.reference
def contained(test, train, n):
    """Part des fenêtres différentes de test présentes dans train."""

    def windows(text):
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    ours = windows(test)
    return len(ours & windows(train)) / len(ours) if ours else 0.0


@window_exercise.cases
def _(rng):
    yield "un deux trois quatre", "zéro un deux trois", 2
    yield "for x in items: use(x) for x in items: drop(x)", "# FOR x in items, use(y)", 3
    vocabulary = np.array("def return self value if else name x".split())
    text = " ".join(vocabulary[rng.integers(0, 8, size=60)])
    yield text, text[40:200] + " + ".join(vocabulary[rng.integers(0, 8, size=40)]), 3
    yield "trop court", "trop court pour treize mots", 13
    yield "a b c d e", "e d c b a", 2


def _windows(text, n, lower=True, last=1):
    words = re.findall(r"\w+", text.lower() if lower else text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + last)]


def _share(part, whole):
    return len(part) / len(whole) if len(whole) else 0.0


@window_exercise.trap("Vous divisez par les fenêtres de train : on demande la part de test.")
def _(test, train, n):
    a, b = set(_windows(test, n)), set(_windows(train, n))
    return _share(a & b, b)


@window_exercise.trap("C’est la ressemblance (Jaccard), divisée par l’union : un long train la rendrait "
                      "minuscule. Divisez par les fenêtres de test.")
def _(test, train, n):
    a, b = set(_windows(test, n)), set(_windows(train, n))
    return _share(a & b, a | b)


@window_exercise.trap("La dernière fenêtre manque : i va jusqu’à len(words) - n compris.")
def _(test, train, n):
    a, b = set(_windows(test, n, last=0)), set(_windows(train, n, last=0))
    return _share(a & b, a)


@window_exercise.trap("Vous comparez des mots isolés : l’ordre doit compter. Une fenêtre est une suite de "
                      "n mots.")
def _(test, train, n):
    a, b = set(_windows(test, 1)), set(_windows(train, 1))
    return _share(a & b, a)


@window_exercise.trap("Les minuscules manquent : une copie dont la casse change vous échappe.")
def _(test, train, n):
    a, b = set(_windows(test, n, lower=False)), set(_windows(train, n, lower=False))
    return _share(a & b, a)


@window_exercise.trap("Vous comptez les répétitions : on demande les fenêtres différentes, un ensemble.")
def _(test, train, n):
    a, b = _windows(test, n), set(_windows(train, n))
    return _share([w for w in a if w in b], a)


@window_exercise.trap("La ponctuation reste collée aux mots avec split() : employez "
                      "re.findall(r'\\w+', …).")
def _(test, train, n):
    def cut(text):
        words = text.lower().split()
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    return _share(cut(test) & cut(train), cut(test))


@window_exercise.trap("Ce sont des fenêtres de caractères : découpez d’abord en mots.")
def _(test, train, n):
    def cut(text):
        return {text.lower()[i : i + n] for i in range(len(text) - n + 1)}

    return _share(cut(test) & cut(train), cut(test))


@window_exercise.variant
def _(test, train, n):
    """Des textes plutôt que des tuples, cherchés dans le corpus entier."""
    joined = " " + " ".join(re.findall(r"\w+", train.lower())) + " "
    words = re.findall(r"\w+", test.lower())
    ours = {" ".join(words[i : i + n]) for i in range(max(0, len(words) - n + 1))}
    return float(np.mean([f" {window} " in joined for window in ours])) if ours else 0.0


mask_exercise = Exercise(
    "ex-donnees-masque", title="Le masque des documents", level="moyen", minutes=12,
    hints=("Numérotez les documents : le numéro augmente après chaque fin, pas sur elle.",
           "np.cumsum(ids == fin) - (ids == fin) compte les fins déjà passées.",
           "Égalité des numéros, et j ≤ i : np.tri(T, dtype=bool)."))


@mask_exercise.reference
def attention_mask(ids, fin):
    """ids : (T,) ; renvoie un masque booléen (T, T)."""
    is_fin = ids == fin
    number = np.cumsum(is_fin) - is_fin  # fins avant chaque position
    return (number[:, None] == number[None, :]) & np.tri(len(ids), dtype=bool)


@mask_exercise.cases
def _(rng):
    yield np.array([5, 7, 0, 4, 4, 0, 9]), 0
    yield rng.integers(0, 4, size=12), 0
    yield np.array([3, 3, 8, 8, 1]), 8
    yield np.array([5, 6, 7]), 0


@mask_exercise.trap("<|fin|> appartient au document qu’il termine : le numéro augmente après lui.")
def _(ids, fin):
    number = np.cumsum(ids == fin)
    return (number[:, None] == number[None, :]) & np.tri(len(ids), dtype=bool)


@mask_exercise.trap("La causalité manque : la position i ne regarde pas les suivantes.")
def _(ids, fin):
    number = np.cumsum(ids == fin) - (ids == fin)
    return number[:, None] == number[None, :]


@mask_exercise.trap("C’est le masque causal seul : rien n’empêche de regarder le document précédent.")
def _(ids, fin):
    return np.tri(len(ids), dtype=bool)


@mask_exercise.trap("Votre masque est transposé : en [i, j], i regarde et j est regardé, j ≤ i.")
def _(ids, fin):
    return attention_mask(ids, fin).T


@mask_exercise.trap("Une position se regarde elle-même : la diagonale est vraie.")
def _(ids, fin):
    return attention_mask(ids, fin) & ~np.eye(len(ids), dtype=bool)


@mask_exercise.trap("Le masque est inversé : vrai veut dire « peut regarder ».")
def _(ids, fin):
    return ~attention_mask(ids, fin)


@mask_exercise.trap("Vous comparez les tokens eux-mêmes, non les numéros de documents.")
def _(ids, fin):
    return (ids[:, None] == ids[None, :]) & np.tri(len(ids), dtype=bool)


@mask_exercise.variant
def _(ids, fin):
    """Document par document, un triangle par bloc."""
    mask, start = np.zeros((len(ids), len(ids)), dtype=bool), 0
    for end in [*(np.flatnonzero(ids == fin) + 1), len(ids)]:
        mask[start:end, start:end] = np.tri(end - start, dtype=bool)
        start = end
    return mask


resume_exercise = Exercise(
    "ex-donnees-reprise", title="La suite numéro m, sans mémoire", level="difficile", minutes=20,
    hints=("divmod(m, N // T) donne l’époque et le rang dans l’époque.",
           "Les deux tirages se font dans cet ordre : offset = rng.integers(N), puis "
           "rng.permutation(N // T).",
           "Le corpus est un cercle : (offset + order[rang] * T) % N."))


@resume_exercise.reference
def start_of(m, N, T, seed):
    """Point de départ de la suite m, dans [0, N)."""
    epoch, index = divmod(m, N // T)
    rng = np.random.default_rng([seed, epoch])
    offset, order = rng.integers(N), rng.permutation(N // T)
    return int((offset + order[index] * T) % N)


@resume_exercise.cases
def _(rng):
    for m in (0, 5, 9, 10, 47, 123):
        yield m, 103, 10, 3
    yield 31, 1000, 64, 0
    yield 1, 50, 7, 11


def _drawn(seed, N, T):
    rng = np.random.default_rng(seed)
    return int(rng.integers(N)), rng.permutation(N // T)


@resume_exercise.trap("Toutes les époques ont le même ordre : la graine est [seed, époque].")
def _(m, N, T, seed):
    offset, order = _drawn([seed, 0], N, T)
    return int((offset + order[m % (N // T)] * T) % N)


@resume_exercise.trap("Le reste manque : une suite peut franchir le bout du corpus, qui est un "
                      "cercle (% N).")
def _(m, N, T, seed):
    epoch, index = divmod(m, N // T)
    offset, order = _drawn([seed, epoch], N, T)
    return int(offset + order[index] * T)


@resume_exercise.trap("Le décalage de l’époque manque : les coupures seraient toujours les mêmes.")
def _(m, N, T, seed):
    epoch, index = divmod(m, N // T)
    _, order = _drawn([seed, epoch], N, T)
    return int(order[index] * T)


@resume_exercise.trap("La permutation est tirée avant le décalage : l’ordre des tirages compte.")
def _(m, N, T, seed):
    epoch, index = divmod(m, N // T)
    rng = np.random.default_rng([seed, epoch])
    order, offset = rng.permutation(N // T), rng.integers(N)
    return int((offset + order[index] * T) % N)


@resume_exercise.trap("order[index] est un numéro de suite : multipliez par T pour avoir une place.")
def _(m, N, T, seed):
    epoch, index = divmod(m, N // T)
    offset, order = _drawn([seed, epoch], N, T)
    return int((offset + order[index]) % N)


@resume_exercise.trap("Les suites passent dans l’ordre du corpus : la permutation ne sert pas.")
def _(m, N, T, seed):
    epoch, index = divmod(m, N // T)
    offset, _ = _drawn([seed, epoch], N, T)
    return int((offset + index * T) % N)


@resume_exercise.trap("seed + époque n’est pas [seed, époque] : l’époque 1 de la graine 0 serait "
                      "l’époque 0 de la graine 1.")
def _(m, N, T, seed):
    epoch, index = divmod(m, N // T)
    offset, order = _drawn(seed + epoch, N, T)
    return int((offset + order[index] * T) % N)


@resume_exercise.variant
def _(m, N, T, seed):
    from llmbook.batches import Batches

    return int(Batches(np.arange(N), 1, T, seed=seed).at(m)[0][0, 0])
