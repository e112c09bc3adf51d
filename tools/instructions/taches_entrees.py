"""Les arguments sur lesquels on essaie les fonctions, par genre (`Schema.kind`)."""

import itertools
import random
from datetime import date, timedelta

ARGS = {
    "texte": "texte",
    "texte_k": "texte, k",
    "deux_textes": "u, v",
    "jour": "jour",
    "jour_francais": "jour",
    "deux_jours": "debut, fin",
    "annee": "annee",
    "annee_mois": "annee, mois",
    "minutes": "minutes",
    "heure": "heure",
    "jours": "jours",
    "n": "n",
    "petit": "n",
    "deux_entiers": "a, b",
    "nombres": "nombres",
    "deux_listes": "u, v",
}
TEXTS = (
    """Bonjour tout le monde
le chat dort sur le tapis rouge
Une petite souris verte courait dans herbe
python est un langage agréable
Il pleut, il mouille !
apprendre à programmer demande du temps
La Rochelle, 17 juin 2024
tomates: 3 kilos, ananas: 2
Trois Petits Cochons
ressasser
kayak
abracadabra abricot
anticonstitutionnellement
le loup et l’agneau
un deux trois quatre cinq six sept
MAJUSCULES et minuscules MELANGEES
rendez-vous à 14:30 en salle B12
nom_de_variable autre_nom encore_un
chemin/vers/un/dossier de travail
rouge;vert;bleu;jaune;noir
prénom,nom,ville,pays,âge
2024-03-15 commande numéro 42
alpha.beta.gamma.delta.omega
a+b+c+d+e+f
cle:valeur autre:chose enfin:rien
x|y|z|t|u
Paris Lyon Marseille Toulouse Nice Nantes
les sanglots longs des violons de l’automne
Quelle heure est-il ? Midi passé.
zéro faute, dix sur dix !
mississippi
Le vif zéphyr jubile sur les kumquats du clown gracieux
reprendre demain matin la lecture du chapitre
attention au départ
une action importante et rapide
merci beaucoup pour votre aide précieuse
on est en retard mais on arrive
samedi dimanche lundi
oui non peut-être
pomme poire pêche prune
elle a lu mille pages sans dormir
tu as raison on ira plus tard
arbre table lampe stylo
cela sonne bien
papa maman lala bobo
Louis Anne Marie Pascal Denis Sophie
3 14 15 92 65 35
tout est dans tout et le reste dans rien
trop de mots tuent les mots
nul ne sait où va la mer
Rien Ne Sert De Courir
quatre-vingt-dix-neuf bouteilles
l’eau coule sous le pont neuf
super extra hyper ultra mini maxi
ab
xyz
rue
soir
été 24""".split("\n")
    + ["  espaces avant et après  ", " un autre texte entouré  "]
)
WORDS_A = [
    "le",
    "chat",
    "dort",
    "Paris",
    "mardi",
    "sur",
    "un",
    "deux",
    "table",
    "rat",
    "12",
    "Xavier",
    "pomme",
]
WORDS_B = """caramel dictionnaire locomotive parapluie rhinocéros tournesol musique ordinateur
croissant alphabet incendie promenade surprise automobile triangle content distance parasol marcher
station bâtiment couleur fromage qualité aimable musiciens logique miroir antilope trottoir""".split()
PAIRS = [
    ("bonjour", "bon"), ("bonjour", "jour"), ("banane", "an"), ("chien", "niche"), ("Paris", "paris"),
    ("un deux trois", "deux"), ("chat", "chats"), ("rat", "art"), ("abc", "abc"), ("voiture", "o"),
    ("mississippi", "ss"), ("le loup", "le"), ("python", "Java"), ("a-b-c", "-"), ("nom=valeur", "="),
    ("soleil", "lune"), ("ABBA", "abba"), ("marche", "charme"), ("titi", "ti"), ("fin", "finir"),
]  # fmt: skip


def texts(rng: random.Random) -> list[tuple]:
    mixed = [" ".join(rng.sample(WORDS_A, rng.randrange(3, 8))) for _ in range(25)]
    return [(text,) for text in TEXTS + mixed + WORDS_B]


def days(rng: random.Random, count: int, first: int = 1998, last: int = 2026) -> list[str]:
    start, span = date(first, 1, 1), (date(last, 12, 31) - date(first, 1, 1)).days
    return [(start + timedelta(days=rng.randrange(span))).isoformat() for _ in range(count)]


def lists(rng: random.Random) -> list[tuple]:
    found = [[5, -3, 8, 1, 12, -7, 4], [2, 4, 6, 8, 10], [9, 7, 5, 3, 1], [10, 20, 30, 40, 50, 60]]
    found += [
        [-4, -9, -1, -6, -15],
        [0, 3, 0, 5, 2, 2],
        [100, 7, 45, 21, 14, 3],
        [1, 1, 2, 3, 5, 8, 13],
    ]
    for low, high in ((-12, 13), (0, 26), (0, 10), (1, 40), (-30, 60)):
        found += [
            [rng.randrange(low, high) for _ in range(rng.randrange(5, 10))] for _ in range(16)
        ]
    # Courtes et homogènes : pour les « tous … » et les « au moins un … ».
    for step, low, high in itertools.product((1, 2, 3, 4, 5, 6, 7, 10), (-3, 0, 1, 4), (6, 13)):
        found.append([step * rng.randrange(low, high) for _ in range(4)])
    for k in range(22):
        found += [[k, k + 1, k + 2], [k] * 3 + [k + 1], [k + 9, k + 2, k + 5], [k - 7, k - 2, k]]
    return [(each,) for each in found]


def clock(rng: random.Random, count: int) -> list[str]:
    return [f"{rng.randrange(24):02d}:{rng.randrange(60):02d}" for _ in range(count)]


def french(day: str) -> str:
    return "/".join(reversed(day.split("-")))


def inputs() -> dict[str, list[tuple]]:
    """Les entrées communes à toutes les fonctions d’un genre, toujours les mêmes."""
    rng = random.Random(20)
    some = days(rng, 120) + ["2024-02-29", "2023-12-31", "2024-01-01", "2023-03-01", "2020-08-15"]
    few = [days(rng, rng.randrange(4, 7), 2019, 2025) for _ in range(70)]
    return {
        "texte": texts(rng),
        "texte_k": [(text, k) for (text,), k in zip(texts(rng), itertools.cycle((2, 3, 1, 4, 5)))],
        "deux_textes": PAIRS,
        "jour": [(day,) for day in some],
        "jour_francais": [(french(day),) for day in some[:60]],
        "deux_jours": [
            tuple(sorted(days(rng, 2, *span)))
            for span in ((2019, 2024), (2023, 2023), (1980, 2025))
            for _ in range(30)
        ]
        + [("2024-03-04", "2024-03-18"), ("2024-03-04", "2024-03-25"), ("2023-05-01", "2023-05-31")]
        + [("2020-02-29", "2021-02-28"), ("2000-06-15", "2018-06-15")],
        "annee": [
            (y,) for y in (1900, 1945, 1968, 1999, 2000, 2001, 2004, *range(2008, 2031), 2100)
        ],
        "annee_mois": [(y, m) for y in (2000, 2019, 2023, 2024, 2025) for m in range(1, 13)],
        "minutes": [
            (m,) for m in (5, 45, 60, 75, 90, 125, 200, 367, 480, 605, 1000, 1440, 1500, 2885, 3000)
        ],
        "heure": [(h,) for h in clock(rng, 50) + ["00:00", "23:59", "12:00", "08:05"]],
        "jours": [(each,) for each in few],
        "n": [
            (n,)
            for n in (
                *range(1, 41),
                42,
                45,
                48,
                50,
                54,
                60,
                63,
                64,
                70,
                72,
                77,
                84,
                90,
                96,
                99,
                100,
                105,
                110,
                120,
                128,
                135,
                144,
                150,
                180,
                200,
                231,
                255,
                360,
                999,
                1000,
                0,
            )
        ],
        "petit": [(n,) for n in (*range(1, 31), 36, 40, 45, 48, 60)],
        "deux_entiers": [
            (a, b) for a, b in itertools.product((3, 5, 7, 8, 12, 20), (2, 3, 4, 6, 9, 15, 20))
        ]
        + [(-3, 4), (10, -2), (6, 3), (0, 5), (1, 9)],
        "nombres": lists(rng),
        "deux_listes": [
            ([rng.randrange(1, 10) for _ in range(n)], [rng.randrange(1, 10) for _ in range(n)])
            for n in (3, 4, 5, 4, 6, 5, 3, 4, 5, 5, 6, 4)
        ]
        + [
            ([1, 2, 3], [3, 2, 1]),
            ([4, 4, 1], [1, 4, 4]),
            ([5, 2], [5, 2]),
            ([1, 6], [3, 4]),
            ([2, 9, 4], [2, 8, 4]),
        ],
    }
