"""Les schémas du domaine « nombres » : listes d’entiers."""

from tools.instructions.taches_schema import WORDS, Schema, grid

CONDITIONS = [  # au pluriel, puis au singulier pour « un nombre … », puis le test
    ("pairs", "pairs", "x % 2 == 0"),
    ("impairs", "impairs", "x % 2 == 1"),
    ("positifs", "strictement positifs", "x > 0"),
    ("negatifs", "strictement négatifs", "x < 0"),
    *((f"plus_de_{k}", f"supérieurs à {k}", f"x > {k}") for k in (2, 3, 5, 7, 8, 10, 12, 15, 20)),
    *((f"moins_de_{k}", f"inférieurs à {k}", f"x < {k}") for k in (2, 3, 5, 7, 8, 10, 12, 15, 20)),
    *((f"multiples_de_{k}", f"divisibles par {k}", f"x % {k} == 0") for k in (3, 4, 5, 6, 7, 10)),
    *((f"fin_{k}", f"égaux à {k} modulo 10", f"x % 10 == {k}") for k in (1, 2, 5, 7)),
    *(
        (f"entre_{a}_{b}", f"compris entre {a} et {b} (bornes incluses)", f"{a} <= x <= {b}")
        for a, b in ((2, 8), (3, 9), (0, 10), (5, 15), (-5, 5), (10, 20), (4, 12))
    ),
    *((f"sauf_{k}", f"différents de {k}", f"x != {k}") for k in (0, 1, 3, 5, 7)),
]
CONDITION = [{"cond": n, "_cond": fr, "_si": code} for n, fr, code in CONDITIONS]
TRANSFORMS = [
    *((f"fois_{k}", f"multiplié par {k}", f"x * {k}") for k in range(2, 11)),
    *((f"plus_{k}", f"augmenté de {k}", f"x + {k}") for k in range(1, 11)),
    *((f"moins_{k}", f"diminué de {k}", f"x - {k}") for k in range(1, 9)),
    *((f"{k}_moins", f"soustrait de {k}", f"{k} - x") for k in (5, 10, 20, 100)),
    *(
        (f"reste_{k}", f"remplacé par son reste dans la division par {k}", f"x % {k}")
        for k in (2, 3, 4, 5, 7, 9)
    ),
    *(
        (f"quotient_{k}", f"remplacé par son quotient par {k} (opérateur //)", f"x // {k}")
        for k in (2, 3, 4, 5, 10)
    ),
    ("carre", "élevé au carré", "x**2"),
    ("cube", "élevé au cube", "x**3"),
    ("oppose", "changé de signe", "-x"),
    ("absolu", "pris en valeur absolue", "abs(x)"),
    ("texte", "converti en chaîne", "str(x)"),
    ("couple", "remplacé par le couple (x, x au carré)", "(x, x**2)"),
    *((f"max_{k}", f"relevé à {k} s’il est plus petit", f"max(x, {k})") for k in (0, 3, 5)),
    *((f"min_{k}", f"ramené à {k} s’il est plus grand", f"min(x, {k})") for k in (4, 8, 10)),
    *(
        (f"{a}x_{b}", f"multiplié par {a} puis augmenté de {b}", f"{a} * x + {b}")
        for a, b in ((2, 1), (3, 2), (2, 5), (4, 3), (5, 1), (3, 10), (10, 7), (6, 4))
    ),
]
TRANSFORM = [{"op": n, "_fr": fr, "_x": code} for n, fr, code in TRANSFORMS]
TOTALS = [  # agrégat, en français, expression où {x} est la suite
    ("somme", "la somme", "sum({x})"),
    ("maximum", "le plus grand", "max({x})"),
    ("minimum", "le plus petit", "min({x})"),
]
STEPS = [  # listes : des expressions qui s’emboîtent
    ("triee", "triée", "sorted({x})"),
    ("triee_decroissant", "triée par ordre décroissant", "sorted({x}, reverse=True)"),
    ("renversee", "renversée", "{x}[::-1]"),
    ("deux_premiers", "réduite à ses deux premiers éléments", "{x}[:2]"),
    ("trois_premiers", "réduite à ses trois premiers éléments", "{x}[:3]"),
    ("quatre_premiers", "réduite à ses quatre premiers éléments", "{x}[:4]"),
    ("deux_derniers", "réduite à ses deux derniers éléments", "{x}[-2:]"),
    ("trois_derniers", "réduite à ses trois derniers éléments", "{x}[-3:]"),
    ("sans_premier", "sans son premier élément", "{x}[1:]"),
    ("sans_dernier", "sans son dernier élément", "{x}[:-1]"),
    ("un_sur_deux", "réduite à un élément sur deux", "{x}[::2]"),
    ("doublee", "avec chaque nombre doublé", "[2 * x for x in {x}]"),
    ("plus_un", "avec chaque nombre augmenté de 1", "[x + 1 for x in {x}]"),
    ("carres", "avec chaque nombre au carré", "[x**2 for x in {x}]"),
    ("pairs", "réduite à ses nombres pairs", "[x for x in {x} if x % 2 == 0]"),
    ("positifs", "réduite à ses nombres strictement positifs", "[x for x in {x} if x > 0]"),
]


def nest(*numbers: int) -> dict:
    """Les paramètres d’une suite d’opérations de STEPS sur une liste."""
    code = "nombres"
    for i in numbers:
        code = STEPS[i][2].replace("{x}", code)
    return {
        "suite": "+".join(STEPS[i][0] for i in numbers),
        "_nom": "_".join(STEPS[i][0] for i in numbers),
        "_fr": ", puis ".join(STEPS[i][1] for i in numbers),
        "_code": code,
    }


def nests(length: int, count: int) -> list[dict]:
    """`count` suites réparties régulièrement, sans deux fois la même opération."""
    total, found, at = len(STEPS) ** length, [], 0
    while len(found) < count:
        at = (at + 2741) % total  # impair : passe par toutes les suites
        numbers = [at // len(STEPS) ** i % len(STEPS) for i in range(length)]
        if len(set(numbers)) == length:
            found.append(nest(*numbers))
    return found


def cross(first: list[dict], second: list[dict]) -> list[dict]:
    return [a | b for a in first for b in second]


def total(name: str, french: str, code: str) -> list[dict]:
    """Un agrégat sur les nombres qui remplissent chaque condition."""
    return [
        c
        | {
            "total": name,
            "_total": french,
            "_code": code.replace("{x}", f"x for x in nombres if {c['_si']}"),
        }
        for c in CONDITION
    ]


def with_value(params: dict) -> list[tuple]:
    """Des listes où figure le nombre k."""
    k = params["k"]
    return [
        ([k, 4, k, 9, 1],),
        ([3, k],),
        ([8, 6, -2, k, k, k],),
        ([k + 1, k - 1, 2 * k],),
        ([k + 10, k, -k],),
    ]


SCHEMAS = [
    Schema(
        "filtre",
        "nombres",
        2,
        ("garde_{cond}", "filtre_{cond}"),
        (
            "la liste des nombres {_cond}, parmi ceux de la liste",
            "les nombres de `nombres` {_cond}, dans une liste",
            "qui ne garde d’une liste que les nombres {_cond}",
            "la liste réduite à ses nombres {_cond}",
        ),
        "[x for x in nombres if {_si}]",
        CONDITION,
    ),
    Schema(
        "retire",
        "nombres",
        2,
        ("sans_{cond}", "retire_{cond}"),
        (
            "la liste sans ses nombres {_cond}",
            "`nombres` privée de ses nombres {_cond}",
            "qui enlève d’une liste les nombres {_cond}",
            "ce qui reste de la liste quand on ôte les nombres {_cond}",
        ),
        "[x for x in nombres if {_non}]",
        [
            c | {"_non": f"not {c['_si']}" if "<=" in c["_si"] else c["_si"].replace("==", "!=")}
            for c in CONDITION
            if c["cond"].startswith(("multiples", "fin", "entre"))
        ],
    ),
    Schema(
        "compte",
        "nombres",
        2,
        ("compte_{cond}", "nombre_{cond}"),
        (
            "le nombre d’éléments de la liste {_cond}",
            "qui compte les nombres {_cond} de `nombres`",
            "qui dit combien de nombres {_cond} contient une liste",
            "le nombre d’entiers {_cond} dans `nombres`",
        ),
        "sum({_si} for x in nombres)",
        CONDITION,
    ),
    Schema(
        "somme_cond",
        "nombres",
        2,
        ("somme_{cond}", "total_{cond}"),
        (
            "la somme des nombres {_cond} de la liste",
            "la somme des éléments de `nombres` {_cond}",
            "qui additionne les nombres {_cond} d’une liste",
            "le total des nombres {_cond} contenus dans `nombres`",
        ),
        "sum(x for x in nombres if {_si})",
        CONDITION,
    ),
    Schema(
        "extreme_cond",
        "nombres",
        2,
        ("{total}_{cond}", "{total}_parmi_{cond}"),
        (
            "{_total} des nombres {_cond} de la liste",
            "{_total} des éléments de `nombres` {_cond}",
            "{_total} des nombres d’une liste {_cond} (il y en a au moins un)",
            "{_total} des entiers {_cond} de `nombres`",
        ),
        "{_code}",
        [row for t in TOTALS[1:] for row in total(*t)],
        limit=24,
    ),
    Schema(
        "tous",
        "nombres",
        2,
        ("tous_{cond}", "que_des_{cond}"),
        (
            "si tous les nombres de la liste sont {_cond}",
            "si les éléments de `nombres` sont tous {_cond}",
            "si une liste ne contient que des nombres {_cond}",
            "si chacun des nombres de `nombres` compte parmi les nombres {_cond}",
        ),
        "all({_si} for x in nombres)",
        [c for c in CONDITION if not c["cond"].startswith(("fin", "sauf"))],
    ),
    Schema(
        "existe",
        "nombres",
        2,
        ("existe_{cond}", "un_des_{cond}"),
        (
            "si la liste contient au moins un des nombres {_cond}",
            "s’il existe dans `nombres` des nombres {_cond}",
            "si l’on trouve des nombres {_cond} dans une liste",
            "si un élément au moins de `nombres` est parmi les nombres {_cond}",
        ),
        "any({_si} for x in nombres)",
        CONDITION,
    ),
    Schema(
        "transforme",
        "nombres",
        1,
        ("liste_{op}", "chaque_{op}"),
        (
            "la liste où chaque nombre est {_fr}",
            "la liste des éléments de `nombres`, chacun {_fr}",
            "une nouvelle liste avec chaque nombre x de `nombres` {_fr}",
            "`nombres`, chaque élément étant {_fr}",
        ),
        "[{_x} for x in nombres]",
        TRANSFORM,
        limit=34,
    ),
    Schema(
        "somme_transforme",
        "nombres",
        2,
        ("somme_{op}", "total_{op}"),
        (
            "la somme des nombres de la liste, chacun {_fr}",
            "la somme des éléments de `nombres`, chacun étant d’abord {_fr}",
            "le total d’une liste dont chaque nombre est {_fr}",
            "la somme obtenue quand chaque nombre de `nombres` est {_fr}",
        ),
        "sum({_x} for x in nombres)",
        [t for t in TRANSFORM if t["op"] not in ("texte", "couple")],
        limit=24,
    ),
    Schema(
        "filtre_transforme",
        "nombres",
        3,
        ("liste_{op}_{cond}", "{cond}_{op}"),
        (
            "la liste des nombres {_cond}, chacun {_fr}",
            "les nombres de `nombres` {_cond}, chacun {_fr}, dans une liste",
            "la liste obtenue en gardant les nombres {_cond}, chacun {_fr}",
            "une liste des nombres {_cond} de `nombres`, chacun {_fr}",
        ),
        "[{_x} for x in nombres if {_si}]",
        cross(TRANSFORM, CONDITION),
        limit=50,
    ),
    Schema(
        "somme_filtre_transforme",
        "nombres",
        3,
        ("somme_{op}_{cond}", "total_{op}_{cond}"),
        (
            "la somme des nombres {_cond} de la liste, chacun {_fr}",
            "la somme des éléments de `nombres` {_cond}, chacun {_fr}",
            "le total des nombres {_cond}, chacun étant {_fr}",
            "la somme, pour les nombres {_cond} de `nombres`, de chacun {_fr}",
        ),
        "sum({_x} for x in nombres if {_si})",
        cross([t for t in TRANSFORM if t["op"] not in ("texte", "couple")], CONDITION),
        limit=16,
        new=True,
    ),
    Schema(
        "liste_tranche",
        "nombres",
        1,
        ("{quoi}_{k}", "liste_{quoi}_{k}"),
        (
            "{_avant}{k__mot} {_rang} éléments{_apres}",
            "{_avant}{k} {_rang} éléments{_apres}",
            "{_avant}{k__mot} {_rang} nombres{_apres}",
            "{_avant}{k} {_rang} nombres{_apres}",
        ),
        "nombres{_code}",
        [
            {
                "k": k,
                "quoi": n,
                "_avant": "la liste sans ses " if "sans" in n else "les ",
                "_rang": f,
                "_apres": "" if "sans" in n else " de `nombres`",
                "_code": c.replace("K", str(k)),
            }
            for k in range(2, 8)
            for n, f, c in (
                ("premiers", "premiers", "[:K]"),
                ("derniers", "derniers", "[-K:]"),
                ("sans_premiers", "premiers", "[K:]"),
                ("sans_derniers", "derniers", "[:-K]"),
            )
        ],
    ),
    Schema(
        "un_sur",
        "nombres",
        1,
        ("un_sur_{k}_depuis_{a}", "pas_{k}_{a}"),
        (
            "un élément sur {k__mot} de la liste, à partir de l’indice {a}",
            "les éléments de `nombres` pris de {k} en {k} depuis l’indice {a}",
            "la liste réduite à un nombre sur {k}, le premier étant celui d’indice {a}",
            "un nombre sur {k__mot} de `nombres`, depuis l’indice {a}",
        ),
        "nombres[{a}::{k}]",
        grid(k=(2, 3, 4), a=(1, 2)),
    ),
    Schema(
        "plus_grands",
        "nombres",
        2,
        ("{quoi}_{k}", "les_{k}_{quoi}"),
        (
            "{_fr} de la liste",
            "{_fr} de `nombres`",
            "{_fr} d’une liste d’entiers",
            "{_fr} de la liste `nombres`",
        ),
        "{_code}",
        [
            {
                "k": k,
                "quoi": n,
                "_fr": f.replace("K", WORDS[k]),
                "_code": c.replace("K", str(k)).replace("I", str(k - 1)),
            }
            for k in range(2, 7)
            for n, f, c in (
                (
                    "grands",
                    "la liste des K plus grands nombres, du plus grand au plus petit,",
                    "sorted(nombres, reverse=True)[:K]",
                ),
                (
                    "petits",
                    "la liste des K plus petits nombres, du plus petit au plus grand,",
                    "sorted(nombres)[:K]",
                ),
                ("somme_grands", "la somme des K plus grands nombres", "sum(sorted(nombres)[-K:])"),
                ("somme_petits", "la somme des K plus petits nombres", "sum(sorted(nombres)[:K])"),
            )
        ],
    ),
    Schema(
        "rang",
        "nombres",
        2,
        ("{quoi}_rang_{k}", "rang_{k}_{quoi}"),
        (
            "le {k__ieme} plus {_fr} nombre de la liste",
            "le {k__ieme} plus {_fr} élément de `nombres`, doublons comptés",
            "le nombre de rang {k} quand on trie `nombres` {_ordre}",
            "l’élément numéro {k} de la liste rangée {_ordre}",
        ),
        "sorted(nombres)[{_i}]",
        [
            {"k": k, "quoi": n, "_fr": f, "_ordre": o, "_i": i(k)}
            for k in range(2, 6)
            for n, f, o, i in (
                ("grand", "grand", "du plus grand au plus petit", lambda k: -k),
                ("petit", "petit", "du plus petit au plus grand", lambda k: k - 1),
            )
        ],
    ),
    Schema(
        "tri",
        "nombres",
        2,
        ("trie_{quoi}", "tri_{quoi}"),
        (
            "la liste triée {_fr}",
            "les éléments de `nombres` triés {_fr}",
            "une nouvelle liste des mêmes nombres, triés {_fr}",
            "`nombres` dans une liste triée {_fr}",
        ),
        "sorted(nombres, {_code})",
        [
            {"quoi": n, "_fr": f, "_code": c}
            for n, f, c in (
                ("absolu", "par valeur absolue", "key=abs"),
                ("absolu_decroissant", "par valeur absolue décroissante", "key=abs, reverse=True"),
                ("texte", "comme des chaînes de caractères", "key=str"),
                *(
                    (
                        f"reste_{k}",
                        f"selon le reste de la division par {k}",
                        f"key=lambda x: x % {k}",
                    )
                    for k in (2, 3, 5, 7, 10)
                ),
                *(
                    (
                        f"proche_{k}",
                        f"du plus proche au plus éloigné de {k}",
                        f"key=lambda x: abs(x - {k})",
                    )
                    for k in (3, 5, 8, 10, 12, 20)
                ),
            )
        ],
    ),
    Schema(
        "etape",
        "nombres",
        1,
        ("liste_{_nom}", "{_nom}"),
        (
            "la liste {_fr}",
            "la liste `nombres` {_fr}",
            "une copie de la liste {_fr}",
            "une nouvelle liste : `nombres` {_fr}",
        ),
        "{_code}",
        [nest(i) for i in range(len(STEPS))],
    ),
    Schema(
        "deux_etapes",
        "nombres",
        2,
        ("{_nom}", "prepare", "deux_etapes"),
        (
            "la liste {_fr}",
            "la liste `nombres` {_fr}",
            "une copie de la liste {_fr}",
            "une liste : `nombres` {_fr}",
        ),
        "{_code}",
        nests(2, 56),
        limit=56,
    ),
    Schema(
        "etapes_somme",
        "nombres",
        3,
        ("{total}_{_nom}", "bilan"),
        (
            "{_total} des nombres de la liste {_fr}",
            "{_total} des éléments de la liste `nombres` {_fr}",
            "{_total} des nombres d’une liste {_fr}",
            "{_total} des nombres de la liste d’abord {_fr}",
        ),
        "{_fin}",
        [
            s | {"total": n, "_total": f, "_fin": c.replace("{x}", s["_code"])}
            for s in nests(2, 90)
            for n, f, c in TOTALS
        ],
        limit=16,
        new=True,
    ),
    Schema(
        "valeur",
        "nombres",
        1,
        ("{quoi}_{k}", "{quoi}_du_{k}"),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {
                "k": k,
                "quoi": n,
                "_fr": f.replace("K", str(k)),
                "_fr2": g.replace("K", str(k)),
                "_code": c.replace("K", str(k)),
            }
            for k in (3, 4, 5, 7, 8, 10)
            for n, f, g, c in (
                (
                    "compte",
                    "le nombre de fois que K figure dans la liste",
                    "le nombre de K dans `nombres`",
                    "nombres.count(K)",
                ),
                (
                    "contient",
                    "si K figure dans la liste",
                    "si `nombres` contient le nombre K",
                    "K in nombres",
                ),
                (
                    "sans",
                    "la liste sans aucun K",
                    "`nombres` dont on a retiré tous les K",
                    "[x for x in nombres if x != K]",
                ),
                (
                    "position",
                    "l’indice du premier K de la liste, qui en contient un",
                    "la position, depuis 0, du premier K de `nombres` (il y en a un)",
                    "nombres.index(K)",
                ),
                (
                    "ajoute",
                    "la liste suivie du nombre K",
                    "une copie de `nombres` avec K ajouté à la fin",
                    "nombres + [K]",
                ),
                (
                    "ajoute_debut",
                    "la liste précédée du nombre K",
                    "une copie de `nombres` avec K ajouté au début",
                    "[K] + nombres",
                ),
                (
                    "annule",
                    "la liste où chaque K est remplacé par 0",
                    "`nombres` avec des 0 à la place des K",
                    "[0 if x == K else x for x in nombres]",
                ),
            )
        ],
        extra=with_value,
        limit=28,
    ),
    Schema(
        "doublons",
        "nombres",
        2,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "uniques_tries",
                    "la liste triée des nombres différents de la liste",
                    "les valeurs distinctes de `nombres`, triées, dans une liste",
                    "sorted(set(nombres))",
                ),
                (
                    "sans_doublons",
                    "la liste sans ses doublons, dans l’ordre de première apparition",
                    "les valeurs de `nombres`, chacune une seule fois, à sa première place",
                    "list(dict.fromkeys(nombres))",
                ),
                (
                    "nombre_distincts",
                    "le nombre de valeurs différentes dans la liste",
                    "qui compte les valeurs distinctes de `nombres`",
                    "len(set(nombres))",
                ),
                (
                    "a_des_doublons",
                    "si un nombre figure deux fois dans la liste",
                    "si `nombres` contient des doublons",
                    "len(set(nombres)) < len(nombres)",
                ),
                (
                    "repetes",
                    "la liste triée des nombres qui figurent plusieurs fois dans la liste",
                    "les valeurs répétées de `nombres`, triées, dans une liste",
                    "sorted(x for x in set(nombres) if nombres.count(x) > 1)",
                ),
                (
                    "seuls",
                    "la liste des nombres qui ne figurent qu’une fois dans la liste",
                    "les valeurs de `nombres` qui ne sont pas répétées, dans l’ordre",
                    "[x for x in nombres if nombres.count(x) == 1]",
                ),
                (
                    "frequences",
                    "un dictionnaire qui associe à chaque nombre de la liste son nombre d’apparitions",
                    "le nombre d’apparitions de chaque valeur de `nombres`, dans un dictionnaire",
                    "{x: nombres.count(x) for x in nombres}",
                ),
                (
                    "cumul",
                    "la liste des sommes cumulées",
                    "une liste où figure, à chaque place, la somme des éléments de `nombres` jusque-là",
                    "list(accumulate(nombres))",
                ),
                (
                    "amplitude",
                    "la différence entre le plus grand et le plus petit nombre de la liste",
                    "le maximum de `nombres` moins son minimum",
                    "max(nombres) - min(nombres)",
                ),
                (
                    "extremes",
                    "le couple formé du plus petit et du plus grand nombre de la liste",
                    "le minimum et le maximum de `nombres`, dans un couple",
                    "(min(nombres), max(nombres))",
                ),
                (
                    "moyenne",
                    "la moyenne de la liste, arrondie à l’entier inférieur",
                    "la somme de `nombres` divisée (division entière) par sa longueur",
                    "sum(nombres) // len(nombres)",
                ),
                (
                    "mediane",
                    "la valeur d’indice len // 2 de la liste triée",
                    "l’élément du milieu de `nombres` une fois triée (indice len // 2)",
                    "sorted(nombres)[len(nombres) // 2]",
                ),
                (
                    "place_du_max",
                    "l’indice du plus grand nombre de la liste",
                    "la position, depuis 0, du maximum de `nombres`",
                    "nombres.index(max(nombres))",
                ),
                (
                    "place_du_min",
                    "l’indice du plus petit nombre de la liste",
                    "la position, depuis 0, du minimum de `nombres`",
                    "nombres.index(min(nombres))",
                ),
                (
                    "croissante",
                    "si la liste est triée par ordre croissant",
                    "si `nombres` est rangée dans l’ordre croissant",
                    "nombres == sorted(nombres)",
                ),
                (
                    "symetrique",
                    "si la liste se lit de la même façon dans les deux sens",
                    "si `nombres` est égale à sa version renversée",
                    "nombres == nombres[::-1]",
                ),
                (
                    "bords",
                    "la somme du premier et du dernier nombre de la liste",
                    "le premier élément de `nombres` plus le dernier",
                    "nombres[0] + nombres[-1]",
                ),
            )
        ],
        extra=lambda p: [
            ([1, 2, 3, 4, 9],),
            ([4, 7, 4],),
            ([5, 5, 6, 6, 2],),
            ([1, 3, 3, 1],),
            ([-2, 0, 8],),
        ],
    ),
    Schema(
        "voisins",
        "nombres",
        3,
        ("{quoi}_voisins", "voisins_{quoi}"),
        (
            "la liste {_fr} de deux nombres voisins de la liste",
            "pour chaque paire de voisins de `nombres`, dans une liste, {_chaque}",
            "la liste {_fr} de chaque nombre et du suivant",
            "dans une liste, {_chaque} de chaque élément de `nombres` et du suivant",
        ),
        "[{_code} for a, b in zip(nombres, nombres[1:])]",
        [
            {"quoi": n, "_fr": f, "_chaque": g, "_code": c}
            for n, f, g, c in (
                ("somme", "des sommes", "la somme", "a + b"),
                ("produit", "des produits", "le produit", "a * b"),
                ("maximum", "des maximums", "le maximum", "max(a, b)"),
                ("minimum", "des minimums", "le minimum", "min(a, b)"),
                ("ecart", "des écarts absolus", "l’écart absolu", "abs(a - b)"),
            )
        ],
    ),
    Schema(
        "fenetres",
        "nombres",
        3,
        ("{quoi}_{k}", "{quoi}_par_{k}"),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {
                "k": k,
                "quoi": n,
                "_fr": f.replace("K", WORDS[k]),
                "_fr2": g.replace("K", str(k)),
                "_code": c.replace("K", str(k)).replace("I", str(k - 1)),
            }
            for k in (2, 3, 4)
            for n, f, g, c in (
                (
                    "paquets",
                    "la liste découpée en paquets de K éléments (le dernier peut être plus court)",
                    "une liste de listes : `nombres` coupée tous les K éléments",
                    "[nombres[i : i + K] for i in range(0, len(nombres), K)]",
                ),
                (
                    "sommes_paquets",
                    "la liste des sommes des paquets successifs de K éléments",
                    "les sommes des éléments de `nombres` pris K par K, dans une liste",
                    "[sum(nombres[i : i + K]) for i in range(0, len(nombres), K)]",
                ),
                (
                    "glissantes",
                    "la liste des sommes de K éléments consécutifs",
                    "les sommes glissantes de `nombres` sur K éléments, dans une liste",
                    "[sum(nombres[i : i + K]) for i in range(len(nombres) - I)]",
                ),
            )
        ],
    ),
    Schema(
        "rotation",
        "nombres",
        3,
        ("tourne_{sens}_{k}", "rotation_{sens}_{k}"),
        (
            "la liste tournée de {k__mot} places vers la {sens}",
            "les éléments de `nombres` décalés de {k} places vers la {sens}, en boucle",
            "la liste où les {k__mot} {_bord} éléments passent {_ou}",
            "une rotation de `nombres` de {k} crans vers la {sens}",
        ),
        "{_code}",
        [
            {"k": k, "sens": n, "_bord": f, "_ou": g, "_code": c.replace("K", str(k))}
            for k in (1, 2, 3, 4, 5)
            for n, f, g, c in (
                ("gauche", "premiers", "à la fin", "nombres[K:] + nombres[:K]"),
                ("droite", "derniers", "au début", "nombres[-K:] + nombres[:-K]"),
            )
            if k > 1
        ],
        new=True,
    ),
    Schema(
        "indices",
        "nombres",
        3,
        ("indices_{cond}", "places_{cond}"),
        (
            "la liste des indices des nombres {_cond} de la liste",
            "les indices, dans une liste, des éléments de `nombres` {_cond}",
            "la liste des positions, depuis 0, des nombres {_cond}",
            "dans une liste, les places (la première est 0) des nombres {_cond} de `nombres`",
        ),
        "[i for i, x in enumerate(nombres) if {_si}]",
        CONDITION,
        limit=12,
        new=True,
    ),
    Schema(
        "deux_listes",
        "deux_listes",
        2,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "sommes",
                    "la liste des sommes, terme à terme, de u et v",
                    "dans une liste, la somme de chaque élément de `u` et de celui de `v` au même rang",
                    "[a + b for a, b in zip(u, v)]",
                ),
                (
                    "differences",
                    "la liste des différences, terme à terme, entre u et v",
                    "dans une liste, chaque élément de `u` moins celui de `v` au même rang",
                    "[a - b for a, b in zip(u, v)]",
                ),
                (
                    "produits",
                    "la liste des produits, terme à terme, de u et v",
                    "dans une liste, le produit de chaque élément de `u` et de celui de `v` au même rang",
                    "[a * b for a, b in zip(u, v)]",
                ),
                (
                    "maximums",
                    "la liste des maximums, terme à terme, de u et v",
                    "dans une liste, le plus grand des deux éléments de même rang de `u` et `v`",
                    "[max(a, b) for a, b in zip(u, v)]",
                ),
                (
                    "couples",
                    "la liste des couples d’éléments de même rang de u et v",
                    "les éléments de `u` et `v` appariés dans une liste de couples",
                    "list(zip(u, v))",
                ),
                (
                    "produit_scalaire",
                    "le produit scalaire de u et v",
                    "la somme des produits, terme à terme, de `u` et `v`",
                    "sum(a * b for a, b in zip(u, v))",
                ),
                (
                    "communs",
                    "la liste triée des nombres communs à u et v",
                    "les valeurs présentes dans `u` et dans `v`, triées, dans une liste",
                    "sorted(set(u) & set(v))",
                ),
                (
                    "reunion",
                    "la liste triée, sans doublon, des nombres de u et de v",
                    "les valeurs présentes dans `u` ou dans `v`, triées et sans répétition",
                    "sorted(set(u) | set(v))",
                ),
                (
                    "absents",
                    "la liste des nombres de u qui ne sont pas dans v",
                    "les éléments de `u` absents de `v`, dans l’ordre",
                    "[x for x in u if x not in v]",
                ),
                (
                    "presents",
                    "la liste des nombres de u qui sont aussi dans v",
                    "les éléments de `u` que contient `v`, dans l’ordre",
                    "[x for x in u if x in v]",
                ),
                (
                    "fusion",
                    "la liste triée de tous les nombres de u et de v",
                    "les éléments de `u` et de `v`, doublons compris, dans une liste triée",
                    "sorted(u + v)",
                ),
                (
                    "egalites",
                    "le nombre de rangs où u et v ont le même élément",
                    "qui compte les places où `u` et `v` sont égales",
                    "sum(a == b for a, b in zip(u, v))",
                ),
                (
                    "distance",
                    "la somme des écarts absolus, terme à terme, entre u et v",
                    "le total des écarts, en valeur absolue, entre `u` et `v`",
                    "sum(abs(a - b) for a, b in zip(u, v))",
                ),
                (
                    "bout_a_bout",
                    "la liste v suivie de la liste u",
                    "les éléments de `v`, puis ceux de `u`, dans une seule liste",
                    "v + u",
                ),
                (
                    "memes_elements",
                    "si u et v contiennent les mêmes nombres, dans un ordre quelconque",
                    "si `u` et `v` sont égales une fois triées",
                    "sorted(u) == sorted(v)",
                ),
                (
                    "sommes_egales",
                    "si u et v ont la même somme",
                    "si la somme de `u` est égale à celle de `v`",
                    "sum(u) == sum(v)",
                ),
            )
        ],
    ),
]
