# ruff: noqa: B905 (des solutions courtes, comme on les écrit)
"""Trente tâches écrites une à une, sans schéma : elles montrent où un petit modèle échoue.

Une tâche est une vraie fonction : `task` reçoit sa consigne, puis les arguments de chaque test.
"""

from datetime import date, timedelta

TASKS = []


def task(instruction: str, *inputs: list):
    """Range la fonction décorée parmi les tâches ; `{sig}` devient « nom(arguments) »."""

    def keep(function):
        TASKS.append((function, instruction, list(inputs)))
        return function

    return keep


@task(
    "Écris une fonction `{sig}` qui dit si n est un nombre premier.",
    [1],
    [2],
    [9],
    [29],
    [91],
)
def est_premier(n):
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


@task(
    "Écris `{sig}` : la fonction renvoie la liste des n premiers nombres de Fibonacci, en "
    "partant de 0 et 1.",
    [0],
    [1],
    [2],
    [8],
)
def fibonacci(n):
    a, b, suite = 0, 1, []
    for _ in range(n):
        suite.append(a)
        a, b = b, a + b
    return suite


@task(
    "Définis `{sig}`, qui compte les étapes de la suite de Syracuse pour aller de n à 1 : "
    "n / 2 si n est pair, 3 n + 1 sinon.",
    [1],
    [6],
    [8],
    [27],
)
def syracuse(n):
    etapes = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        etapes += 1
    return etapes


@task(
    "Écrivez une fonction `{sig}` qui écrit en chiffres romains un entier de 1 à 39.",
    [1],
    [4],
    [9],
    [14],
    [38],
)
def romain(n):
    unites = " I II III IV V VI VII VIII IX".split(" ")
    return "X" * (n // 10) + unites[n % 10]


@task(
    "Écris une fonction `{sig}` qui dit si les parenthèses du texte sont bien équilibrées.",
    ["(a)(b)"],
    ["(()"],
    [")("],
    ["f(g(x), y)"],
    ["(a))"],
)
def parentheses(texte):
    niveau = 0
    for c in texte:
        niveau += (c == "(") - (c == ")")
        if niveau < 0:
            return False
    return niveau == 0


@task(
    "J’ai une liste triée d’entiers : écris `{sig}` pour la résumer en couples (début, "
    "fin) de suites d’entiers consécutifs.",
    [[1, 2, 3, 7, 8, 10]],
    [[5]],
    [[1, 3, 5]],
    [[2, 3, 4, 5]],
)
def plages(nombres):
    plages = []
    for x in nombres:
        if plages and plages[-1][1] == x - 1:
            plages[-1] = (plages[-1][0], x)
        else:
            plages.append((x, x))
    return plages


@task(
    "Écris une fonction `{sig}` qui compresse un texte par répétitions : « aaab » devient "
    "« a3b1 ».",
    ["aaab"],
    ["abc"],
    ["zzzz"],
    ["oouuii"],
)
def compresse(texte):
    sortie, i = "", 0
    while i < len(texte):
        j = i
        while j < len(texte) and texte[j] == texte[i]:
            j += 1
        sortie, i = sortie + texte[i] + str(j - i), j
    return sortie


@task(
    "Comment écrire `{sig}`, qui échange les lignes et les colonnes d’une liste de listes ?",
    [[[1, 2], [3, 4]]],
    [[[1, 2, 3]]],
    [[[5], [6], [7]]],
    [[[1, 2, 3], [4, 5, 6]]],
)
def transpose(lignes):
    return [list(colonne) for colonne in zip(*lignes)]


@task(
    "Écris `{sig}` pour mettre bout à bout, dans une seule liste, les listes que contient "
    "`lignes`.",
    [[[1, 2], [3]]],
    [[[], [4, 5]]],
    [[[7], [8], [9]]],
    [[[1], [], [2, 3]]],
)
def aplatit(lignes):
    return [x for ligne in lignes for x in ligne]


@task(
    "Écrivez la fonction `{sig}` qui échange les clés et les valeurs d’un dictionnaire.",
    [{"a": 1, "b": 2}],
    [{"x": "y"}],
    [{"un": 1}],
    [{"c": "d", "e": "f"}],
)
def inverse_dico(dico):
    return {valeur: cle for cle, valeur in dico.items()}


@task(
    "Définis une fonction `{sig}` qui range des mots dans un dictionnaire, par première lettre.",
    [["ami", "bol", "arc"]],
    [["zoo"]],
    [["un", "deux", "dix"]],
    [["sel", "sac", "mer", "mur"]],
)
def groupe_par_initiale(mots):
    groupes = {}
    for mot in mots:
        groupes.setdefault(mot[0], []).append(mot)
    return groupes


@task(
    "Écris une fonction `{sig}` qui renvoie le nombre le plus fréquent d’une liste, le "
    "premier rencontré en cas d’égalité.",
    [[1, 2, 2, 3]],
    [[4, 5]],
    [[7, 8, 8, 7, 8]],
    [[9, 1, 1, 9]],
)
def plus_frequent(nombres):
    return max(nombres, key=nombres.count)


@task(
    "Écris une fonction `{sig}` qui dit si un texte contient toutes les lettres de a à z, "
    "sans tenir compte de la casse.",
    ["Portez ce vieux whisky au juge blond qui fume"],
    ["Bonjour"],
    ["abcdefghijklmnopqrstuvwxyz"],
    ["abcdefghijklmnopqrstuvwxy"],
)
def pangramme(texte):
    return set("abcdefghijklmnopqrstuvwxyz") <= set(texte.lower())


@task(
    "Programme `{sig}` : la fonction renvoie la plus grande somme d’éléments consécutifs "
    "de la liste.",
    [[1, -2, 3, 4]],
    [[-5, -1, -8]],
    [[2, 3, -10, 6]],
    [[4, -1, 2, 1]],
)
def somme_max(nombres):
    meilleure = courante = nombres[0]
    for x in nombres[1:]:
        courante = max(x, courante + x)
        meilleure = max(meilleure, courante)
    return meilleure


@task(
    "Écris `{sig}`, qui convertit une durée « H:MM:SS » en secondes.",
    ["0:00:59"],
    ["1:00:00"],
    ["2:03:04"],
    ["0:10:30"],
)
def vers_secondes(duree):
    h, m, s = map(int, duree.split(":"))
    return h * 3600 + m * 60 + s


@task(
    "Écris une fonction `{sig}` qui écrit une taille en octets avec l’unité o, ko ou Mo "
    "(multiples de 1000, division entière).",
    [999],
    [1000],
    [45678],
    [2500000],
)
def lisible(octets):
    if octets < 1000:
        return f"{octets} o"
    if octets < 1000000:
        return f"{octets // 1000} ko"
    return f"{octets // 1000000} Mo"


@task(
    "Écrivez une fonction `{sig}` qui compte les jours du lundi au vendredi entre deux "
    "dates ISO, bornes incluses.",
    ["2024-03-04", "2024-03-10"],
    ["2024-03-09", "2024-03-10"],
    ["2024-01-01", "2024-01-31"],
    ["2024-03-08", "2024-03-11"],
)
def jours_ouvres(debut, fin):
    d, f = date.fromisoformat(debut), date.fromisoformat(fin)
    n = (f - d).days + 1
    return sum((d + timedelta(days=i)).weekday() < 5 for i in range(n))


@task(
    "Écris `{sig}` pour écrire une date ISO en toutes lettres, comme « 14 juillet 2024 » "
    "(et « 1er » pour le premier du mois).",
    ["2024-07-14"],
    ["2023-01-01"],
    ["1999-12-31"],
    ["2020-08-05"],
)
def date_longue(jour):
    mois = """janvier février mars avril mai juin juillet août
    septembre octobre novembre décembre""".split()
    d = date.fromisoformat(jour)
    return f"{'1er' if d.day == 1 else d.day} {mois[d.month - 1]} {d.year}"


@task(
    "Deux périodes sont des couples de dates ISO (début, fin) : écris `{sig}` pour savoir "
    "si elles ont au moins un jour en commun.",
    [["2024-01-01", "2024-01-10"], ["2024-01-10", "2024-02-01"]],
    [["2024-01-01", "2024-01-10"], ["2024-01-11", "2024-02-01"]],
    [["2024-05-01", "2024-06-01"], ["2024-04-01", "2024-07-01"]],
    [["2024-05-01", "2024-06-01"], ["2023-05-01", "2023-06-01"]],
)
def chevauche(a, b):
    return a[0] <= b[1] and b[0] <= a[1]


@task(
    "Écris une fonction `{sig}` qui renvoie la liste des mois (de 1 à 12) de l’année où "
    "le 13 est un vendredi.",
    [2024],
    [2023],
    [2026],
    [2022],
)
def vendredis_13(annee):
    return [m for m in range(1, 13) if date(annee, m, 13).weekday() == 4]


@task(
    "Écris `{sig}` : la fonction renvoie la date ISO du dimanche de Pâques, pour une "
    "année de 1900 à 2099 (algorithme de Gauss ou de Carter).",
    [2024],
    [2023],
    [2000],
    [1981],
    [2019],
)
def paques(annee):
    b = 225 - 11 * (annee % 19)
    d = (b - 21) % 30 + 21
    d -= d > 48
    e = (annee + annee // 4 + d + 1) % 7
    return (date(annee, 3, 1) + timedelta(days=d + 6 - e)).isoformat()


@task(
    "Écris une fonction `{sig}` qui renvoie un dictionnaire du nombre d’apparitions de "
    "chaque mot du texte, en minuscules.",
    ["le chat et le chien"],
    ["Oui oui"],
    ["un"],
    ["a b A"],
)
def compte_mots(texte):
    mots = texte.lower().split()
    return {mot: mots.count(mot) for mot in mots}


@task(
    "Comment convertir un identifiant comme « nomDeVariable » en « nom_de_variable » ? "
    "Écrivez `{sig}`.",
    ["nomDeVariable"],
    ["x"],
    ["maClasse"],
    ["uneValeurMax"],
)
def camel_vers_serpent(nom):
    return "".join("_" + c.lower() if c.isupper() else c for c in nom)


@task(
    "Écris `{sig}` pour savoir si un texte est une adresse IPv4 : quatre entiers de 0 à "
    "255 séparés par des points.",
    ["192.168.0.1"],
    ["256.1.1.1"],
    ["1.2.3"],
    ["a.b.c.d"],
    ["0.0.0.0"],
)
def est_ip(texte):
    parties = texte.split(".")
    return len(parties) == 4 and all(p.isdigit() and int(p) <= 255 for p in parties)


@task(
    "Écris une fonction `{sig}` qui dit si un numéro (une chaîne de chiffres) vérifie la "
    "formule de Luhn.",
    ["79927398713"],
    ["79927398710"],
    ["4539578763621486"],
    ["1234"],
)
def luhn(numero):
    total = 0
    for i, c in enumerate(reversed(numero)):
        x = int(c) * (1 + i % 2)
        total += x - 9 * (x > 9)
    return total % 10 == 0


@task(
    "Écris une fonction `{sig}` qui renvoie, par dichotomie, l’indice de x dans une liste "
    "triée, ou -1.",
    [[1, 3, 5, 7], 5],
    [[1, 3, 5, 7], 4],
    [[2], 2],
    [[2, 4, 6], 8],
    [[1, 2, 3], 1],
)
def recherche(triee, x):
    bas, haut = 0, len(triee)
    while bas < haut:
        milieu = (bas + haut) // 2
        if triee[milieu] < x:
            bas = milieu + 1
        else:
            haut = milieu
    return bas if bas < len(triee) and triee[bas] == x else -1


@task(
    "Rendez la monnaie : `{sig}` renvoie la liste des pièces de 200, 100, 50, 20, 10, 5, "
    "2 et 1, les plus grosses d’abord.",
    [0],
    [7],
    [88],
    [399],
)
def monnaie(centimes):
    pieces = []
    for p in (200, 100, 50, 20, 10, 5, 2, 1):
        pieces += [p] * (centimes // p)
        centimes %= p
    return pieces


@task(
    "Écris une fonction `{sig}` qui renvoie la ligne n du triangle de Pascal ; la ligne 0 est [1].",
    [0],
    [1],
    [2],
    [5],
)
def pascal(n):
    ligne = [1]
    for _ in range(n):
        ligne = [a + b for a, b in zip([0] + ligne, ligne + [0])]
    return ligne


@task(
    "Écris une fonction `{sig}` qui renvoie la moyenne de notes pondérée par des poids, "
    "arrondie à une décimale.",
    [[10, 14], [1, 1]],
    [[8, 16], [3, 1]],
    [[12, 15, 9], [2, 1, 1]],
    [[20], [5]],
)
def moyenne_ponderee(notes, poids):
    return round(sum(n * p for n, p in zip(notes, poids)) / sum(poids), 1)


@task(
    "Écris `{sig}` : la fonction renvoie, dans une liste triée, les nombres qui sont dans "
    "une seule des deux listes.",
    [[1, 2, 3], [2, 3, 4]],
    [[5], [5]],
    [[9, 1], [4]],
    [[1, 1, 2], [2]],
)
def difference_symetrique(u, v):
    return sorted(set(u) ^ set(v))
