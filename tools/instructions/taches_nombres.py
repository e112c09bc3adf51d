"""Les schémas du domaine « nombres » : arithmétique des entiers. Les listes : taches_listes."""

from tools.instructions.taches_listes import SCHEMAS as LISTS
from tools.instructions.taches_schema import WORDS, Schema, grid

TIMES = {2: "le double de n", 3: "le triple de n", 4: "le quadruple de n", 10: "dix fois n"}
MULTIPLES = {2: "double", 3: "triple", 4: "quadruple"}
OPERATIONS = [
    {
        "a": a,
        "b": b,
        "_signe": sign,
        "signe": word,
        "_fois": f"{WORDS[a]} fois n",
        "_double": TIMES.get(a, f"{a} fois n"),
        "_nom": MULTIPLES.get(a, f"fois_{a}"),
    }
    for a in range(2, 13)
    for b in range(1, 13)
    for sign, word in (("+", "plus"), ("-", "moins"))
]
UNITS = [
    ("heures", "minutes", 60),
    ("jours", "heures", 24),
    ("semaines", "jours", 7),
    ("kilometres", "mètres", 1000),
    ("metres", "centimètres", 100),
    ("douzaines", "œufs", 12),
    ("heures", "secondes", 3600),
    ("jours", "minutes", 1440),
    ("ramettes", "feuilles", 500),
    ("siecles", "mois", 1200),
    ("grosses", "unités", 144),
]


def multiples(params: dict) -> list[tuple]:
    """Des multiples de k et leurs voisins."""
    k = params["k"]
    return [(k,), (4 * k,), (4 * k + 1,), (7 * k - 1,), (12 * k,)]


SCHEMAS = [
    Schema(
        "affine",
        "n",
        1,
        ("{_nom}_{signe}_{b}", "calcule", "f_{a}_{b}"),
        (
            "{_fois} {signe} {b__mot}",
            "{_double} {signe} {b}",
            "{_double}, {signe} {b__mot}",
            "la valeur de {a} × n {_signe} {b}",
            "le produit de `n` par {a}, {signe} {b}",
        ),
        "{a} * n {_signe} {b}",
        OPERATIONS,
        limit=56,
    ),
    Schema(
        "soustrait",
        "n",
        1,
        ("{b}_moins_{a}_fois", "retranche_{a}"),
        (
            "{b} moins {a__mot} fois n",
            "la différence entre {b} et {_fois}",
            "ce qui reste de {b} quand on en retire {_fois}",
            "la valeur de {b} - {a} × n",
        ),
        "{b} - {a} * n",
        [
            {"a": a, "b": b, "_fois": f"{WORDS[a]} fois n"}
            for a in range(2, 8)
            for b in (10, 20, 50, 100)
        ],
        limit=10,
    ),
    Schema(
        "puissance",
        "n",
        1,
        ("{_nom}_{signe}_{b}", "puissance_{p}_{signe}_{b}"),
        (
            "{_fr} de n {signe} {b__mot}",
            "{_fr} de `n`, {signe} {b}",
            "n à la puissance {p}, {signe} {b}",
            "la valeur de n puissance {p} {_signe} {b}",
        ),
        "n**{p} {_signe} {b}",
        [
            {"p": p, "_fr": fr, "_nom": n, "b": b, "signe": w, "_signe": s}
            for p, fr, n in ((2, "le carré", "carre"), (3, "le cube", "cube"))
            for b in range(1, 11)
            for s, w in (("+", "plus"), ("-", "moins"))
        ],
        limit=14,
    ),
    Schema(
        "carre_decale",
        "n",
        2,
        ("carre_{_nom}_{b}", "decale_et_carre_{b}"),
        (
            "le carré du nombre (n {_signe} {b})",
            "le carré de `n` {_avec} de {b}",
            "n {_avec} de {b__mot}, le tout au carré",
            "la valeur de (n {_signe} {b}) au carré",
        ),
        "(n {_signe} {b}) ** 2",
        [
            {"b": b, "signe": w, "_signe": s, "_avec": avec, "_nom": w}
            for b in range(1, 10)
            for s, w, avec in (("+", "plus", "augmenté"), ("-", "moins", "diminué"))
        ],
    ),
    Schema(
        "reste",
        "n",
        1,
        ("reste_par_{k}", "modulo_{k}"),
        (
            "le reste de la division de n par {k}",
            "le reste de `n` divisé par {k__mot}",
            "n modulo {k}",
            "ce qui reste quand on divise `n` par {k}",
        ),
        "n % {k}",
        grid(k=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 20, 25, 60, 100)),
    ),
    Schema(
        "quotient",
        "n",
        1,
        ("quotient_par_{k}", "divise_par_{k}"),
        (
            "le quotient entier de n par {k}",
            "la partie entière de `n` divisé par {k__mot}",
            "le résultat de la division entière de n par {k}",
            "qui dit combien de fois {k} tient dans `n`",
        ),
        "n // {k}",
        grid(k=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 20, 25, 60, 100)),
    ),
    Schema(
        "divisible",
        "n",
        1,
        ("divisible_par_{k}", "multiple_de_{k}"),
        (
            "si n est divisible par {k}",
            "si `n` est un multiple de {k__mot}",
            "si {k} divise n",
            "si la division de n par {k__mot} tombe juste",
        ),
        "n % {k} == 0",
        grid(k=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 20, 25)),
        extra=multiples,
    ),
    Schema(
        "divisible_deux",
        "n",
        2,
        ("{lien}_{a}_{b}", "divisible_{a}_{lien}_{b}"),
        (
            "si n est divisible par {a} {_fr} par {b}",
            "si `n` est multiple de {a__mot} {_fr} de {b__mot}",
            "si n est un multiple de {a} {_fr} de {b}",
            "si l’on peut diviser n sans reste par {a} {_fr} par {b}",
        ),
        "n % {a} == 0 {_code} n % {b} {_fin} 0",
        [
            {"a": a, "b": b, "lien": n, "_fr": fr, "_code": c, "_fin": e}
            for a, b in (
                (2, 3),
                (2, 5),
                (3, 4),
                (3, 5),
                (4, 5),
                (3, 7),
                (5, 7),
                (4, 7),
                (2, 9),
                (5, 6),
            )
            for n, fr, c, e in (("et", "et", "and", "=="), ("ou", "ou", "or", "=="))
        ],
        extra=lambda p: [
            (p["a"] * p["b"],),
            (p["a"] * 11,),
            (p["b"] * 11,),
            (p["a"] * p["b"] + 1,),
        ],
    ),
    Schema(
        "divisible_sauf",
        "n",
        3,
        ("{a}_sauf_{b}", "divisible_{a}_pas_{b}"),
        (
            "si n est divisible par {a} mais pas par {b}",
            "si `n` est multiple de {a__mot} sans l’être de {b__mot}",
            "si {a} divise n et que {b} ne le divise pas",
            "si l’on peut diviser n sans reste par {a}, mais pas par {b}",
        ),
        "n % {a} == 0 and n % {b} != 0",
        [
            {"a": a, "b": b}
            for a, b in (
                (2, 3),
                (3, 2),
                (2, 5),
                (5, 2),
                (3, 5),
                (5, 3),
                (4, 3),
                (3, 4),
                (7, 2),
                (2, 7),
                (7, 3),
                (5, 4),
            )
        ],
        extra=lambda p: [
            (p["a"] * p["b"],),
            (p["a"] * 11,),
            (p["b"] * 11,),
            (p["a"] * p["b"] + 1,),
            (p["a"] * 13,),
        ],
        new=True,
    ),
    Schema(
        "reste_egal",
        "n",
        2,
        ("reste_{r}_par_{k}", "modulo_{k}_vaut_{r}"),
        (
            "si le reste de la division de n par {k} est {r}",
            "si `n` divisé par {k} a {r} pour reste",
            "si n modulo {k} vaut {r}",
            "si n est un multiple de {k} augmenté de {r}",
        ),
        "n % {k} == {r}",
        [{"k": k, "r": r} for k in (3, 4, 5, 6, 7, 10) for r in (1, 2, 3, 5) if r < k],
        extra=lambda p: [
            (p["k"] * 3 + p["r"],),
            (p["k"] * 8 + p["r"],),
            (p["k"] * 5,),
            (p["k"] * 5 + p["r"] + 1,),
        ],
    ),
    Schema(
        "deux_mots",
        "n",
        2,
        ("{oui}_ou_{non}", "dit_{oui}"),
        (
            "« {oui} » si n est divisible par {k}, sinon « {non} »",
            "le mot « {oui} » quand `n` est un multiple de {k__mot}, « {non} » dans les autres cas",
            "« {oui} » pour les multiples de {k}, « {non} » pour les autres entiers",
            "« {oui} » si {k} divise n et « {non} » s’il ne le divise pas",
        ),
        '"{oui}" if n % {k} == 0 else "{non}"',
        [
            {"k": k, "oui": a, "non": b}
            for k in (2, 3, 4, 5, 6, 7, 10)
            for a, b in (
                ("oui", "non"),
                ("pile", "face"),
                ("bon", "mauvais"),
                ("gagne", "perdu"),
                ("bleu", "rouge"),
            )
        ],
        limit=14,
        extra=multiples,
    ),
    Schema(
        "deux_mots_seuil",
        "n",
        2,
        ("{oui}_ou_{non}", "niveau_{k}"),
        (
            "« {oui} » si n dépasse {k}, sinon « {non} »",
            "le mot « {oui} » quand `n` est plus grand que {k}, « {non} » dans les autres cas",
            "« {oui} » au-dessus de {k}, « {non} » pour {k} et en dessous",
            "« {oui} » si n est strictement supérieur à {k} et « {non} » sinon",
        ),
        '"{oui}" if n > {k} else "{non}"',
        [
            {"k": k, "oui": a, "non": b}
            for k in (0, 5, 10, 18, 20, 50, 100)
            for a, b in (("grand", "petit"), ("haut", "bas"), ("chaud", "froid"), ("plein", "vide"))
        ],
        limit=12,
        extra=lambda p: [(p["k"],), (p["k"] + 1,), (p["k"] - 1,)],
    ),
    Schema(
        "entre",
        "n",
        1,
        ("entre_{a}_et_{b}", "dans_{a}_{b}"),
        (
            "si n est compris entre {a} et {b}, bornes incluses",
            "si `n` va de {a} à {b} inclus",
            "si n n’est ni plus petit que {a} ni plus grand que {b}",
            "si n appartient à l’intervalle fermé de {a} à {b}",
        ),
        "{a} <= n <= {b}",
        [
            {"a": a, "b": b}
            for a, b in (
                (0, 9),
                (1, 6),
                (5, 15),
                (10, 20),
                (18, 25),
                (3, 7),
                (20, 50),
                (0, 100),
                (-5, 5),
                (7, 12),
                (2, 30),
                (40, 60),
            )
        ],
        extra=lambda p: [(p["a"],), (p["b"],), (p["a"] - 1,), (p["b"] + 1,)],
    ),
    Schema(
        "borne",
        "n",
        2,
        ("borne_{a}_{b}", "limite_{a}_{b}"),
        (
            "n ramené à {a} s’il est plus petit et à {b} s’il est plus grand",
            "`n` limité à l’intervalle de {a} à {b}",
            "{a} si n est en dessous, {b} s’il est au-dessus, n sinon",
            "la valeur de `n`, bornée par {a} et {b}",
        ),
        "max({a}, min({b}, n))",
        [
            {"a": a, "b": b}
            for a, b in (
                (0, 9),
                (1, 6),
                (5, 15),
                (10, 20),
                (18, 25),
                (3, 7),
                (20, 50),
                (0, 100),
                (-5, 5),
                (7, 12),
            )
        ],
        extra=lambda p: [(p["a"] - 3,), (p["b"] + 4,), (p["a"] + 1,)],
    ),
    Schema(
        "chiffres",
        "n",
        2,
        ("{quoi}_chiffres", "chiffres_{quoi}"),
        (
            "{_fr} des chiffres de n, un entier positif ou nul",
            "{_fr} des chiffres de l’entier positif `n`",
            "{_fr} des chiffres de l’écriture décimale de n",
            "{_fr} des chiffres qui composent `n`",
        ),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_code": c}
            for n, f, c in (
                ("somme", "la somme", "sum(int(c) for c in str(n))"),
                ("produit", "le produit", "prod(int(c) for c in str(n))"),
                ("maximum", "le plus grand", "max(int(c) for c in str(n))"),
                ("minimum", "le plus petit", "min(int(c) for c in str(n))"),
                ("carres", "la somme des carrés", "sum(int(c) ** 2 for c in str(n))"),
                ("cubes", "la somme des cubes", "sum(int(c) ** 3 for c in str(n))"),
                ("liste", "la liste", "[int(c) for c in str(n)]"),
                ("tries", "la liste triée", "sorted(int(c) for c in str(n))"),
                ("nombre", "le nombre", "len(str(n))"),
                ("distincts", "le nombre de valeurs différentes", "len(set(str(n)))"),
            )
        ],
        extra=lambda p: [(45,), (907,), (2024,), (131,), (8888,), (3141,)],
    ),
    Schema(
        "compte_chiffre",
        "n",
        2,
        ("compte_chiffre_{c}", "nombre_de_{c}"),
        (
            "le nombre de chiffres {c} dans l’écriture de n",
            "qui dit combien de fois le chiffre {c} figure dans `n`",
            "le nombre d’apparitions du chiffre {c} dans l’entier n",
            "qui compte les {c} dans l’écriture décimale de `n`",
        ),
        'str(n).count("{c}")',
        grid(c=range(10)),
        extra=lambda p: [(100 + p["c"],), (p["c"] * 110 + 2003,), (p["c"] * 111,), (9875,)],
    ),
    Schema(
        "derniers_chiffres",
        "n",
        2,
        ("fin_{k}", "derniers_chiffres_{k}"),
        (
            "l’entier formé des {k__mot} derniers chiffres de n, positif",
            "la valeur des {k} derniers chiffres de l’entier positif `n`",
            "les {k__mot} derniers chiffres de n, sous forme d’entier (12 pour 012)",
            "le nombre que forment les {k} derniers chiffres de `n`",
        ),
        "n % {_p}",
        [{"k": k, "_p": 10**k} for k in (3,)],
        extra=lambda p: [(1234,), (7042,), (9075,)],
    ),
    Schema(
        "zeros",
        "n",
        2,
        ("sur_{k}_chiffres", "zeros_{k}"),
        (
            "n écrit sur {k} chiffres, avec des zéros devant",
            "une chaîne de {k} chiffres qui représente `n`, complétée par des zéros à gauche",
            "l’écriture décimale de n sur {k__mot} caractères, complétée à gauche par des zéros",
            "`n` en texte, précédé d’assez de zéros pour occuper {k} caractères",
        ),
        'f"{n:0{k}d}"',
        [{"k": k} for k in range(3, 10)],
    ),
    Schema(
        "base",
        "n",
        2,
        ("{quoi}", "ecrit_{quoi}"),
        ("{_fr}", "{_fr2}", "{_fr} (entier positif ou nul)", "{_fr2}, un entier positif ou nul"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "binaire",
                    "n écrit en binaire",
                    "l’écriture binaire, sans préfixe, de `n`",
                    'f"{n:b}"',
                ),
                (
                    "octal",
                    "n écrit en octal",
                    "l’écriture en base 8, sans préfixe, de `n`",
                    'f"{n:o}"',
                ),
                (
                    "hexadecimal",
                    "n écrit en hexadécimal, en minuscules",
                    "l’écriture en base 16, sans préfixe, de `n`",
                    'f"{n:x}"',
                ),
                (
                    "hexa_majuscules",
                    "n écrit en hexadécimal, en majuscules",
                    "l’écriture en base 16, en majuscules et sans préfixe, de `n`",
                    'f"{n:X}"',
                ),
                (
                    "octet",
                    "n écrit en binaire sur huit chiffres",
                    "l’écriture binaire sur 8 bits, zéros compris, de `n`",
                    'f"{n:08b}"',
                ),
                (
                    "nombre_de_uns",
                    "le nombre de 1 dans l’écriture binaire de n",
                    "le nombre de bits à 1 de `n`",
                    'bin(n).count("1")',
                ),
                (
                    "nombre_de_bits",
                    "le nombre de chiffres de n en binaire",
                    "le nombre de bits de `n`",
                    "n.bit_length()",
                ),
            )
        ],
    ),
    Schema(
        "somme_jusqu_a",
        "petit",
        2,
        ("somme_{quoi}", "total_{quoi}"),
        (
            "la somme {_fr} de 1 à n",
            "la somme {_fr} de 1 à `n` inclus",
            "le total {_fr} entre 1 et n compris",
            "qui additionne {_les} de 1 à `n`",
        ),
        "sum({_code})",
        [
            {"quoi": n, "_fr": f, "_les": g, "_code": c}
            for n, f, g, c in (
                ("entiers", "des entiers", "les entiers", "range(1, n + 1)"),
                (
                    "carres",
                    "des carrés des entiers",
                    "les carrés des entiers",
                    "i**2 for i in range(1, n + 1)",
                ),
                (
                    "cubes",
                    "des cubes des entiers",
                    "les cubes des entiers",
                    "i**3 for i in range(1, n + 1)",
                ),
                *(
                    (
                        f"multiples_{k}",
                        f"des multiples de {k}",
                        f"les multiples de {k}",
                        f"range({k}, n + 1, {k})",
                    )
                    for k in (2, 3, 4, 5, 6, 7)
                ),
                ("impairs", "des nombres impairs", "les nombres impairs", "range(1, n + 1, 2)"),
                *(
                    (
                        f"carres_multiples_{k}",
                        f"des carrés des multiples de {k}",
                        f"les carrés des multiples de {k}",
                        f"i**2 for i in range({k}, n + 1, {k})",
                    )
                    for k in (2, 3, 4, 5)
                ),
                *(
                    (
                        f"fois_{k}",
                        f"des entiers multipliés par {k}",
                        f"{k} fois chacun des entiers",
                        f"{k} * i for i in range(1, n + 1)",
                    )
                    for k in (2, 3, 5)
                ),
            )
        ],
    ),
    Schema(
        "liste_jusqu_a",
        "petit",
        2,
        ("liste_{quoi}", "{quoi}"),
        (
            "la liste {_fr}",
            "dans une liste, {_les}",
            "une liste avec {_les}",
            "{_les}, rangés dans une liste",
        ),
        "[{_code}]",
        [
            {"quoi": n, "_fr": f, "_les": g, "_code": c}
            for n, f, g, c in (
                (
                    "entiers",
                    "des entiers de 1 à n",
                    "les entiers de 1 à n",
                    "i for i in range(1, n + 1)",
                ),
                (
                    "carres",
                    "des carrés des entiers de 1 à n",
                    "les carrés des entiers de 1 à n",
                    "i**2 for i in range(1, n + 1)",
                ),
                (
                    "cubes",
                    "des cubes des entiers de 1 à n",
                    "les cubes des entiers de 1 à n",
                    "i**3 for i in range(1, n + 1)",
                ),
                *(
                    (
                        f"table_{k}",
                        f"des n premiers multiples de {k}, en commençant par {k}",
                        f"les n premiers multiples de {k}, à partir de {k}",
                        f"{k} * i for i in range(1, n + 1)",
                    )
                    for k in (3, 4, 5, 6, 7, 8, 9, 11)
                ),
                *(
                    (
                        f"puissances_{k}",
                        f"des n premières puissances de {k}, en commençant par 1",
                        f"les nombres {k} puissance i pour i de 0 à n - 1",
                        f"{k}**i for i in range(n)",
                    )
                    for k in (2, 3, 5, 10)
                ),
                (
                    "rebours",
                    "des entiers de n à 1, en décroissant",
                    "les entiers de n à 1 en ordre décroissant",
                    "i for i in range(n, 0, -1)",
                ),
                *(
                    (
                        f"suite_{a}_{b}",
                        f"des n premiers termes de la suite qui part de {b} et avance de {a} en {a}",
                        f"les n nombres qui partent de {b} et avancent de {a} en {a}",
                        f"{b} + {a} * i for i in range(n)",
                    )
                    for a, b in ((2, 1), (3, 2), (5, 1), (4, 3), (10, 7), (7, 2))
                ),
            )
        ],
    ),
    Schema(
        "diviseurs",
        "petit",
        2,
        ("{quoi}_diviseurs", "diviseurs_{quoi}"),
        (
            "{_fr} de n, entier positif",
            "{_fr} de l’entier positif `n`",
            "{_fr} d’un entier positif n",
            "{_fr} du nombre `n`, supposé positif",
        ),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_code": c}
            for n, f, c in (
                (
                    "liste",
                    "la liste croissante des diviseurs",
                    "[d for d in range(1, n + 1) if n % d == 0]",
                ),
                ("compte", "le nombre de diviseurs", "sum(n % d == 0 for d in range(1, n + 1))"),
                (
                    "somme",
                    "la somme des diviseurs",
                    "sum(d for d in range(1, n + 1) if n % d == 0)",
                ),
                (
                    "propres",
                    "la liste croissante des diviseurs, n excepté,",
                    "[d for d in range(1, n) if n % d == 0]",
                ),
                (
                    "somme_propres",
                    "la somme des diviseurs, n excepté,",
                    "sum(d for d in range(1, n) if n % d == 0)",
                ),
                (
                    "plus_grand",
                    "le plus grand diviseur, n excepté,",
                    "max(d for d in range(1, n) if n % d == 0)",
                ),
                (
                    "impairs",
                    "la liste croissante des diviseurs impairs",
                    "[d for d in range(1, n + 1, 2) if n % d == 0]",
                ),
                (
                    "premier",
                    "le plus petit diviseur, 1 excepté,",
                    "min(d for d in range(2, n + 1) if n % d == 0)",
                ),
            )
        ],
    ),
    Schema(
        "pgcd",
        "n",
        2,
        ("{m}_avec_{k}", "{m}_{k}"),
        (
            "le {_fr} de n et de {k}",
            "le {_fr} de `n` et du nombre {k}",
            "le {_long} de n et de {k}",
            "le {_long} de {k} et de `n`",
        ),
        "{m}(n, {k})",
        [
            {"m": m, "k": k, "_fr": f, "_long": g}
            for m, f, g in (
                ("gcd", "pgcd", "plus grand diviseur commun"),
                ("lcm", "ppcm", "plus petit multiple commun"),
            )
            for k in (12, 18, 20, 24, 30, 36, 60, 100)
        ],
        extra=lambda p: [(p["k"] * 3,), (p["k"] // 2,), (42,), (p["k"] + 6,)],
    ),
    Schema(
        "unites",
        "n",
        1,
        ("{de}_en_{_vers}", "convertit_{de}"),
        (
            "le nombre de {vers} dans n {_de}",
            "le nombre de {vers} que font `n` {_de}",
            "n {_de} convertis en {vers}",
            "la conversion de `n` {_de} en {vers}",
        ),
        "n * {k}",
        [
            {
                "de": a,
                "vers": b,
                "k": k,
                "_de": {"kilometres": "kilomètres", "metres": "mètres", "siecles": "siècles"}.get(
                    a, a
                ),
                "_vers": b.replace("è", "e").replace("œ", "oe").replace("é", "e"),
            }
            for a, b, k in UNITS
        ],
    ),
    Schema(
        "pourcentage",
        "n",
        2,
        ("{quoi}_{p}", "prix_{quoi}_{p}"),
        (
            "{_fr} {p} % de n, arrondi à l’entier inférieur",
            "{_fr} {p} pour cent de `n` (quotient entier par 100)",
            "{_fr} {p} % de `n`, avec la division entière par 100",
            "{_fr} {p} pour cent de n, à l’entier inférieur",
        ),
        "{_code}",
        [
            {"p": p, "quoi": n, "_fr": f, "_code": c}
            for p in (5, 10, 15, 20, 25, 30, 40, 60, 75)
            for n, f, c in (
                ("part", "la valeur de", f"n * {p} // 100"),
                ("hausse", "n augmenté de", f"n * {100 + p} // 100"),
                ("baisse", "n diminué de", f"n * {100 - p} // 100"),
            )
        ],
        limit=20,
        extra=lambda p: [(200,), (1000,), (37,), (480,), (999,)],
    ),
    Schema(
        "deux_nombres",
        "deux_entiers",
        1,
        ("combine_{p}_{q}", "somme_{p}_{q}"),
        (
            "{p__mot} fois a {signe} {q__mot} fois b",
            "la valeur de {p} × a {_signe} {q} × b",
            "`a` multiplié par {p}, {signe} `b` multiplié par {q}",
            "{p} fois `a`, {signe} {q} fois `b`",
        ),
        "{p} * a {_signe} {q} * b",
        [
            {"p": p, "q": q, "signe": w, "_signe": s}
            for p in range(2, 8)
            for q in range(2, 8)
            for s, w in (("+", "plus"), ("-", "moins"))
        ],
        limit=22,
    ),
    Schema(
        "deux_entiers",
        "deux_entiers",
        1,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "ecart",
                    "la différence entre a et b, en valeur absolue",
                    "l’écart, positif ou nul, entre `a` et `b`",
                    "abs(a - b)",
                ),
                (
                    "plus_grand",
                    "le plus grand des nombres a et b",
                    "le maximum de `a` et de `b`",
                    "max(a, b)",
                ),
                (
                    "plus_petit",
                    "le plus petit des nombres a et b",
                    "le minimum de `a` et de `b`",
                    "min(a, b)",
                ),
                (
                    "somme_carres",
                    "la somme des carrés de a et de b",
                    "`a` au carré plus `b` au carré",
                    "a**2 + b**2",
                ),
                (
                    "carre_somme",
                    "le carré de la somme de a et de b",
                    "la somme de `a` et `b`, le tout au carré",
                    "(a + b) ** 2",
                ),
                (
                    "difference_carres",
                    "le carré de a moins le carré de b",
                    "`a` au carré moins `b` au carré",
                    "a**2 - b**2",
                ),
                (
                    "produit_plus_un",
                    "le produit de a et de b, plus un",
                    "`a` fois `b`, augmenté de 1",
                    "a * b + 1",
                ),
                (
                    "perimetre",
                    "le périmètre d’un rectangle de côtés a et b",
                    "deux fois la somme de `a` et de `b`",
                    "2 * (a + b)",
                ),
                (
                    "aire",
                    "l’aire d’un rectangle de côtés a et b",
                    "le produit de `a` et de `b`",
                    "a * b",
                ),
                (
                    "moyenne",
                    "la moyenne de a et de b, arrondie à l’entier inférieur",
                    "la moitié, en division entière, de la somme de `a` et `b`",
                    "(a + b) // 2",
                ),
                (
                    "quotient_reste",
                    "le couple formé du quotient et du reste de a par b",
                    "le quotient entier et le reste de `a` divisé par `b`, dans un couple",
                    "divmod(a, b)",
                ),
                ("reste", "le reste de la division de a par b", "`a` modulo `b`", "a % b"),
                ("divise", "si b divise a", "si `a` est un multiple de `b`", "a % b == 0"),
                (
                    "meme_parite",
                    "si a et b ont la même parité",
                    "si `a` et `b` sont tous deux pairs ou tous deux impairs",
                    "a % 2 == b % 2",
                ),
                (
                    "somme_depasse_produit",
                    "si la somme de a et de b dépasse leur produit",
                    "si `a` plus `b` est plus grand que `a` fois `b`",
                    "a + b > a * b",
                ),
                (
                    "intervalle",
                    "la liste des entiers de a à b, bornes incluses",
                    "dans une liste, les entiers de `a` à `b` inclus",
                    "list(range(a, b + 1))",
                ),
                (
                    "somme_intervalle",
                    "la somme des entiers de a à b, bornes incluses",
                    "le total des entiers de `a` à `b` inclus",
                    "sum(range(a, b + 1))",
                ),
                (
                    "pairs_entre",
                    "la liste des nombres pairs de a à b, bornes incluses",
                    "dans une liste, les entiers pairs de `a` à `b` inclus",
                    "[x for x in range(a, b + 1) if x % 2 == 0]",
                ),
                (
                    "pgcd",
                    "le plus grand diviseur commun de a et de b",
                    "le pgcd de `a` et `b`",
                    "gcd(a, b)",
                ),
                (
                    "ppcm",
                    "le plus petit multiple commun de a et de b",
                    "le ppcm de `a` et `b`",
                    "lcm(a, b)",
                ),
                ("echange", "le couple (b, a)", "`a` et `b` échangés, dans un couple", "(b, a)"),
                (
                    "ordonne",
                    "le couple formé du plus petit puis du plus grand des nombres a et b",
                    "`a` et `b` dans l’ordre croissant, dans un couple",
                    "(min(a, b), max(a, b))",
                ),
            )
        ],
    ),
    *LISTS,
]
