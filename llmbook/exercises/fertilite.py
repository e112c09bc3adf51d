"""Exercices de la section « Ce que coûte le français »."""

import unicodedata

import numpy as np

from llmbook.exercise import Exercise


def _by_twos(text):
    """Un tokeniseur de poche : deux octets par token."""
    data = text.encode()
    return [data[i : i + 2] for i in range(0, len(data), 2)]


def _letters(text):
    return list(text.replace(" ", ""))


fertility_exercise = Exercise(
    "ex-fertilite-fertilite", title="La fertilité d’un corpus", level="facile", minutes=4,
    hints=("Le numérateur est le nombre total de tokens, le dénominateur celui des mots.",
           "sum(len(encode(text)) for text in texts) compte les tokens."))


@fertility_exercise.reference
def fertility_of(encode, texts):
    """encode : texte -> liste de tokens ; texts : liste de textes ; renvoie des tokens par mot."""
    return sum(len(encode(text)) for text in texts) / sum(len(text.split()) for text in texts)


@fertility_exercise.cases
def _(rng):
    yield _by_twos, ["Qui a laissé la fenêtre ouverte ?", "Oui."]
    yield _letters, ["un token après l’autre", "bibliothèque", "il a plu toute la nuit"]
    yield _by_twos, ["mot", "deux mots ici", "l’été dernier"]


@fertility_exercise.trap("Vous faites la moyenne des fertilités des textes : un texte d’un mot y pèse "
                         "autant qu’un long. Divisez les totaux.")
def _(encode, texts):
    return np.mean([len(encode(text)) / len(text.split()) for text in texts])


@fertility_exercise.trap("C’est l’inverse, des mots par token.")
def _(encode, texts):
    return sum(len(text.split()) for text in texts) / sum(len(encode(text)) for text in texts)


@fertility_exercise.trap("Vous divisez par le nombre de caractères : la fertilité est par mot.")
def _(encode, texts):
    return sum(len(encode(text)) for text in texts) / sum(map(len, texts))


@fertility_exercise.trap("Vous divisez par le nombre de textes : la fertilité est par mot.")
def _(encode, texts):
    return sum(len(encode(text)) for text in texts) / len(texts)


@fertility_exercise.variant
def _(encode, texts):
    tokens = words = 0
    for text in texts:
        tokens, words = tokens + len(encode(text)), words + len(text.split())
    return tokens / words


factors_exercise = Exercise(
    "ex-fertilite-facteurs", title="Trois facteurs", level="moyen", minutes=8,
    hints=("len(text) compte les caractères, len(text.encode()) les octets.",
           "Les octets par token de l’anglais sont au numérateur du troisième facteur.",
           "Le produit des trois doit valoir n_french / n_english."))


@factors_exercise.reference
def three_factors(french, english, n_french, n_english):
    """Caractères, octets par caractère, octets par token : trois rapports, tableau (3,)."""
    characters = len(french) / len(english)
    octets = len(french.encode()) / len(english.encode())
    return np.array([characters, octets / characters, n_french / n_english / octets])


@factors_exercise.cases
def _(rng):
    yield "Où avez-vous garé la voiture ?", "Where did you park the car?", 16, 8
    yield "L’été s’achève déjà.", "Summer is already ending.", 11, 6
    yield "Elle a vingt ans.", "She is twenty.", 5, 5


@factors_exercise.trap("Votre deuxième facteur est le rapport des octets, caractères compris : divisez-le "
                       "par le premier.")
def _(french, english, n_french, n_english):
    octets = len(french.encode()) / len(english.encode())
    return np.array([len(french) / len(english), octets, n_french / n_english / octets])


@factors_exercise.trap("Votre troisième facteur est inversé : plus d’octets par token en anglais fait "
                       "monter la parité.")
def _(french, english, n_french, n_english):
    a, b, c = three_factors(french, english, n_french, n_english)
    return np.array([a, b, 1 / c])


@factors_exercise.trap("Votre troisième facteur est la parité elle-même : il faut en ôter les deux autres.")
def _(french, english, n_french, n_english):
    a, b, _ = three_factors(french, english, n_french, n_english)
    return np.array([a, b, n_french / n_english])


@factors_exercise.trap("Vous avez échangé les deux langues.")
def _(french, english, n_french, n_english):
    return three_factors(english, french, n_english, n_french)


@factors_exercise.variant
def _(french, english, n_french, n_english):
    sizes = [(len(t), len(bytes(t, "utf-8")), n)
             for t, n in ((french, n_french), (english, n_english))]
    (c1, o1, n1), (c2, o2, n2) = sizes
    return np.array([c1 / c2, (o1 / c1) / (o2 / c2), (o2 / n2) / (o1 / n1)])


interval_exercise = Exercise(
    "ex-fertilite-intervalle", title="L’intervalle d’une parité", level="moyen", minutes=10,
    hints=("n_fr[draws] a la forme de draws, (B, S).",
           "Une parité par tirage : un rapport de sommes sur les phrases.",
           "np.quantile(values, (0.025, 0.975))"))


@interval_exercise.reference
def parity_interval(n_fr, n_en, draws):
    """n_fr, n_en : (S,) ; draws : (B, S) ; renvoie (bas, haut)."""
    values = n_fr[draws].sum(axis=1) / n_en[draws].sum(axis=1)
    return np.quantile(values, (0.025, 0.975))


@interval_exercise.cases
def _(rng):
    for size in (12, 30):
        n_en = rng.integers(4, 25, size=size)
        n_fr = np.round(n_en * rng.uniform(1, 1.9, size=size)).astype(int)
        yield n_fr, n_en, rng.integers(0, size, size=(400, size))


@interval_exercise.trap("C’est la moyenne des parités des phrases : la parité est un rapport de sommes.")
def _(n_fr, n_en, draws):
    return np.quantile((n_fr / n_en)[draws].mean(axis=1), (0.025, 0.975))


@interval_exercise.trap("Les deux langues doivent être tirées ensemble : une phrase garde sa traduction.")
def _(n_fr, n_en, draws):
    values = n_fr[draws].sum(axis=1) / n_en[np.roll(draws, 1, axis=0)].sum(axis=1)
    return np.quantile(values, (0.025, 0.975))


@interval_exercise.trap("Ce sont les quantiles à 5 % et 95 % : il reste 90 % entre eux.")
def _(n_fr, n_en, draws):
    return np.quantile(n_fr[draws].sum(axis=1) / n_en[draws].sum(axis=1), (0.05, 0.95))


@interval_exercise.trap("Vous prenez les quantiles des phrases, non ceux des tirages : c’est la dispersion "
                        "des phrases, bien plus large.")
def _(n_fr, n_en, draws):
    return np.quantile(n_fr / n_en, (0.025, 0.975))


@interval_exercise.trap("Vous avez sommé sur les tirages : la somme va sur les phrases, axis=1.")
def _(n_fr, n_en, draws):
    return np.quantile(n_fr[draws].sum(axis=0) / n_en[draws].sum(axis=0), (0.025, 0.975))


@interval_exercise.variant
def _(n_fr, n_en, draws):
    values = [sum(n_fr[i] for i in draw) / sum(n_en[i] for i in draw) for draw in draws]
    return np.percentile(values, [2.5, 97.5])


clean_exercise = Exercise(
    "ex-fertilite-nettoyer", title="Nettoyer sans abîmer", level="facile", minutes=6,
    hints=("unicodedata.normalize connaît quatre formes ; une seule compose sans rien simplifier.",
           "Deux appels à replace suffisent pour les espaces."))


@clean_exercise.reference
def clean(text):
    """Le texte composé (NFC), avec des espaces ordinaires."""
    text = unicodedata.normalize("NFC", text)
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@clean_exercise.cases
def _(rng):
    yield unicodedata.normalize("NFD", "L’élève a mangé\u202f: où ça\u202f?")
    yield "«\u00a0Cœur\u00a0» à 3 m² et 12\u202f000 €\nl’ﬁn"
    yield "  déjà\tcomposé\u00a0!\n\n"


@clean_exercise.trap("NFKC simplifie aussi : « ² » devient « 2 », et une ligature de typographe se défait. "
                     "Prenez NFC.")
def _(text):
    return unicodedata.normalize("NFKC", text)


@clean_exercise.trap("C’est la forme décomposée, celle dont on veut se défaire.")
def _(text):
    text = unicodedata.normalize("NFD", text)
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@clean_exercise.trap("Vous retirez les accents : il faut les recomposer.")
def _(text):
    letters = unicodedata.normalize("NFD", text)
    letters = "".join(c for c in letters if not unicodedata.combining(c))
    return letters.replace("\u00a0", " ").replace("\u202f", " ")


@clean_exercise.trap("split() et join rassemblent tous les blancs, retours à la ligne compris : ne changez "
                     "que les deux espaces insécables.")
def _(text):
    return " ".join(unicodedata.normalize("NFC", text).split())


@clean_exercise.trap("Vous supprimez les espaces insécables : remplacez-les par une espace ordinaire.")
def _(text):
    return unicodedata.normalize("NFC", text).replace("\u00a0", "").replace("\u202f", "")


@clean_exercise.trap("Il reste les espaces insécables : la forme NFC ne les change pas.")
def _(text):
    return unicodedata.normalize("NFC", text)


@clean_exercise.variant
def _(text):
    spaces = str.maketrans("\u00a0\u202f", "  ")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text)).translate(spaces)


window_exercise = Exercise(
    "ex-fertilite-fenetre", title="Combien de phrases dans la fenêtre ?", level="moyen", minutes=8,
    hints=("La place est window - prompt - answer.",
           "np.cumsum(counts + 1) donne la place prise par les premières phrases.",
           "Une phrase qui remplit exactement la place tient."))


@window_exercise.reference
def sentences_that_fit(counts, window, prompt, answer):
    """counts : (S,) tokens de chaque phrase ; renvoie un nombre de phrases."""
    room = window - prompt - answer
    return int((np.cumsum(counts + 1) <= room).sum())


@window_exercise.cases
def _(rng):
    yield np.array([9, 19, 4, 30]), 100, 30, 35
    yield np.array([9, 19, 4, 30]), 40, 20, 25
    yield rng.integers(5, 30, size=60), 700, 120, 150
    yield np.array([3, 3]), 100, 5, 5


@window_exercise.trap("Le token de fin de ligne de chaque phrase manque.")
def _(counts, window, prompt, answer):
    return int((np.cumsum(counts) <= window - prompt - answer).sum())


@window_exercise.trap("La réponse a besoin de place elle aussi : elle sera coupée.")
def _(counts, window, prompt, answer):
    return int((np.cumsum(counts + 1) <= window - prompt).sum())


@window_exercise.trap("Une phrase qui remplit exactement la place tient : ≤, non <.")
def _(counts, window, prompt, answer):
    return int((np.cumsum(counts + 1) < window - prompt - answer).sum())


@window_exercise.trap("Vous choisissez les phrases les plus courtes : il faut les premières, dans l’ordre.")
def _(counts, window, prompt, answer):
    return int((np.cumsum(np.sort(counts) + 1) <= window - prompt - answer).sum())


@window_exercise.trap("Vous divisez la place par la longueur moyenne : comptez les phrases une à une.")
def _(counts, window, prompt, answer):
    return int(max(0, window - prompt - answer) // (counts.mean() + 1))


@window_exercise.variant
def _(counts, window, prompt, answer):
    room, fitting = window - prompt - answer, 0
    for n in counts:
        room -= n + 1
        if room < 0:
            break
        fitting += 1
    return fitting


class _Parity:
    """Une parité décroissante, qui compte ses appels : elle coûte un entraînement à chaque fois."""

    def __init__(self, start, end, power):
        self.start, self.end, self.power, self.calls = start, end, power, 0

    def __call__(self, share):
        self.calls += 1
        return self.end + (self.start - self.end) * (1 - share) ** self.power

    def __repr__(self):
        return f"parité de {self.start} à {self.end}"


def _call(answer, parity_of, target):
    fresh = _Parity(parity_of.start, parity_of.end, parity_of.power)
    share = answer(fresh, target)
    return share if fresh.calls <= 12 else f"{fresh.calls} appels"


share_exercise = Exercise(
    "ex-fertilite-part", title="La part qui met à égalité", level="difficile", minutes=25,
    rtol=0, atol=1.5e-3, call=_call,
    hints=("Douze appels ne suffisent pas à une grille : coupez l’intervalle en deux.",
           "Les deux bornes prennent deux appels, il en reste dix : 1/2¹⁰ < 0,001.",
           "La parité décroît : si elle est encore au-dessus de la cible, il faut plus de français."))


@share_exercise.reference
def share_for(parity_of, target):
    """parity_of : part -> parité, décroissante ; renvoie la part, entre 0 et 1."""
    if parity_of(0.0) <= target:
        return 0.0
    if parity_of(1.0) > target:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        if parity_of(middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@share_exercise.cases
def _(rng):
    yield _Parity(2.0, 0.7, 3), 1.0
    yield _Parity(2.0, 0.7, 1), 1.3
    yield _Parity(0.9, 0.6, 2), 1.0
    yield _Parity(2.0, 1.2, 2), 1.1


def _bisect(parity_of, target, steps=10, downward=True):
    if parity_of(0.0) <= target:
        return 0.0
    if parity_of(1.0) > target:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        if (parity_of(middle) > target) == downward:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@share_exercise.trap("La dichotomie part du mauvais côté : la parité décroît quand la part croît.")
def _(parity_of, target):
    return _bisect(parity_of, target, downward=False)


@share_exercise.trap("Trop d’appels : chacun entraîne un tokeniseur. Une dichotomie en demande douze.")
def _(parity_of, target):
    grid = np.linspace(0, 1, 1001)
    return next((s for s in grid if parity_of(s) <= target), 1.0)


@share_exercise.trap("Une droite entre les deux bouts suppose la parité linéaire : elle tombe bien plus "
                     "vite au début.")
def _(parity_of, target):
    start, end = parity_of(0.0), parity_of(1.0)
    return float(np.clip((start - target) / (start - end), 0, 1))


@share_exercise.trap("np.interp demande des abscisses croissantes, et la parité décroît : retournez les "
                     "deux tableaux. Une grille de douze points serait de toute façon trop grossière.")
def _(parity_of, target):
    grid = np.linspace(0, 1, 12)
    return float(np.interp(target, [parity_of(s) for s in grid], grid))


@share_exercise.variant
def _(parity_of, target):
    if parity_of(0.0) <= target:
        return 0.0
    low, width = 0.0, 1.0
    for _ in range(11):
        width /= 2
        if parity_of(low + width) > target:
            low += width
    return low + width / 2
