"""Les schémas du domaine « chaînes » : tranches, lettres, mots, compositions."""

from tools.instructions.taches_schema import Schema, grid

LETTERS = "aeioulnrstdmpc"
CLASSES = [  # nom, en français, garder, retirer
    ("voyelles", "voyelles (a, e, i, o, u, y)", 'c in "aeiouy"', 'c not in "aeiouy"'),
    ("chiffres", "chiffres", "c.isdigit()", "not c.isdigit()"),
    ("lettres", "lettres", "c.isalpha()", "not c.isalpha()"),
    ("majuscules", "majuscules", "c.isupper()", "not c.isupper()"),
    ("minuscules", "minuscules", "c.islower()", "not c.islower()"),
    ("espaces", "espaces", "c.isspace()", "not c.isspace()"),
    ("ponctuation", "signes « . », « , », « ! » et « ? »", 'c in ".,!?"', 'c not in ".,!?"'),
    ("alnum", "lettres et chiffres", "c.isalnum()", "not c.isalnum()"),
    ("tirets", "tirets et tirets bas", 'c in "-_"', 'c not in "-_"'),
    ("abc", "lettres a, b et c", 'c in "abc"', 'c not in "abc"'),
    ("aeo", "lettres a, e et o", 'c in "aeo"', 'c not in "aeo"'),
    ("rst", "lettres r, s et t", 'c in "rst"', 'c not in "rst"'),
    ("lmn", "lettres l, m et n", 'c in "lmn"', 'c not in "lmn"'),
]
CLASS = [{"classe": n, "_fr": fr, "_in": yes, "_out": no} for n, fr, yes, no in CLASSES]
SEPARATORS = [
    {
        "sep": ";",
        "_nom": "point_virgule",
        "_sep": "un point-virgule",
        "_seps": "des points-virgules",
    },
    {"sep": ",", "_nom": "virgule", "_sep": "une virgule", "_seps": "des virgules"},
    {"sep": "-", "_nom": "tiret", "_sep": "un tiret", "_seps": "des tirets"},
    {"sep": "_", "_nom": "souligne", "_sep": "un tiret bas", "_seps": "des tirets bas"},
    {"sep": "/", "_nom": "barre", "_sep": "une barre oblique", "_seps": "des barres obliques"},
    {"sep": ".", "_nom": "point", "_sep": "un point", "_seps": "des points"},
    {"sep": ":", "_nom": "deux_points", "_sep": "un deux-points", "_seps": "des deux-points"},
    {"sep": "|", "_nom": "trait", "_sep": "une barre verticale", "_seps": "des barres verticales"},
    {"sep": "+", "_nom": "plus", "_sep": "un plus", "_seps": "des plus"},
]
# Opérations qui s’enchaînent à la suite d’une expression.
STEPS = [
    ("majuscules", "en majuscules", ".upper()"),
    ("minuscules", "en minuscules", ".lower()"),
    ("titre", "avec une majuscule à chaque mot", ".title()"),
    ("inverse", "à l’envers", "[::-1]"),
    ("epure", "sans espaces au début ni à la fin", ".strip()"),
    ("colle", "sans aucun espace", '.replace(" ", "")'),
    ("tirets", "avec des tirets à la place des espaces", '.replace(" ", "-")'),
    ("bas", "avec des tirets bas à la place des espaces", '.replace(" ", "_")'),
    ("deux_premiers", "réduit à ses deux premiers caractères", "[:2]"),
    ("trois_premiers", "réduit à ses trois premiers caractères", "[:3]"),
    ("cinq_premiers", "réduit à ses cinq premiers caractères", "[:5]"),
    ("trois_derniers", "réduit à ses trois derniers caractères", "[-3:]"),
    ("quatre_derniers", "réduit à ses quatre derniers caractères", "[-4:]"),
    ("sans_premier", "sans son premier caractère", "[1:]"),
    ("sans_dernier", "sans son dernier caractère", "[:-1]"),
    ("premier_mot", "réduit à son premier mot", ".split()[0]"),
    ("deuxieme_mot", "réduit à son deuxième mot", ".split()[1]"),
    ("dernier_mot", "réduit à son dernier mot", ".split()[-1]"),
    ("un_sur_deux", "réduit à un caractère sur deux", "[::2]"),
    ("sans_e", "sans ses e", '.replace("e", "")'),
    ("sans_a", "sans ses a", '.replace("a", "")'),
    ("a_en_o", "avec des o à la place des a", '.replace("a", "o")'),
    ("e_en_i", "avec des i à la place des e", '.replace("e", "i")'),
    ("s_en_z", "avec des z à la place des s", '.replace("s", "z")'),
]


def chain(*numbers: int) -> dict:
    """Les paramètres d’une suite d’opérations de STEPS."""
    steps = [STEPS[i] for i in numbers]
    return {
        "suite": "+".join(name for name, _, _ in steps),
        "_nom": "_".join(name for name, _, _ in steps),
        "_fr": ", puis ".join(fr for _, fr, _ in steps),
        "_code": "".join(code for _, _, code in steps),
    }


def chains(length: int, count: int) -> list[dict]:
    """`count` suites réparties régulièrement, sans deux fois la même opération."""
    total, found, at = len(STEPS) ** length, [], 0
    while len(found) < count:
        at = (at + 7919) % total  # premier avec toute puissance de 24 : passe par toutes
        numbers = [at // len(STEPS) ** i % len(STEPS) for i in range(length)]
        if len(set(numbers)) == length:
            found.append(chain(*numbers))
    return found


FINALS = [
    ("longueur", "le nombre de caractères", "len({x})"),
    ("compte_e", "le nombre de e", '{x}.count("e")'),
    ("compte_a", "le nombre de a", '{x}.count("a")'),
    ("distincts", "le nombre de caractères différents", "len(set({x}))"),
    ("tries", "la liste triée des caractères", "sorted({x})"),
    ("plus_grand", "le plus grand caractère (au sens de max)", "max({x})"),
]
WORD_STEPS = [
    ("majuscules", "en majuscules", "m.upper()"),
    ("initiale", "réduit à sa première lettre", "m[0]"),
    ("finale", "réduit à sa dernière lettre", "m[-1]"),
    ("inverse", "à l’envers", "m[::-1]"),
    ("deux", "réduit à ses deux premières lettres", "m[:2]"),
    ("trois", "réduit à ses trois premières lettres", "m[:3]"),
    ("capitale", "avec une majuscule initiale", "m.capitalize()"),
    ("sans_initiale", "sans sa première lettre", "m[1:]"),
    ("longueur", "remplacé par sa longueur", "str(len(m))"),
    ("double", "répété deux fois", "m * 2"),
]
WORD_STEP = [{"op": n, "_fr": fr, "_code": code} for n, fr, code in WORD_STEPS]
JOINS = [
    {"sep": " ", "_avec": "séparés par un espace"},
    {"sep": "-", "_avec": "reliés par des tirets"},
    {"sep": "_", "_avec": "reliés par des tirets bas"},
    {"sep": ", ", "_avec": "séparés par une virgule et un espace"},
    {"sep": "", "_avec": "collés les uns aux autres"},
    {"sep": "/", "_avec": "séparés par des barres obliques"},
    {"sep": ".", "_avec": "séparés par des points"},
    {"sep": " + ", "_avec": "séparés par un plus entouré d’espaces"},
]
WORD_TESTS = [
    ("long4", "de plus de quatre lettres", "len(m) > 4"),
    ("long3", "de plus de trois lettres", "len(m) > 3"),
    ("long6", "de plus de six lettres", "len(m) > 6"),
    ("court4", "de moins de quatre lettres", "len(m) < 4"),
    ("court6", "de moins de six lettres", "len(m) < 6"),
    ("egal2", "de deux lettres exactement", "len(m) == 2"),
    ("egal3", "de trois lettres exactement", "len(m) == 3"),
    ("egal5", "de cinq lettres exactement", "len(m) == 5"),
    *((f"debut_{x}", f"qui commencent par « {x} »", f'm.startswith("{x}")') for x in "adlmpcs"),
    *((f"fin_{x}", f"qui finissent par « {x} »", f'm.endswith("{x}")') for x in "esrtn"),
    *((f"avec_{x}", f"qui contiennent « {x} »", f'"{x}" in m') for x in "aeiourn"),
    *((f"sans_{x}", f"qui ne contiennent pas « {x} »", f'"{x}" not in m') for x in "aeiou"),
    ("chiffres", "formés seulement de chiffres", "m.isdigit()"),
    ("majuscule", "qui commencent par une majuscule", "m[0].isupper()"),
]
WORD_TEST = [{"mots": n, "_fr": fr, "_code": code} for n, fr, code in WORD_TESTS]


def cross(*tables: list[dict]) -> list[dict]:
    """Fond les lignes de plusieurs tables, deux à deux."""
    rows = [{}]
    for table in tables:
        rows = [row | each for row in rows for each in table]
    return rows


def fields(params: dict) -> list[tuple]:
    """Des lignes découpées par le séparateur de la clé."""
    sep = params["sep"]
    lines = ("nom prénom ville pays âge", "un deux trois quatre", "12 7 30 4 9 1", "ab c ab d ab e")
    return [(line.replace(" ", sep),) for line in lines] + [(f"pomme {sep} poire{sep}{sep}kiwi",)]


def glued(params: dict) -> list[tuple]:
    """Des textes qui commencent, finissent ou ne commencent pas par le motif de la clé."""
    x = params["motif"]
    return [(x + "ordre",), ("ordre" + x,), ("dés" + x + "ordre",), (x,), (x.upper() + "age",)]


SCHEMAS = [
    Schema(
        "premiers",
        "texte",
        1,
        ("premiers_{k}", "debut_{k}"),
        (
            "les {k__mot} premiers caractères du texte",
            "les {k} premiers caractères de `texte`",
            "le début du texte, sur {k__mot} caractères",
            "le texte réduit à ses {k} premiers caractères",
        ),
        "texte[:{k}]",
        grid(k=range(2, 13)),
    ),
    Schema(
        "derniers",
        "texte",
        1,
        ("derniers_{k}", "fin_{k}"),
        (
            "les {k__mot} derniers caractères du texte",
            "les {k} derniers caractères de `texte`",
            "la fin du texte, sur {k__mot} caractères",
            "le texte réduit à ses {k} derniers caractères",
        ),
        "texte[-{k}:]",
        grid(k=range(2, 13)),
    ),
    Schema(
        "sans_premiers",
        "texte",
        1,
        ("sans_debut_{k}", "apres_{k}"),
        (
            "le texte sans ses {k__mot} premiers caractères",
            "`texte` privé de ses {k} premiers caractères",
            "qui enlève les {k__mot} premiers caractères du texte",
            "ce qui reste du texte après ses {k} premiers caractères",
        ),
        "texte[{k}:]",
        grid(k=range(2, 12)),
    ),
    Schema(
        "sans_derniers",
        "texte",
        1,
        ("sans_fin_{k}", "coupe_{k}"),
        (
            "le texte sans ses {k__mot} derniers caractères",
            "`texte` privé de ses {k} derniers caractères",
            "qui enlève les {k__mot} derniers caractères du texte",
            "ce qui reste du texte avant ses {k} derniers caractères",
        ),
        "texte[:-{k}]",
        grid(k=range(2, 12)),
    ),
    Schema(
        "tranche",
        "texte",
        2,
        ("tranche_{a}_{b}", "milieu_{a}_{b}"),
        (
            "les caractères du texte de l’indice {a} inclus à l’indice {b} exclu",
            "la tranche de `texte` qui va de l’indice {a} à l’indice {b} exclu",
            "le morceau du texte entre les indices {a} (compris) et {b} (non compris)",
            "`texte` de la position {a} incluse à la position {b} exclue",
        ),
        "texte[{a}:{b}]",
        [{"a": a, "b": a + n} for a in range(1, 8) for n in (2, 3, 4, 5, 7)],
        limit=18,
    ),
    Schema(
        "un_sur",
        "texte",
        2,
        ("un_sur_{k}", "saute_{k}"),
        (
            "un caractère sur {k__mot} du texte, en partant de l’indice {a}",
            "les caractères de `texte` pris de {k} en {k}, à partir de l’indice {a}",
            "un caractère sur {k}, le premier pris étant celui d’indice {a}",
            "le texte où l’on ne garde qu’un caractère sur {k__mot} à partir de l’indice {a}",
        ),
        "texte[{a}::{k}]",
        grid(k=range(2, 7), a=range(1, 4)),
    ),
    Schema(
        "remplace",
        "texte",
        1,
        ("remplace_{a}_{b}", "change_{a}_{b}", "echange_lettre"),
        (
            "le texte où chaque « {a} » est remplacé par « {b} »",
            "qui remplace tous les « {a} » du texte par des « {b} »",
            "le texte avec des « {b} » à la place des « {a} »",
            "qui change chaque {a} de `texte` en {b}",
            "une copie du texte dans laquelle les {a} deviennent des {b}",
        ),
        'texte.replace("{a}", "{b}")',
        [{"a": a, "b": b} for a in LETTERS for b in "aeouxzkt" if a != b],
        limit=36,
    ),
    Schema(
        "retire_lettre",
        "texte",
        1,
        ("sans_{a}", "retire_{a}"),
        (
            "le texte sans aucun « {a} »",
            "qui supprime tous les « {a} » du texte",
            "le texte privé de ses {a}",
            "`texte` dont on a retiré chaque lettre {a}",
        ),
        'texte.replace("{a}", "")',
        grid(a=LETTERS),
    ),
    Schema(
        "garde_classe",
        "texte",
        2,
        ("garde_{classe}", "seulement_{classe}"),
        (
            "le texte réduit à ses {_fr}",
            "seulement les {_fr} du texte, dans l’ordre",
            "qui ne garde que les {_fr} de `texte`",
            "la chaîne formée par les {_fr} du texte",
        ),
        '"".join(c for c in texte if {_in})',
        CLASS,
    ),
    Schema(
        "retire_classe",
        "texte",
        2,
        ("sans_{classe}", "retire_{classe}"),
        (
            "le texte sans ses {_fr}",
            "qui enlève du texte les {_fr}",
            "le texte dont on a supprimé les {_fr}",
            "une copie de `texte` sans les {_fr}",
        ),
        '"".join(c for c in texte if {_out})',
        CLASS,
    ),
    Schema(
        "compte_classe",
        "texte",
        2,
        ("compte_{classe}", "nombre_{classe}"),
        (
            "qui dit combien de {_fr} contient le texte",
            "le nombre de caractères du texte qui sont des {_fr}",
            "qui compte, dans `texte`, les {_fr}",
            "le nombre total de {_fr} du texte",
        ),
        "sum({_in} for c in texte)",
        CLASS,
    ),
    Schema(
        "compte_lettre",
        "texte",
        1,
        ("compte_{a}", "nombre_de_{a}"),
        (
            "le nombre de « {a} » dans le texte",
            "qui compte les {a} de `texte`",
            "qui dit combien de fois la lettre {a} figure dans le texte",
            "le nombre d’apparitions de « {a} » dans `texte`",
        ),
        'texte.count("{a}")',
        grid(a=LETTERS),
    ),
    Schema(
        "compte_sans_casse",
        "texte",
        2,
        ("compte_{a}_sans_casse", "total_{a}"),
        (
            "le nombre de « {a} » dans le texte, majuscules comprises",
            "qui compte les {a} du texte sans tenir compte de la casse",
            "qui dit combien de {a}, minuscules ou majuscules, figurent dans `texte`",
            "le nombre de {a} du texte, une fois mis en minuscules",
        ),
        'texte.lower().count("{a}")',
        grid(a="aeioulps"),
    ),
    Schema(
        "commence",
        "texte",
        1,
        ("commence_par_{motif}", "debute_par_{motif}"),
        (
            "si le texte commence par « {motif} »",
            "si `texte` débute par « {motif} »",
            "si « {motif} » est le début du texte",
            "si les premières lettres du texte sont « {motif} »",
        ),
        'texte.startswith("{motif}")',
        grid(motif=("re", "in", "pro", "anti", "sur", "auto", "tri", "con", "dis", "para")),
        extra=glued,
    ),
    Schema(
        "finit",
        "texte",
        1,
        ("finit_par_{motif}", "se_termine_par_{motif}"),
        (
            "si le texte finit par « {motif} »",
            "si `texte` se termine par « {motif} »",
            "si « {motif} » est la fin du texte",
            "si les dernières lettres du texte sont « {motif} »",
        ),
        'texte.endswith("{motif}")',
        grid(motif=("er", "tion", "ment", "eur", "age", "ité", "able", "ons", "ique", "oir")),
        extra=glued,
    ),
    Schema(
        "contient",
        "texte",
        1,
        ("contient_{motif}", "a_{motif}"),
        (
            "si le texte contient « {motif} »",
            "si « {motif} » figure dans `texte`",
            "si l’on trouve « {motif} » quelque part dans le texte",
            "si « {motif} » fait partie du texte",
        ),
        '"{motif}" in texte',
        grid(motif=("ou", "an", "tr", "eau", "ch", "qu", "ille", "or")),
        extra=glued,
    ),
    Schema(
        "entoure",
        "texte",
        1,
        ("entoure", "encadre", "entre_marques"),
        (
            "le texte précédé de « {a} » et suivi de « {b} »",
            "qui place « {a} » avant le texte et « {b} » après",
            "`texte` entouré de « {a} » à gauche et de « {b} » à droite",
            "le texte avec « {a} » devant et « {b} » derrière",
        ),
        '"{a}" + texte + "{b}"',
        [
            {"a": a, "b": b}
            for a, b in (
                "()",
                "[]",
                "<>",
                "**",
                "__",
                "--",
                "==",
                "{}",
                "#%",
                "+-",
                "//",
                ">|",
                "@&",
            )
        ],
    ),
    Schema(
        "repete",
        "texte",
        2,
        ("repete_{k}", "texte_fois_{k}"),
        (
            "le texte répété {k__mot} fois, avec {_sep} entre les copies",
            "{k__mot} copies du texte séparées par {_sep}",
            "`texte` écrit {k} fois, {_sep} séparant les copies",
            "qui répète le texte {k} fois en mettant {_sep} entre deux copies",
        ),
        '"{sep}".join([texte] * {k})',
        [{"k": k} | s for k in (2, 3, 4, 5) for s in SEPARATORS],
        limit=16,
    ),
    Schema(
        "complete",
        "texte",
        2,
        ("complete_{k}", "cadre_{k}", "aligne_{k}"),
        (
            "le texte complété {_ou} par des « {c} » jusqu’à {k} caractères",
            "qui ajoute des « {c} » {_ou} du texte pour atteindre {k} caractères",
            "`texte` porté à {k} caractères par des « {c} » ajoutés {_ou}",
            "le texte sur {k} caractères au moins, complété {_ou} avec « {c} »",
        ),
        'texte.{m}({k}, "{c}")',
        [
            {"m": m, "k": k, "c": c, "_ou": ou}
            for m, ou in (("rjust", "à gauche"), ("ljust", "à droite"))
            for k in (4, 6, 8, 10, 12, 15)
            for c in "0.*-"
        ],
        limit=20,
    ),
    Schema(
        "etape",
        "texte",
        1,
        ("texte_{_nom}", "{_nom}"),
        (
            "le texte {_fr}",
            "`texte` {_fr}",
            "une copie du texte {_fr}",
            "le contenu de `texte` {_fr}",
        ),
        "texte{_code}",
        [chain(i) for i in range(len(STEPS))],
    ),
    Schema(
        "deux_etapes",
        "texte",
        2,
        ("{_nom}", "transforme", "deux_etapes"),
        (
            "le texte {_fr}",
            "`texte` {_fr}",
            "une copie du texte {_fr}",
            "le texte d’abord {_fr}",
        ),
        "texte{_code}",
        chains(2, 84),
        limit=84,
    ),
    Schema(
        "trois_etapes",
        "texte",
        3,
        ("transforme", "trois_etapes", "prepare"),
        ("le texte {_fr}", "`texte` {_fr}", "une copie du texte {_fr}", "le texte d’abord {_fr}"),
        "texte{_code}",
        chains(3, 22),
        new=True,
    ),
    Schema(
        "bilan",
        "texte",
        2,
        ("{final}_{suite}", "bilan"),
        (
            "{_final} du texte {_fr}",
            "{_final} de `texte` {_fr}",
            "{_final} pour le texte {_fr}",
            "{_final} d’une copie du texte {_fr}",
        ),
        "{_bilan}",
        [
            chain(i)
            | {"final": name, "_final": fr, "_bilan": code.replace("{x}", "texte" + STEPS[i][2])}
            for i in range(len(STEPS))
            for name, fr, code in FINALS
        ],
        limit=30,
    ),
    Schema(
        "nombre_de_mots",
        "texte",
        2,
        ("compte_mots_{mots}", "nombre_mots_{mots}"),
        (
            "le nombre de mots {_fr} dans le texte",
            "qui compte les mots {_fr} de `texte`",
            "qui dit combien de mots {_fr} figurent dans le texte",
            "le nombre total de mots du texte {_fr}",
        ),
        "sum({_code} for m in texte.split())",
        WORD_TEST,
    ),
    Schema(
        "mots_choisis",
        "texte",
        2,
        ("mots_{mots}", "liste_mots_{mots}"),
        (
            "la liste des mots {_fr} du texte",
            "les mots {_fr} de `texte`, dans une liste",
            "la liste, dans l’ordre, des mots du texte {_fr}",
            "tous les mots {_fr} du texte, sous forme de liste",
        ),
        "[m for m in texte.split() if {_code}]",
        WORD_TEST,
    ),
    Schema(
        "mots_joints",
        "texte",
        3,
        ("joint_{mots}", "phrase_{mots}"),
        (
            "les mots {_fr} du texte, {_avec}",
            "une chaîne faite des mots {_fr} de `texte`, {_avec}",
            "seulement les mots du texte {_fr}, {_avec}",
            "le texte réduit à ses mots {_fr}, {_avec}",
        ),
        '"{sep}".join(m for m in texte.split() if {_code})',
        cross(WORD_TEST, JOINS[1:4]),
        limit=12,
        new=True,
    ),
    Schema(
        "ieme_mot",
        "texte",
        1,
        ("mot_{k}", "extrait_mot_{k}"),
        (
            "le {k__ieme} mot du texte",
            "le {k__ieme} mot de `texte` (les mots sont séparés par des espaces)",
            "le mot de rang {k} du texte, en comptant à partir de 1",
            "le mot numéro {k} du texte, le premier portant le numéro 1",
        ),
        "texte.split()[{_i}]",
        [{"k": k, "_i": k - 1} for k in range(2, 7)],
    ),
    Schema(
        "joint_mots",
        "texte",
        1,
        ("relie_mots", "joint"),
        (
            "les mots du texte {_avec}",
            "les mots de `texte` {_avec}",
            "tous les mots du texte, {_avec}",
            "une chaîne où les mots du texte sont {_avec}",
        ),
        '"{sep}".join(texte.split())',
        JOINS,
    ),
    Schema(
        "mots_renverses",
        "texte",
        2,
        ("mots_renverses", "ordre_inverse"),
        (
            "les mots du texte dans l’ordre inverse, {_avec}",
            "les mots de `texte`, du dernier au premier, {_avec}",
            "qui renverse l’ordre des mots du texte et les renvoie {_avec}",
            "une chaîne avec les mots du texte du dernier au premier, {_avec}",
        ),
        '"{sep}".join(texte.split()[::-1])',
        JOINS,
    ),
    Schema(
        "mots_tries",
        "texte",
        2,
        ("mots_tries", "trie_mots"),
        (
            "les mots du texte {_ordre}, {_avec}",
            "les mots de `texte`, triés {_ordre}, {_avec}",
            "qui trie les mots du texte {_ordre} et les renvoie {_avec}",
            "une chaîne avec les mots du texte rangés {_ordre}, {_avec}",
        ),
        '"{sep}".join({_tri})',
        cross(
            [
                {
                    "tri": "alpha",
                    "_ordre": "par ordre alphabétique",
                    "_tri": "sorted(texte.split())",
                },
                {
                    "tri": "taille",
                    "_ordre": "du plus court au plus long",
                    "_tri": "sorted(texte.split(), key=len)",
                },
                {
                    "tri": "decroissant",
                    "_ordre": "par ordre alphabétique inverse",
                    "_tri": "sorted(texte.split(), reverse=True)",
                },
            ],
            JOINS,
        ),
        limit=14,
    ),
    Schema(
        "mots_transformes",
        "texte",
        3,
        ("mots_{op}", "chaque_mot_{op}"),
        (
            "les mots du texte, chacun {_fr}, {_avec}",
            "chaque mot de `texte` {_fr}, les mots étant {_avec}",
            "le texte dont chaque mot est {_fr}, les résultats {_avec}",
            "les mots du texte {_avec}, chacun {_fr}",
        ),
        '"{sep}".join({_code} for m in texte.split())',
        cross(WORD_STEP, JOINS),
        limit=36,
    ),
    Schema(
        "liste_transformee",
        "texte",
        2,
        ("liste_{op}", "liste_mots_{op}"),
        (
            "la liste des mots du texte, chacun {_fr}",
            "une liste où chaque mot de `texte` est {_fr}",
            "la liste obtenue en prenant chaque mot du texte {_fr}",
            "dans une liste, chaque mot du texte {_fr}",
        ),
        "[{_code} for m in texte.split()]",
        WORD_STEP,
    ),
    Schema(
        "mot_extreme",
        "texte",
        2,
        ("mot_{quoi}_{sous}", "cherche_mot"),
        (
            "{_sous}{_quoi} du texte",
            "{_sous}{_quoi} de `texte`",
            "{_sous}{_quoi} trouvé dans le texte",
            "{_sous}{_quoi} parmi les mots du texte",
        ),
        "{_code}",
        [
            {
                "quoi": quoi,
                "sous": sous,
                "_quoi": fr,
                "_sous": before,
                "_code": code.replace("{x}", x),
            }
            for quoi, fr, x in (
                ("long", "mot le plus long", "max(texte.split(), key=len)"),
                ("court", "mot le plus court", "min(texte.split(), key=len)"),
                ("premier", "premier mot dans l’ordre alphabétique", "min(texte.split())"),
                ("dernier", "dernier mot dans l’ordre alphabétique", "max(texte.split())"),
            )
            for sous, before, code in (
                ("tel_quel", "le ", "{x}"),
                ("majuscules", "en majuscules, le ", "{x}.upper()"),
                ("inverse", "à l’envers, le ", "{x}[::-1]"),
                ("longueur", "la longueur du ", "len({x})"),
                ("initiale", "la première lettre du ", "{x}[0]"),
            )
        ],
    ),
    Schema(
        "champ",
        "texte",
        1,
        ("champ_{k}_{_nom}", "colonne_{k}_{_nom}"),
        (
            "le {k__ieme} champ du texte, découpé par {_sep}",
            "le {k__ieme} morceau de `texte` quand on le coupe à chaque « {sep} »",
            "le champ numéro {k} du texte, les champs étant séparés par « {sep} »",
            "la {k__ieme} valeur d’une ligne dont le séparateur est « {sep} »",
        ),
        'texte.split("{sep}")[{_i}]',
        [{"k": k, "_i": k - 1} | s for k in (2, 3, 4) for s in SEPARATORS],
        extra=fields,
    ),
    Schema(
        "nombre_champs",
        "texte",
        1,
        ("compte_champs_{_nom}", "nombre_de_champs_{_nom}"),
        (
            "le nombre de champs du texte, séparés par {_seps}",
            "le nombre de morceaux de `texte` quand on le coupe à chaque « {sep} »",
            "qui compte les valeurs d’une ligne dont le séparateur est « {sep} »",
            "qui dit combien de champs compte le texte, découpé par « {sep} »",
        ),
        'len(texte.split("{sep}"))',
        SEPARATORS,
        extra=fields,
    ),
    Schema(
        "avant_apres",
        "texte",
        2,
        ("{cote}_{_nom}", "partie_{cote}_{_nom}"),
        (
            "ce qui se trouve {_cote} « {sep} » du texte",
            "la partie de `texte` située {_cote} « {sep} »",
            "le morceau du texte placé {_cote} « {sep} »",
            "tout ce que contient le texte {_cote} « {sep} »",
        ),
        "texte.{_code}",
        [
            s | {"cote": cote, "_cote": fr, "_code": code.replace("SEP", s["sep"])}
            for s in SEPARATORS
            for cote, fr, code in (
                ("avant", "avant le premier", 'partition("SEP")[0]'),
                ("apres", "après le premier", 'partition("SEP")[2]'),
                ("fin", "après le dernier", 'rpartition("SEP")[2]'),
            )
        ],
        extra=fields,
    ),
    Schema(
        "cesar",
        "texte",
        3,
        ("cesar_{k}", "decale_{k}"),
        (
            "le texte, en minuscules sans accents, où chaque lettre avance de {k__mot} dans l’alphabet",
            "`texte` chiffré par un décalage de {k} lettres, z étant suivi de a",
            "le chiffre de César de décalage {k} d’un texte fait de lettres minuscules",
            "le texte dont chaque lettre minuscule est décalée de {k} rangs, en revenant à a après z",
        ),
        '"".join(chr((ord(c) - 97 + {k}) % 26 + 97) for c in texte)',
        grid(k=(2, 3, 4, 5, 7, 10)),
        new=True,
        extra=lambda p: [("abc",), ("xyz",), ("bonjour",), ("zebre",), ("python",)],
    ),
    Schema(
        "tronque",
        "texte",
        2,
        ("tronque_{k}", "raccourcit_{k}"),
        (
            "le texte s’il tient en {k} caractères, sinon ses {k} premiers suivis de « {c} »",
            "qui coupe le texte à {k} caractères et ajoute « {c} » s’il est plus long",
            "`texte` s’il n’a pas plus de {k} caractères, sinon les {k} premiers et « {c} »",
            "le texte, coupé après {k} caractères et suivi de « {c} » quand il est trop long",
        ),
        'texte if len(texte) <= {k} else texte[:{k}] + "{c}"',
        grid(k=(4, 5, 6, 8, 10, 12), c=("…", "...", "+")),
        extra=lambda p: [("abcdefghijklmnopqrst"[: p["k"] + i],) for i in (-1, 0, 1)],
    ),
    Schema(
        "masque",
        "texte",
        3,
        ("masque_{k}", "cache_{k}"),
        (
            "le texte où tout est remplacé par « {c} », sauf les {k__mot} derniers caractères",
            "qui cache le texte par des « {c} » en laissant voir ses {k} derniers caractères",
            "`texte` masqué par des « {c} », les {k__mot} derniers caractères restant lisibles",
            "des « {c} » à la place de chaque caractère du texte, hormis les {k} derniers",
        ),
        '"{c}" * (len(texte) - {k}) + texte[-{k}:]',
        grid(k=range(2, 6), c="*#"),
        new=True,
    ),
    Schema(
        "longueur",
        "texte",
        1,
        ("longueur_{op}_{k}", "assez_{op}_{k}"),
        (
            "si le texte compte {_fr} de {k} caractères",
            "si `texte` a {_fr} de {k__mot} caractères",
            "si la longueur du texte est de {_fr} de {k} caractères",
            "si le texte contient {_fr} de {k} caractères",
        ),
        "len(texte) {_op} {k}",
        [
            {"op": op, "k": k, "_fr": fr, "_op": sign}
            for op, fr, sign in (("plus", "plus", ">"), ("moins", "moins", "<"))
            for k in (3, 4, 5, 6, 8, 10, 12, 16)
        ],
        extra=lambda p: [("abcdefghijklmnopqrstuvw"[: p["k"] + i],) for i in (-1, 0, 1, 3)],
    ),
    Schema(
        "etire",
        "texte",
        2,
        ("etire_{k}", "repete_lettres_{k}"),
        (
            "le texte où chaque caractère est répété {k__mot} fois",
            "qui répète {k} fois chaque caractère du texte",
            "`texte` avec chaque caractère écrit {k__mot} fois de suite",
            "une chaîne où chaque caractère du texte figure {k} fois de suite",
        ),
        '"".join(c * {k} for c in texte)',
        grid(k=range(2, 8)),
    ),
    Schema(
        "espace",
        "texte",
        1,
        ("separe_par_{_nom}", "intercale_{_nom}"),
        (
            "les caractères du texte séparés par {_seps}",
            "le texte avec {_sep} entre deux caractères voisins",
            "qui intercale « {sep} » entre les caractères de `texte`",
            "les caractères de `texte` reliés par « {sep} »",
        ),
        '"{sep}".join(texte)',
        SEPARATORS,
    ),
    Schema(
        "position",
        "texte",
        1,
        ("position_{a}", "indice_{a}"),
        (
            "l’indice du {_ou} « {a} » du texte, ou -1 s’il n’y en a pas",
            "la position du {_ou} {a} dans `texte` (-1 si la lettre n’y est pas)",
            "la place du {_ou} « {a} » dans le texte, comptée à partir de 0, ou -1",
            "l’indice où se trouve le {_ou} {a} du texte, -1 s’il est absent",
        ),
        'texte.{_m}("{a}")',
        [
            {"a": a, "ou": m, "_ou": fr, "_m": m}
            for a in "aeiorst"
            for m, fr in (("find", "premier"), ("rfind", "dernier"))
        ],
    ),
    Schema(
        "tableau",
        "texte",
        3,
        ("compte_lettres", "frequences"),
        (
            "un dictionnaire qui donne le nombre de {_fr} du texte",
            "un dictionnaire dont les clés sont {_fr} et les valeurs leur nombre dans `texte`",
            "le nombre de {_fr} du texte, dans un dictionnaire",
            "un dictionnaire du nombre d’apparitions de {_fr} dans le texte",
        ),
        '{c: texte.count(c) for c in "{lettres}"}',
        [
            {"lettres": x, "_fr": ", ".join(x[:-1]) + " et " + x[-1]}
            for x in ("aeiou", "abc", "rst", "lmn", "eas", "xyz", "io", "du", "pqr", "nte")
        ],
    ),
    Schema(
        "texte_k",
        "texte_k",
        1,
        ("{_nom}",),
        ("{_fr}", "{_fr2}", "{_fr3}", "{_fr4}"),
        "{_code}",
        [
            {
                "quoi": n,
                "_nom": n,
                "_fr": f,
                "_fr2": f.replace("du texte", "de `texte`"),
                "_fr3": f.replace("k", "`k`").replace("du texte", "de `texte`"),
                "_fr4": f.replace("k", "`k`"),
                "_code": c,
            }
            for n, f, c in (
                ("prefixe", "les k premiers caractères du texte", "texte[:k]"),
                ("suffixe", "les k derniers caractères du texte", "texte[-k:]"),
                ("caractere", "le caractère d’indice k du texte", "texte[k]"),
                ("ote_debut", "la suite du texte après ses k premiers caractères", "texte[k:]"),
                ("ote_fin", "le début du texte, sans ses k derniers caractères", "texte[:-k]"),
                ("multiplie", "la répétition du texte k fois de suite", "texte * k"),
                ("saute", "un caractère sur k du texte", "texte[::k]"),
                ("mot", "le mot d’indice k du texte", "texte.split()[k]"),
                (
                    "longs",
                    "la liste des mots du texte de plus de k lettres",
                    "[m for m in texte.split() if len(m) > k]",
                ),
                (
                    "compte_longs",
                    "le nombre de mots du texte de plus de k lettres",
                    "sum(len(m) > k for m in texte.split())",
                ),
                ("mots_debut", "la liste des k premiers mots du texte", "texte.split()[:k]"),
                (
                    "etire",
                    "la version du texte où chaque caractère est répété k fois",
                    '"".join(c * k for c in texte)',
                ),
            )
        ],
    ),
    Schema(
        "deux_textes",
        "deux_textes",
        1,
        ("{_nom}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_nom": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "commence_par",
                    "si u commence par v",
                    "si `v` est le début de `u`",
                    "u.startswith(v)",
                ),
                ("finit_par", "si u finit par v", "si `v` est la fin de `u`", "u.endswith(v)"),
                ("contient", "si u contient v", "si `v` figure dans `u`", "v in u"),
                (
                    "compte",
                    "le nombre de fois que v figure dans u",
                    "le nombre de `v` dans `u`",
                    "u.count(v)",
                ),
                ("tiret", "u et v reliés par un tiret", "`u`, un tiret, puis `v`", 'u + "-" + v'),
                (
                    "virgule",
                    "v, une virgule, puis u",
                    "`v` et `u` séparés par une virgule",
                    'v + "," + u',
                ),
                (
                    "retire",
                    "le texte u sans aucun v",
                    "`u` dont on a supprimé tous les `v`",
                    'u.replace(v, "")',
                ),
                (
                    "difference",
                    "la différence de longueur entre u et v, en valeur absolue",
                    "l’écart, positif, entre les longueurs de `u` et de `v`",
                    "abs(len(u) - len(v))",
                ),
                (
                    "longueurs",
                    "la longueur totale de u et de v",
                    "la somme des longueurs de `u` et de `v`",
                    "len(u) + len(v)",
                ),
                (
                    "plus_long",
                    "le plus long des deux textes u et v (u s’ils ont la même longueur)",
                    "`u` ou `v`, celui qui a le plus de caractères, `u` en cas d’égalité",
                    "max(u, v, key=len)",
                ),
                (
                    "meme_longueur",
                    "si u et v ont la même longueur",
                    "si `u` et `v` comptent autant de caractères",
                    "len(u) == len(v)",
                ),
                (
                    "sans_casse",
                    "si u et v sont égaux sans tenir compte de la casse",
                    "si `u` et `v` sont le même texte, aux majuscules près",
                    "u.lower() == v.lower()",
                ),
                (
                    "anagrammes",
                    "si u et v sont faits des mêmes lettres",
                    "si `u` et `v` sont des anagrammes",
                    "sorted(u) == sorted(v)",
                ),
                (
                    "communes",
                    "la liste triée des caractères communs à u et à v",
                    "les caractères présents dans `u` et dans `v`, triés, dans une liste",
                    "sorted(set(u) & set(v))",
                ),
                (
                    "apres",
                    "ce qui suit le premier v dans u",
                    "la partie de `u` après le premier `v`",
                    "u.partition(v)[2]",
                ),
                (
                    "position",
                    "l’indice de v dans u, ou -1",
                    "la position de `v` dans `u`, -1 s’il manque",
                    "u.find(v)",
                ),
            )
        ],
    ),
]
