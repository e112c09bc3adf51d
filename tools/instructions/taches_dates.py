"""Les schémas du domaine « dates » : jours ISO, calendrier, heures et durées.

Tout se calcule avec datetime ; rien ne dépend d’aujourd’hui, de la langue du système ni du fuseau.
"""

from tools.instructions.taches_schema import Schema, grid

DAYS = "lundi mardi mercredi jeudi vendredi samedi dimanche".split()
MONTHS = (
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
).split()
DAY = "date.fromisoformat(jour)"
DAYS_LINE = 'JOURS = "lundi mardi mercredi jeudi vendredi samedi dimanche".split()'
MONTHS_LINE = (
    'MOIS = """janvier février mars avril mai juin juillet août\n'
    'septembre octobre novembre décembre""".split()'
)
DAYS_OF_WEEK = [{"j": i, "_veille": (i - 1) % 7, "_jour": name} for i, name in enumerate(DAYS)]
MONTH = [
    {"m": i, "_mois": name, "_de": "d’" if name[0] in "ao" else "de "}
    for i, name in enumerate(MONTHS, 1)
]
SHIFTS = [
    {"sens": sens, "k": k, "_signe": sign, "_sens": sens, "_nom": nom}
    for sign, sens, nom in (("+", "après", "apres"), ("-", "avant", "avant"))
    for k in (2, 3, 4, 5, 7, 10, 12, 15, 20, 25, 30, 45, 60, 90, 100)
]
SOME_DATES = [
    (1, 1, 2000),
    (14, 7, 2010),
    (25, 12, 2015),
    (1, 5, 2018),
    (29, 2, 2020),
    (8, 5, 2021),
    (11, 11, 2022),
    (15, 8, 2023),
    (31, 12, 2024),
    (21, 6, 2025),
    (3, 3, 2012),
    (9, 9, 1999),
]
ANNIVERSARIES = [
    (1, 1),
    (14, 2),
    (21, 3),
    (1, 5),
    (8, 5),
    (21, 6),
    (14, 7),
    (15, 8),
    (1, 9),
    (11, 11),
    (25, 12),
    (31, 12),
    (6, 1),
    (4, 10),
]
FORMATS = [
    {
        "ordre": "".join(order),
        "sep": sep,
        "_format": sep.join(f"%{x}" for x in order),
        "_fr": sep.join({"d": "JJ", "m": "MM", "Y": "AAAA", "y": "AA"}[x] for x in order),
    }
    for order in ("dmY", "mdY", "Ymd", "dmy", "dm", "mY", "ymd", "Ydm", "md")
    for sep in ("/", "-", ".", "_", "")
    if (order, sep) != ("Ymd", "-")
]
FIELDS = [
    ("annee", "l’année", "{d}.year"),
    ("mois", "le numéro du mois", "{d}.month"),
    ("quantieme", "le numéro du jour dans le mois", "{d}.day"),
    ("rang", "le rang du jour dans l’année (1 pour le 1er janvier)", "{d}.timetuple().tm_yday"),
    ("semaine", "le numéro de semaine ISO", "{d}.isocalendar().week"),
    ("annee_iso", "l’année de la semaine ISO", "{d}.isocalendar().year"),
    ("numero", "le numéro du jour de la semaine, 0 pour lundi,", "{d}.weekday()"),
    ("numero_iso", "le numéro du jour de la semaine, 1 pour lundi,", "{d}.isoweekday()"),
    ("trimestre", "le numéro du trimestre", "({d}.month + 2) // 3"),
    ("siecle", "le siècle", "({d}.year + 99) // 100"),
    (
        "deux_chiffres",
        "les deux derniers chiffres de l’année, sous forme d’entier,",
        "{d}.year % 100",
    ),
    ("semestre", "le semestre (1 ou 2)", "1 if {d}.month <= 6 else 2"),
]
FIELD = [{"champ": n, "_fr": fr, "_code": c.replace("{d}", DAY)} for n, fr, c in FIELDS]
SHIFTED = [
    {"champ": n, "k": k, "_fr": fr, "_code": c.replace("{d}", f"({DAY} + timedelta(days={k}))")}
    for n, fr, c in FIELDS[:8]
    for k in (7, 10, 30, 45, 100)
]
MARKS = [
    {
        "d": d,
        "m": m,
        "_nom": MONTHS[m - 1].replace("é", "e").replace("û", "u"),
        "_fr": ("1er" if d == 1 else str(d)) + " " + MONTHS[m - 1],
    }
    for d, m in ANNIVERSARIES
]
MOMENTS = [
    {
        "d": d,
        "m": m,
        "a": a,
        "_fr": f"{'1er' if d == 1 else d} {MONTHS[m - 1]} {a}",
        "_date": f"date({a}, {m}, {d})",
    }
    for d, m, a in SOME_DATES
]
BACKWARDS = [
    ("2022-01-10", "2022-01-01"),
    ("2024-05-01", "2023-12-25"),
    ("2020-03-02", "2020-02-27"),
]
UNITS = [
    ("jours", "jours", "{x}"),
    ("semaines", "semaines entières", "{x} // 7"),
    ("heures", "heures", "{x} * 24"),
    ("minutes", "minutes", "{x} * 1440"),
    ("nuits_et_jours", "jours, les deux dates comprises,", "{x} + 1"),
    ("jours_restants", "jours au-delà des semaines entières", "{x} % 7"),
    ("dizaines", "dizaines entières de jours", "{x} // 10"),
    ("quinzaines", "périodes entières de quatorze jours", "{x} // 14"),
]


def around(params: dict) -> list[tuple]:
    """Les jours voisins d’une date de MOMENTS ou d’un anniversaire de MARKS."""
    years = (params["a"],) if "a" in params else (2019, 2020, 2023)
    return [
        (f"{y}-{params['m']:02d}-{d:02d}",)
        for y in years
        for d in (params["d"] - 1, params["d"], params["d"] + 1)
        if 0 < d < 29 or d == params["d"]
    ]


SCHEMAS = [
    Schema(
        "champ",
        "jour",
        1,
        ("{champ}", "{champ}_de", "extrait_{champ}"),
        (
            "{_fr} d’une date ISO",
            "{_fr} de la date `jour`, au format AAAA-MM-JJ",
            "{_fr} d’une date écrite AAAA-MM-JJ",
            "{_fr} d’une date donnée au format ISO",
        ),
        "{_code}",
        FIELD,
    ),
    Schema(
        "decale",
        "jour",
        1,
        ("{k}_jours_{_nom}", "jours_{_nom}_{k}", "decale"),
        (
            "la date ISO située {k} jours {_sens} une date ISO",
            "au format ISO, le jour qui vient {k} jours {_sens} `jour`",
            "la date {k} jours {_sens} celle qu’on lui donne, au format AAAA-MM-JJ",
            "`jour` déplacé de {k} jours ({_sens}), au format ISO",
        ),
        f"({DAY} {{_signe}} timedelta(days={{k}})).isoformat()",
        SHIFTS,
    ),
    Schema(
        "decale_semaines",
        "jour",
        1,
        ("semaines_{_nom}_{k}", "decale_semaines"),
        (
            "la date ISO située {k} semaines {_sens} une date ISO",
            "au format ISO, le jour qui vient {k} semaines {_sens} `jour`",
            "la date {k} semaines {_sens} celle qu’on lui donne, au format AAAA-MM-JJ",
            "`jour` déplacé de {k} semaines ({_sens}), au format ISO",
        ),
        f"({DAY} {{_signe}} timedelta(weeks={{k}})).isoformat()",
        [s for s in SHIFTS if 2 <= s["k"] <= 30],
        limit=10,
    ),
    Schema(
        "champ_decale",
        "jour",
        2,
        ("{champ}_dans_{k}_jours", "{champ}_plus_{k}"),
        (
            "{_fr} de la date qui vient {k} jours après une date ISO",
            "{_fr} du jour situé {k} jours après `jour`, une date AAAA-MM-JJ",
            "après avoir ajouté {k} jours à une date ISO, {_fr} du résultat",
            "{_fr} d’une date ISO avancée de {k} jours",
        ),
        "{_code}",
        SHIFTED,
    ),
    Schema(
        "nom_du_jour",
        "jour",
        2,
        ("jour_de_semaine", "nom_du_jour", "quel_jour"),
        (
            "le nom français du jour de la semaine, {k} jours {_sens} une date ISO",
            "en français, le jour de la semaine qui tombe {k} jours {_sens} `jour`",
            "« lundi », « mardi »… : le jour de la semaine {k} jours {_sens} une date AAAA-MM-JJ",
            "le jour de la semaine, en français, de la date {k} jours {_sens} `jour`",
        ),
        f"return JOURS[({DAY} {{_signe}} timedelta(days={{k}})).weekday()]",
        SHIFTS[:13] + SHIFTS[15:24],
        above=DAYS_LINE,
    ),
    Schema(
        "nom_simple",
        "jour",
        2,
        ("nom_{forme}", "{forme}"),
        (
            "{_fr} d’une date ISO",
            "{_fr} de la date `jour`",
            "{_fr} d’une date AAAA-MM-JJ",
            "{_fr} qui correspond à une date ISO",
        ),
        "return {_code}",
        [
            {"forme": n, "_fr": fr, "_code": c.replace("{d}", DAY), "_ligne": line}
            for n, fr, c, line in (
                (
                    "jour_semaine",
                    "le nom français du jour de la semaine",
                    "JOURS[{d}.weekday()]",
                    DAYS_LINE,
                ),
                (
                    "jour_majuscule",
                    "le jour de la semaine en français, avec une majuscule,",
                    "JOURS[{d}.weekday()].capitalize()",
                    DAYS_LINE,
                ),
                (
                    "jour_court",
                    "les trois premières lettres du jour de la semaine en français",
                    "JOURS[{d}.weekday()][:3]",
                    DAYS_LINE,
                ),
                (
                    "jour_capitales",
                    "le jour de la semaine en français, en majuscules,",
                    "JOURS[{d}.weekday()].upper()",
                    DAYS_LINE,
                ),
                (
                    "jour_initiale",
                    "la première lettre du jour de la semaine en français",
                    "JOURS[{d}.weekday()][0]",
                    DAYS_LINE,
                ),
                ("mois", "le nom français du mois", "MOIS[{d}.month - 1]", MONTHS_LINE),
                (
                    "mois_majuscule",
                    "le mois en français, avec une majuscule,",
                    "MOIS[{d}.month - 1].capitalize()",
                    MONTHS_LINE,
                ),
                (
                    "mois_court",
                    "les trois premières lettres du mois en français",
                    "MOIS[{d}.month - 1][:3]",
                    MONTHS_LINE,
                ),
                (
                    "mois_capitales",
                    "le mois en français, en majuscules,",
                    "MOIS[{d}.month - 1].upper()",
                    MONTHS_LINE,
                ),
            )
        ],
        above="{_ligne}",
    ),
    Schema(
        "est_un_jour",
        "jour",
        1,
        ("est_un_{_jour}", "tombe_un_{_jour}"),
        (
            "si une date ISO tombe un {_jour}",
            "si la date `jour` est un {_jour}",
            "si une date AAAA-MM-JJ correspond à un {_jour}",
            "si `jour`, au format ISO, est un {_jour}",
        ),
        f"{DAY}.weekday() == {{j}}",
        DAYS_OF_WEEK,
    ),
    Schema(
        "jour_decale_est",
        "jour",
        2,
        ("{_jour}_dans_{k}_jours", "bientot_{_jour}"),
        (
            "si le jour situé {k} jours après une date ISO est un {_jour}",
            "si l’on sera un {_jour} {k} jours après la date `jour`",
            "si {k} jours après une date AAAA-MM-JJ tombe un {_jour}",
            "si la date ISO `jour`, avancée de {k} jours, est un {_jour}",
        ),
        f"({DAY} + timedelta(days={{k}})).weekday() == {{j}}",
        [d | {"k": k} for d in DAYS_OF_WEEK for k in (10, 30, 45, 60, 100, 7, 365)],
        limit=20,
    ),
    Schema(
        "genre_de_jour",
        "jour",
        1,
        ("{quoi}", "est_{quoi}"),
        (
            "si une date ISO tombe {_fr}",
            "si la date `jour` est {_fr2}",
            "si une date AAAA-MM-JJ est {_fr2}",
            "si `jour`, au format ISO, tombe {_fr}",
        ),
        f"{DAY}.{{_code}}",
        [
            {"quoi": n, "_fr": a, "_fr2": b, "_code": c}
            for n, a, b, c in (
                ("week_end", "le week-end", "un samedi ou un dimanche", "weekday() >= 5"),
                (
                    "semaine",
                    "en semaine",
                    "un jour de semaine, du lundi au vendredi",
                    "weekday() < 5",
                ),
                ("debut_de_mois", "le premier du mois", "le premier jour de son mois", "day == 1"),
                ("quinze", "le 15 du mois", "un 15 du mois", "day == 15"),
                (
                    "seconde_moitie",
                    "après le 15 du mois",
                    "dans la seconde moitié de son mois",
                    "day > 15",
                ),
                (
                    "jour_pair",
                    "un jour de quantième pair",
                    "un jour de quantième pair",
                    "day % 2 == 0",
                ),
                (
                    "mois_pair",
                    "dans un mois de numéro pair",
                    "dans un mois de numéro pair",
                    "month % 2 == 0",
                ),
                ("annee_paire", "dans une année paire", "dans une année paire", "year % 2 == 0"),
                ("ete", "en juillet ou en août", "un jour de juillet ou d’août", "month in (7, 8)"),
                (
                    "premier_semestre",
                    "au premier semestre",
                    "dans les six premiers mois de l’année",
                    "month <= 6",
                ),
                (
                    "vingt_et_unieme",
                    "après l’an 2000",
                    "postérieure au 31 décembre 2000",
                    "year > 2000",
                ),
            )
        ],
        extra=lambda p: [
            ("2024-06-15",),
            ("2023-07-01",),
            ("2021-08-16",),
            ("2001-01-01",),
            ("2000-12-31",),
        ],
    ),
    Schema(
        "est_en",
        "jour",
        1,
        ("est_en_mois_{m}", "tombe_au_mois_{m}"),
        (
            "si une date ISO tombe en {_mois}",
            "si la date `jour` est au mois {_de}{_mois}",
            "si une date AAAA-MM-JJ est en {_mois}",
            "si le mois de `jour`, au format ISO, est {_mois}",
        ),
        f"{DAY}.month == {{m}}",
        MONTH,
        extra=lambda p: [(f"2022-{p['m']:02d}-{d:02d}",) for d in (3, 17)],
    ),
    Schema(
        "format",
        "jour",
        2,
        ("format_date", "ecrit_date", "convertit_date"),
        (
            "une date ISO écrite {_fr}",
            "la date `jour`, donnée au format ISO, sous la forme {_fr}",
            "qui convertit une date AAAA-MM-JJ au format {_fr}",
            "la date ISO `jour` réécrite au format {_fr}",
        ),
        f'{DAY}.strftime("{{_format}}")',
        FORMATS,
        limit=32,
    ),
    Schema(
        "format_decale",
        "jour",
        3,
        ("format_decale", "echeance"),
        (
            "au format {_fr}, la date située {k} jours après une date ISO",
            "la date {k} jours après `jour`, sous la forme {_fr}",
            "l’échéance à {k} jours d’une date AAAA-MM-JJ, écrite {_fr}",
            "qui ajoute {k} jours à une date ISO et l’écrit {_fr}",
        ),
        f'({DAY} + timedelta(days={{k}})).strftime("{{_format}}")',
        [f | {"k": k} for f in FORMATS[:20] for k in (3, 7, 10, 15, 30, 60, 90)],
        limit=14,
        new=True,
    ),
    Schema(
        "avant_apres",
        "jour",
        2,
        ("est_{sens}", "vient_{sens}"),
        (
            "si une date ISO vient {_sens} le {_fr}",
            "si la date `jour` est située {_sens} le {_fr}",
            "si une date AAAA-MM-JJ tombe {_sens} le {_fr}, ce jour exclu",
            "si `jour`, au format ISO, est strictement {_sens} le {_fr}",
        ),
        f"{DAY} {{_op}} {{_date}}",
        [
            m | {"sens": n, "_sens": fr, "_op": op}
            for m in MOMENTS
            for n, fr, op in (("avant", "avant", "<"), ("apres", "après", ">"))
        ],
        extra=around,
    ),
    Schema(
        "depuis",
        "jour",
        2,
        ("jours_depuis_{d}_{m}_{a}", "ecart_{d}_{m}_{a}"),
        (
            "le nombre de jours du {_fr} à une date ISO (négatif si elle vient avant)",
            "le nombre de jours, négatif si besoin, du {_fr} à la date `jour`",
            "qui compte les jours du {_fr} à une date AAAA-MM-JJ (nombre négatif avant)",
            "le nombre de jours qui vont du {_fr} à `jour`, au format ISO",
        ),
        f"({DAY} - {{_date}}).days",
        MOMENTS,
        extra=around,
    ),
    Schema(
        "jusqu_au",
        "jour",
        3,
        ("jours_avant_{d}_{_nom}", "jusqu_au_{d}_{_nom}"),
        (
            "le nombre de jours entre une date ISO et le {_fr} de la même année",
            "le nombre de jours de la date `jour` au {_fr} de son année (négatif s’il est passé)",
            "qui compte les jours d’une date AAAA-MM-JJ jusqu’au {_fr} de la même année",
            "le nombre de jours à attendre, depuis `jour`, pour être le {_fr} de cette année-là",
        ),
        f"d = {DAY}\nreturn (date(d.year, {{m}}, {{d}}) - d).days",
        MARKS,
        extra=around,
    ),
    Schema(
        "remplace_jour",
        "jour",
        2,
        ("fixe_jour_{d}", "le_{d}_du_mois"),
        (
            "le {_fr} du mois d’une date ISO, au format ISO",
            "une date ISO ramenée au {_fr} de son mois",
            "au format AAAA-MM-JJ, le {_fr} du mois de `jour`",
            "`jour` dont le quantième devient le {_fr}, au format ISO",
        ),
        f"{DAY}.replace(day={{d}}).isoformat()",
        [
            {"d": d, "_fr": "1er" if d == 1 else str(d)}
            for d in (1, 2, 5, 8, 10, 12, 15, 20, 25, 28)
        ],
    ),
    Schema(
        "remplace_mois",
        "jour",
        2,
        ("le_{d}_{m}", "meme_annee_{d}_{m}"),
        (
            "au format ISO, le {_fr} de l’année d’une date ISO",
            "la date ISO du {_fr} de l’année de `jour`",
            "une date AAAA-MM-JJ ramenée au {_fr} de son année",
            "`jour` remplacé par le {_fr} de la même année, au format ISO",
        ),
        f"{DAY}.replace(month={{m}}, day={{d}}).isoformat()",
        MARKS,
    ),
    Schema(
        "annee_decalee",
        "jour",
        2,
        ("dans_{k}_ans", "anniversaire_{k}"),
        (
            "la même date {k__mot} ans plus tard, au format ISO (jamais de 29 février)",
            "au format ISO, la date `jour` avancée de {k} ans (le 29 février n’est pas donné)",
            "qui ajoute {k__mot} ans à une date AAAA-MM-JJ autre qu’un 29 février",
            "le {k}e anniversaire d’une date ISO qui n’est pas un 29 février",
        ),
        f"d = {DAY}\nreturn d.replace(year=d.year + {{k}}).isoformat()",
        grid(k=(2, 3, 5, 6, 7, 10, 12, 15, 18, 20, 25, 30)),
    ),
    Schema(
        "prochain",
        "jour",
        3,
        ("prochain_{_jour}", "{_jour}_suivant"),
        (
            "la date ISO du premier {_jour} qui suit une date ISO, ce jour exclu",
            "au format ISO, le prochain {_jour} après `jour`, jamais `jour` lui-même",
            "la date AAAA-MM-JJ du {_jour} qui vient strictement après `jour`",
            "le premier {_jour} strictement postérieur à une date ISO, au format ISO",
        ),
        f"d = {DAY}\nreturn (d + timedelta(days=({{_veille}} - d.weekday()) % 7 + 1)).isoformat()",
        DAYS_OF_WEEK,
        new=True,
    ),
    Schema(
        "debut_de_semaine",
        "jour",
        3,
        ("{_jour}_de_la_semaine", "{_jour}_meme_semaine"),
        (
            "la date ISO du {_jour} de la semaine d’une date ISO, du lundi au dimanche",
            "au format ISO, le {_jour} de la semaine de `jour` (elle commence le lundi)",
            "la date AAAA-MM-JJ du {_jour} de la même semaine que `jour`, semaine du lundi au dimanche",
            "le {_jour} de la semaine, comptée depuis lundi, qui contient une date ISO",
        ),
        f"d = {DAY}\nreturn (d + timedelta(days={{j}} - d.weekday())).isoformat()",
        DAYS_OF_WEEK,
    ),
    Schema(
        "jours_suivants",
        "jour",
        3,
        ("suite_de_{k}_jours", "{_nom}_{k}_jours"),
        (
            "la liste des {k} dates ISO qui {_verbe} une date ISO, de la plus proche à la plus lointaine",
            "les {k} jours {_sens} `jour`, dans une liste de dates ISO, le plus proche d’abord",
            "une liste de {k} dates AAAA-MM-JJ, celles qui {_verbe} `jour`, la plus proche en tête",
            "les {k__mot} jours {_sens} une date ISO, en s’éloignant, dans une liste de dates ISO",
        ),
        f"d = {DAY}\nreturn [(d {{_signe}} timedelta(days=i)).isoformat() for i in range(1, {{_fin}})]",
        [
            {"k": k, "_fin": k + 1, "_signe": s, "sens": n, "_sens": fr, "_nom": n, "_verbe": v}
            for k in (2, 3, 4, 5, 6, 7)
            for s, n, fr, v in (
                ("+", "apres", "après", "suivent"),
                ("-", "avant", "avant", "précèdent"),
            )
        ],
    ),
    Schema(
        "ecart",
        "deux_jours",
        1,
        ("{unite}_entre", "duree_en_{unite}"),
        (
            "le nombre de {_fr} entre deux dates ISO, `debut` puis `fin`",
            "le nombre de {_fr} de `debut` à `fin`, deux dates ISO",
            "qui compte les {_fr} entre deux dates AAAA-MM-JJ, `debut` puis `fin`",
            "la durée de `debut` à `fin`, en nombre de {_fr}",
        ),
        "{_code}",
        [
            {
                "unite": n,
                "_fr": fr,
                "_code": c.replace(
                    "{x}", "(date.fromisoformat(fin) - date.fromisoformat(debut)).days"
                ),
            }
            for n, fr, c in UNITS
        ],
        extra=lambda p: BACKWARDS if p["unite"] == "jours" else [],
    ),
    Schema(
        "deux_dates",
        "deux_jours",
        2,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "meme_mois",
                    "si deux dates ISO tombent dans le même mois de la même année",
                    "si `debut` et `fin` ont le même mois et la même année",
                    "debut[:7] == fin[:7]",
                ),
                (
                    "meme_annee",
                    "si deux dates ISO sont de la même année",
                    "si `debut` et `fin` ont la même année",
                    "debut[:4] == fin[:4]",
                ),
                (
                    "meme_jour_de_semaine",
                    "si deux dates ISO tombent le même jour de la semaine",
                    "si `debut` et `fin` sont deux lundis, ou deux mardis, et ainsi de suite",
                    "date.fromisoformat(debut).weekday() == date.fromisoformat(fin).weekday()",
                ),
                (
                    "ecart_absolu",
                    "le nombre de jours entre deux dates ISO, toujours positif",
                    "l’écart en jours, en valeur absolue, entre `debut` et `fin`",
                    "abs((date.fromisoformat(fin) - date.fromisoformat(debut)).days)",
                ),
                (
                    "ecart_annees",
                    "la différence entre l’année de `fin` et celle de `debut`",
                    "le nombre qui sépare l’année de la première date ISO de celle de la seconde",
                    "date.fromisoformat(fin).year - date.fromisoformat(debut).year",
                ),
                (
                    "ecart_mois",
                    "la différence en mois entre deux dates ISO, sans regarder les jours",
                    "le nombre de mois du mois de `debut` à celui de `fin`",
                    "d, f = date.fromisoformat(debut), date.fromisoformat(fin)\n"
                    "return (f.year - d.year) * 12 + f.month - d.month",
                ),
                (
                    "plus_tot",
                    "la plus ancienne de deux dates ISO",
                    "celle des dates ISO `debut` et `fin` qui vient la première",
                    "min(debut, fin)",
                ),
                (
                    "plus_tard",
                    "la plus récente de deux dates ISO",
                    "celle des dates ISO `debut` et `fin` qui vient la dernière",
                    "max(debut, fin)",
                ),
                (
                    "milieu",
                    "la date ISO à mi-chemin de `debut` et de `fin`, arrondie vers le plus tôt",
                    "au format ISO, le jour du milieu entre deux dates (arrondi au jour le plus ancien)",
                    "d, f = date.fromisoformat(debut), date.fromisoformat(fin)\n"
                    "return (d + (f - d) // 2).isoformat()",
                ),
                (
                    "age",
                    "l’âge, en années révolues, d’une personne née le jour `debut`, à la date `fin`",
                    "le nombre d’années révolues de `debut` à `fin`, deux dates ISO",
                    "d, f = date.fromisoformat(debut), date.fromisoformat(fin)\n"
                    "return f.year - d.year - ((f.month, f.day) < (d.month, d.day))",
                ),
            )
        ],
        extra=lambda p: BACKWARDS if p["quoi"] in ("ecart_absolu", "plus_tot", "plus_tard") else [],
    ),
    Schema(
        "ecart_depasse",
        "deux_jours",
        2,
        ("plus_de_{k}_jours", "depasse_{k}"),
        (
            "si plus de {k} jours séparent `debut` de `fin`, deux dates ISO",
            "si `fin` vient plus de {k} jours après `debut`",
            "si le nombre de jours de `debut` à `fin` dépasse {k}",
            "si l’on compte plus de {k} jours entre deux dates ISO, `debut` puis `fin`",
        ),
        "(date.fromisoformat(fin) - date.fromisoformat(debut)).days > {k}",
        grid(k=(7, 10, 14, 15, 20, 30, 45, 60, 90, 100, 180, 365)),
        extra=lambda p: [
            ("2023-01-01", f"{2023 + (p['k'] + i) // 365}-{1 + (p['k'] + i) % 365 // 31:02d}-15")
            for i in (-20, 20)
        ],
    ),
    Schema(
        "iso_depuis",
        "jour_francais",
        2,
        ("vers_iso", "convertit_{sortie}", "lit_date"),
        (
            "{_fr} d’une date écrite JJ/MM/AAAA",
            "{_fr} de `jour`, une date au format JJ/MM/AAAA",
            "{_fr} d’une date française comme 14/07/2024",
            "{_fr} d’une date JJ/MM/AAAA",
        ),
        'd = datetime.strptime(jour, "%d/%m/%Y")\nreturn {_code}',
        [
            {"sortie": n, "_fr": f, "_code": c}
            for n, f, c in (
                ("iso", "l’écriture ISO", "d.date().isoformat()"),
                ("annee", "l’année", "d.year"),
                ("mois", "le numéro du mois", "d.month"),
                ("quantieme", "le quantième", "d.day"),
                ("tirets", "l’écriture JJ-MM-AAAA", 'd.strftime("%d-%m-%Y")'),
                ("rang", "le rang dans l’année", "d.timetuple().tm_yday"),
                ("semaine", "le numéro de semaine ISO", "d.isocalendar().week"),
                ("numero", "le numéro du jour de la semaine (0 pour lundi)", "d.weekday()"),
                ("courte", "l’écriture JJ/MM/AA", 'd.strftime("%d/%m/%y")'),
                ("compacte", "l’écriture AAAAMMJJ", 'd.strftime("%Y%m%d")'),
                ("americaine", "l’écriture MM/JJ/AAAA", 'd.strftime("%m/%d/%Y")'),
                ("mois_annee", "l’écriture MM/AAAA", 'd.strftime("%m/%Y")'),
            )
        ],
    ),
    Schema(
        "jour_dans_annee",
        "annee",
        2,
        ("jour_du_{d}_{_nom}", "quel_jour_{d}_{_nom}"),
        (
            "le nom français du jour de la semaine du {_fr} d’une année",
            "en français, le jour de la semaine où tombe le {_fr} de l’année `annee`",
            "le jour de la semaine (« lundi », « mardi »…) du {_fr} d’une année donnée",
            "le nom du jour, en français, du {_fr} de `annee`",
        ),
        "return JOURS[date(annee, {m}, {d}).weekday()]",
        MARKS,
        above=DAYS_LINE,
        new=True,
    ),
    Schema(
        "annee",
        "annee",
        1,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "bissextile",
                    "si une année est bissextile",
                    "si l’année `annee` a un 29 février",
                    "isleap(annee)",
                ),
                (
                    "nombre_de_jours",
                    "le nombre de jours d’une année",
                    "365 ou 366, le nombre de jours de `annee`",
                    "366 if isleap(annee) else 365",
                ),
                (
                    "jours_fevrier",
                    "le nombre de jours de février d’une année",
                    "le numéro du dernier jour de février de `annee`",
                    "monthrange(annee, 2)[1]",
                ),
                (
                    "siecle",
                    "le siècle d’une année",
                    "le numéro du siècle de `annee` (21 pour 2024)",
                    "(annee + 99) // 100",
                ),
                (
                    "premier_jour",
                    "le numéro du jour de la semaine du 1er janvier d’une année, 0 pour lundi",
                    "de 0 pour lundi à 6 pour dimanche, le numéro du jour du 1er janvier de `annee`",
                    "date(annee, 1, 1).weekday()",
                ),
                (
                    "noel_iso",
                    "la date ISO du 25 décembre d’une année",
                    "au format AAAA-MM-JJ, le jour de Noël de `annee`",
                    "date(annee, 12, 25).isoformat()",
                ),
                (
                    "semaines",
                    "le nombre de semaines ISO d’une année",
                    "le numéro de la dernière semaine ISO de `annee`",
                    "date(annee, 12, 28).isocalendar().week",
                ),
                (
                    "decennie",
                    "le début de la décennie d’une année",
                    "l’année multiple de dix qui ouvre la décennie de `annee`",
                    "annee // 10 * 10",
                ),
                (
                    "vendredi_13",
                    "le nombre de vendredis 13 d’une année",
                    "le nombre de mois de `annee` dont le 13 est un vendredi",
                    "sum(date(annee, m, 13).weekday() == 4 for m in range(1, 13))",
                ),
            )
        ],
    ),
    Schema(
        "jour_numero",
        "annee",
        2,
        ("jour_{k}_de_annee", "date_numero_{k}"),
        (
            "la date ISO du {k}e jour d’une année",
            "au format ISO, le {k}e jour de l’année `annee`",
            "la date AAAA-MM-JJ du jour de rang {k} de l’année, le 1er janvier ayant le rang 1",
            "le jour numéro {k} de `annee`, au format ISO",
        ),
        "(date(annee, 1, 1) + timedelta(days={_i})).isoformat()",
        [{"k": k, "_i": k - 1} for k in (50, 60, 75, 100, 125, 150, 200, 250, 256, 300, 333, 365)],
    ),
    Schema(
        "fin_de_mois",
        "annee_mois",
        2,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "jours_du_mois",
                    "le nombre de jours d’un mois",
                    "le nombre de jours du mois `mois` de l’année `annee`",
                    "monthrange(annee, mois)[1]",
                ),
                (
                    "premier_du_mois",
                    "la date ISO du premier jour d’un mois",
                    "au format ISO, le 1er du mois `mois` de `annee`",
                    "date(annee, mois, 1).isoformat()",
                ),
                (
                    "dernier_du_mois",
                    "la date ISO du dernier jour d’un mois",
                    "au format ISO, le dernier jour du mois `mois` de `annee`",
                    "date(annee, mois, monthrange(annee, mois)[1]).isoformat()",
                ),
                (
                    "mois_precedent",
                    "le couple (année, mois) du mois précédent",
                    "le mois qui précède, sous forme de couple (année, mois)",
                    "(annee, mois - 1) if mois > 1 else (annee - 1, 12)",
                ),
                (
                    "mois_suivant",
                    "le couple (année, mois) du mois suivant",
                    "le mois qui suit, sous forme de couple (année, mois)",
                    "(annee, mois + 1) if mois < 12 else (annee + 1, 1)",
                ),
                (
                    "etiquette",
                    "le mois écrit AAAA-MM",
                    "une chaîne AAAA-MM pour ce mois de cette année",
                    'f"{annee}-{mois:02d}"',
                ),
            )
        ],
    ),
    Schema(
        "compte_jours",
        "annee_mois",
        3,
        ("nombre_de_{_jour}s", "compte_les_{_jour}s"),
        (
            "le nombre de {_jour}s d’un mois",
            "le nombre de {_jour}s du mois `mois` de l’année `annee`",
            "qui compte les {_jour}s d’un mois donné par son année et son numéro",
            "le nombre de {_jour}s, 4 ou 5, du mois `mois` de `annee`",
        ),
        "n = monthrange(annee, mois)[1]\n"
        "return sum(date(annee, mois, j).weekday() == {j} for j in range(1, n + 1))",
        DAYS_OF_WEEK,
        new=True,
    ),
    Schema(
        "affiche_duree",
        "minutes",
        2,
        ("affiche_duree", "en_heures"),
        (
            "une durée en minutes écrite en heures et minutes, comme « {_exemple} »",
            "la durée `minutes` sous la forme « {_exemple} » (ici pour {_n} minutes)",
            "qui écrit un nombre de minutes en heures et minutes : « {_exemple} » pour {_n}",
            "le texte « {_exemple} » pour {_n} minutes, et de même pour toute durée en minutes",
        ),
        'f"{minutes // 60}{sep}{minutes % 60:02d}{_fin}"',
        [
            {"sep": s, "_fin": f, "fin": f, "_n": 60 * h + m, "_exemple": f"{h}{s}{m:02d}{f}"}
            for (s, f), (h, m) in zip(
                (
                    (" h ", ""),
                    (":", ""),
                    ("h", ""),
                    (" h ", " min"),
                    ("h", "min"),
                    (".", ""),
                    ("-", ""),
                    (" heures et ", " minutes"),
                ),
                ((2, 5), (3, 40), (1, 15), (4, 30), (5, 8), (2, 45), (6, 10), (7, 25)),
                strict=True,
            )
        ],
    ),
    Schema(
        "convertit_minutes",
        "minutes",
        1,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "heures_entieres",
                    "le nombre d’heures entières d’une durée en minutes",
                    "les heures complètes contenues dans `minutes` minutes",
                    "minutes // 60",
                ),
                (
                    "minutes_restantes",
                    "les minutes qui restent après les heures entières",
                    "ce qui reste de `minutes` une fois ôtées les heures entières",
                    "minutes % 60",
                ),
                (
                    "secondes",
                    "le nombre de secondes d’une durée en minutes",
                    "`minutes` converti en secondes",
                    "minutes * 60",
                ),
                (
                    "couple",
                    "le couple (heures, minutes) d’une durée en minutes",
                    "une durée en minutes sous forme de couple (heures, minutes)",
                    "divmod(minutes, 60)",
                ),
                (
                    "quarts",
                    "le nombre de quarts d’heure entiers d’une durée en minutes",
                    "les quarts d’heure complets contenus dans `minutes` minutes",
                    "minutes // 15",
                ),
                (
                    "jours_entiers",
                    "le nombre de jours entiers d’une durée en minutes",
                    "les jours complets de 24 heures contenus dans `minutes` minutes",
                    "minutes // 1440",
                ),
                (
                    "heures_arrondies",
                    "le nombre d’heures d’une durée en minutes, arrondi vers le haut",
                    "les heures entamées dans `minutes` minutes",
                    "(minutes + 59) // 60",
                ),
            )
        ],
    ),
    Schema(
        "heure_en_minutes",
        "heure",
        2,
        ("minutes_depuis_{h}", "depuis_{h}_heures"),
        (
            "le nombre de minutes de {h} h à une heure écrite HH:MM",
            "les minutes écoulées depuis {h} h à l’heure `heure`, au format HH:MM",
            "qui compte les minutes entre {h} h 00 et une heure HH:MM (négatif si elle vient avant)",
            "le nombre de minutes qui vont de {h} h à `heure` (HH:MM)",
        ),
        'h, m = heure.split(":")\nreturn (int(h) - {h}) * 60 + int(m)',
        grid(h=range(1, 13)),
    ),
    Schema(
        "heure_decalee",
        "heure",
        3,
        ("plus_{k}_minutes", "retarde_{k}"),
        (
            "l’heure HH:MM qu’il est {k} minutes après une heure HH:MM",
            "au format HH:MM, `heure` avancée de {k} minutes (00:00 suit 23:59)",
            "qui ajoute {k} minutes à une heure HH:MM, en repassant par 00:00",
            "l’heure, écrite HH:MM, {k} minutes plus tard que `heure`",
        ),
        'h, m = heure.split(":")\nt = int(h) * 60 + int(m) + {k}\n'
        'return f"{t // 60 % 24:02d}:{t % 60:02d}"',
        grid(k=(5, 10, 15, 20, 25, 30, 40, 45, 50, 75, 90, 100, 120)),
    ),
    Schema(
        "heure_avant",
        "heure",
        1,
        ("avant_{h}_heures", "est_avant_{h}"),
        (
            "si une heure écrite HH:MM est avant {h} h",
            "si `heure`, au format HH:MM, vient avant {h} h",
            "si une heure HH:MM précède {h} h 00",
            "si l’heure HH:MM donnée est antérieure à {h} h",
        ),
        'heure < "{_h}"',
        [{"h": h, "_h": f"{h:02d}:00"} for h in (6, 8, 9, 10, 12, 14, 16, 18, 20, 22)],
        extra=lambda p: [(f"{p['h'] - 1:02d}:59",), (f"{p['h']:02d}:00",), (f"{p['h']:02d}:30",)],
    ),
    Schema(
        "choix_dates",
        "jours",
        2,
        ("dates_{quoi}", "choisit_{quoi}"),
        (
            "la liste des dates {_fr}, parmi une liste de dates ISO",
            "les dates de `jours` {_fr}, dans une liste",
            "celles des dates ISO de `jours` {_fr}, dans le même ordre",
            "la liste, dans l’ordre, des dates ISO de `jours` {_fr}",
        ),
        "[j for j in jours if {_code}]",
        [
            *(
                {"quoi": f"annee_{a}", "_fr": f"de l’année {a}", "_code": f'j.startswith("{a}-")'}
                for a in range(2019, 2026)
            ),
            *(
                {
                    "quoi": f"mois_{i}",
                    "_fr": f"qui tombent en {name}",
                    "_code": f"date.fromisoformat(j).month == {i}",
                }
                for i, name in enumerate(MONTHS, 1)
            ),
            *(
                {
                    "quoi": f"{name}s",
                    "_fr": f"qui tombent un {name}",
                    "_code": f"date.fromisoformat(j).weekday() == {i}",
                }
                for i, name in enumerate(DAYS)
            ),
            {
                "quoi": "week_end",
                "_fr": "du week-end",
                "_code": "date.fromisoformat(j).weekday() >= 5",
            },
        ],
    ),
    Schema(
        "compte_dates",
        "jours",
        2,
        ("compte_{quoi}", "nombre_{quoi}"),
        (
            "le nombre de dates {_fr}, dans une liste de dates ISO",
            "le nombre de dates de `jours` {_fr}",
            "qui compte les dates ISO de `jours` {_fr}",
            "le nombre total, dans une liste, de dates ISO {_fr}",
        ),
        "sum({_code} for j in jours)",
        [
            *(
                {"quoi": f"annee_{a}", "_fr": f"de l’année {a}", "_code": f'j.startswith("{a}-")'}
                for a in range(2019, 2026)
            ),
            *(
                {
                    "quoi": f"mois_{i}",
                    "_fr": f"qui tombent en {name}",
                    "_code": f"date.fromisoformat(j).month == {i}",
                }
                for i, name in enumerate(MONTHS, 1)
            ),
            *(
                {
                    "quoi": f"{name}s",
                    "_fr": f"qui tombent un {name}",
                    "_code": f"date.fromisoformat(j).weekday() == {i}",
                }
                for i, name in enumerate(DAYS)
            ),
        ],
    ),
    Schema(
        "liste_dates",
        "jours",
        2,
        ("{quoi}",),
        ("{_fr}", "{_fr2}"),
        "{_code}",
        [
            {"quoi": n, "_fr": f, "_fr2": g, "_code": c}
            for n, f, g, c in (
                (
                    "plus_ancienne",
                    "la plus ancienne d’une liste de dates ISO",
                    "la première date, chronologiquement, de `jours`",
                    "min(jours)",
                ),
                (
                    "plus_recente",
                    "la plus récente d’une liste de dates ISO",
                    "la dernière date, chronologiquement, de `jours`",
                    "max(jours)",
                ),
                (
                    "chronologie",
                    "une liste de dates ISO triée de la plus ancienne à la plus récente",
                    "les dates ISO de `jours` dans l’ordre chronologique",
                    "sorted(jours)",
                ),
                (
                    "a_rebours",
                    "une liste de dates ISO triée de la plus récente à la plus ancienne",
                    "les dates ISO de `jours` dans l’ordre chronologique inverse",
                    "sorted(jours, reverse=True)",
                ),
                (
                    "annees",
                    "la liste triée, sans répétition, des années d’une liste de dates ISO",
                    "les années différentes des dates de `jours`, triées, en entiers",
                    "sorted({int(j[:4]) for j in jours})",
                ),
                (
                    "amplitude",
                    "le nombre de jours entre la première et la dernière date d’une liste de dates ISO",
                    "l’écart en jours entre la plus ancienne et la plus récente des dates de `jours`",
                    "(date.fromisoformat(max(jours)) - date.fromisoformat(min(jours))).days",
                ),
                (
                    "numeros_mois",
                    "la liste des numéros de mois d’une liste de dates ISO",
                    "pour chaque date ISO de `jours`, son numéro de mois, dans une liste",
                    "[date.fromisoformat(j).month for j in jours]",
                ),
                (
                    "numeros_jours",
                    "la liste des numéros de jour de semaine (0 pour lundi) d’une liste de dates ISO",
                    "pour chaque date de `jours`, de 0 (lundi) à 6, son jour de semaine, dans une liste",
                    "[date.fromisoformat(j).weekday() for j in jours]",
                ),
                (
                    "lendemains",
                    "la liste des lendemains d’une liste de dates ISO",
                    "pour chaque date de `jours`, le jour suivant au format ISO, dans une liste",
                    "[(date.fromisoformat(j) + timedelta(days=1)).isoformat() for j in jours]",
                ),
            )
        ],
    ),
]
