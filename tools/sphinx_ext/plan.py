"""Le plan du livre dans ses pages : ouvertures, sommaire, carte, parcours, temps d'exécution.

Une seule source, `book/_data/chapitres.yml`. Les directives posent un arbre docutils ordinaire,
donc lisible en PDF et par un lecteur d'écran ; seuls les dessins sont du SVG, écrits à la fin,
quand les adresses des pages sont connues.
"""

import json
import math
import re
from functools import lru_cache
from html import escape
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.errors import NoUri
from sphinx.util.docutils import SphinxDirective

from .map_layout import NODE_H, NODE_W, ancestors, lay_out
from .typography import french

PLAN = "book/_data/chapitres.yml"
MEASURES = "book/_data/notebooks.json"
STATUS = {"pret": "prêt", "a-venir": "à venir"}


# --- les données -------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _read(path: str, stamp: float) -> dict:
    plan = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    plan["par_numero"] = {c["numero"]: c for c in plan["chapitres"]}
    plan["par_slug"] = {c["slug"]: c for c in plan["chapitres"]}
    return plan


def load_plan(srcdir) -> dict:
    """Le plan, avec `par_numero` et `par_slug`."""
    path = Path(srcdir) / PLAN
    return _read(str(path), path.stat().st_mtime)


def graph_of(plan) -> dict[int, list[int]]:
    return {c["numero"]: c["prerequis"] for c in plan["chapitres"]}


def hours_of(plan, step) -> float:
    """Les heures d'une étape de parcours ; un survol compte pour un quart, à la demi-heure."""
    hours = plan["par_numero"][step["chapitre"]]["heures"]
    return max(0.5, math.ceil(hours / 4 * 2) / 2) if step.get("survol") else hours


def duration(hours: float) -> str:
    """2.5 -> « 2 h 30 »."""
    whole, minutes = divmod(round(hours * 60), 60)
    if not minutes:
        return f"{whole} h"
    return f"{whole} h {minutes:02d}" if whole else f"{minutes} min"


def load_measures(srcdir) -> dict:
    """`notebooks.json`, ou rien s'il n'existe pas encore."""
    try:
        data = json.loads((Path(srcdir) / MEASURES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {
        page: entry
        for page, entry in data.items()
        if isinstance(entry, dict) and ("seconds" in entry or "memory_mb" in entry)
    }


def docname_of(env, path: str) -> str | None:
    """« ch01-mathematiques/vecteurs » -> le nom Sphinx de la page, si elle existe."""
    return next(
        (
            name
            for name in (f"notebooks/{path}", f"book/{path}", f"book/{path}/index", path)
            if name in env.found_docs
        ),
        None,
    )


def number(value: float, digits: int = 0) -> str:
    """Un nombre à la française, espaces fines comprises."""
    return f"{value:,.{digits}f}".replace(",", "\u202f").replace(".", ",")


# --- les nœuds ---------------------------------------------------------------------------------


class bible_link(nodes.Inline, nodes.TextElement):
    """Un lien vers un chapitre, une page ou la carte, résolu à l'écriture."""


class bible_drawing(nodes.General, nodes.Element):
    """La carte ou sa miniature, dessinée à l'écriture."""


class bible_sections(nodes.General, nodes.Element):
    """Les pages d'un chapitre prêt, listées d'après `_toc.yml`."""


class bible_plan(nodes.General, nodes.Element):
    """Marque une page qui a besoin de bible-plan.css."""


def text(content, *classes):
    return nodes.inline("", content, classes=list(classes))


def paragraph(*children, classes=()):
    node = nodes.paragraph(classes=list(classes))
    for child in children:
        node += nodes.Text(child) if isinstance(child, str) else child
    return node


def box(*children, classes=(), ids=()):
    node = nodes.container(classes=list(classes), ids=list(ids), is_div=True)
    node += list(children)
    return node


def link(kind: str, target, *children, classes=()):
    node = bible_link("", kind=kind, target=target, classes=list(classes))
    for child in children:
        node += nodes.Text(child) if isinstance(child, str) else child
    return node


def listing(items, kind=nodes.bullet_list, classes=()):
    node = kind(classes=list(classes))
    if kind is nodes.enumerated_list:
        node.update_basic_atts({"enumtype": "arabic", "prefix": "", "suffix": "."})
    for item in items:
        if not isinstance(item, nodes.list_item):
            item = nodes.list_item("", *(item if isinstance(item, (list, tuple)) else [item]))
        node += item
    return node


def joined(children, separator=", "):
    """Intercale un séparateur entre des nœuds."""
    out = []
    for i, child in enumerate(children):
        if i:
            out.append(separator)
        out.append(child)
    return out


def chapter_links(plan, numbers):
    return joined([link("chapitre", n, plan["par_numero"][n]["titre"]) for n in numbers])


def section(title, ident, *children, classes=()):
    node = nodes.section(
        ids=[ident], names=[nodes.fully_normalize_name(title)], classes=list(classes)
    )
    node += nodes.title(title, title)
    node += list(children)
    return node


def badge(status):
    return text(STATUS[status], "bible-statut", f"bible-statut-{status}")


# --- les directives ----------------------------------------------------------------------------


class PlanDirective(SphinxDirective):
    """Charge le plan, et fait relire la page quand il change."""

    def plan(self):
        self.env.note_dependency(str(Path(self.env.srcdir) / PLAN))
        return load_plan(self.env.srcdir)


class Opening(PlanDirective):
    """`{ouverture} ch01-mathematiques` : l'ouverture d'un chapitre, sous son titre."""

    required_arguments = 1

    def run(self):
        plan = self.plan()
        chapter = plan["par_slug"].get(self.arguments[0])
        if chapter is None:
            raise self.error(f"ouverture : aucun chapitre « {self.arguments[0]} » dans {PLAN}.")
        n = chapter["numero"]
        part = plan["parties"][chapter["partie"] - 1]
        after = [m["numero"] for m in plan["chapitres"] if n in m["prerequis"]]
        facts = nodes.definition_list(classes=["bible-fiche"])

        def fact(name, *children):
            item = nodes.definition_list_item()
            item += [nodes.term("", name), nodes.definition("", paragraph(*children))]
            facts.append(item)

        fact("Niveau", chapter["niveau"])
        fact("Durée", f"environ {duration(chapter['heures'])}, exercices compris")
        fact("Prérequis", *(chapter_links(plan, chapter["prerequis"]) or ["aucun autre chapitre"]))
        if after:
            fact("Ouvre la voie à", *chapter_links(plan, after))

        place = box(
            bible_drawing(kind="miniature", numero=n),
            paragraph(link("carte", None, "Situer ce chapitre sur la carte du livre")),
            classes=["bible-place"],
        )
        build = box(
            paragraph("À la fin, vous saurez construire", classes=["bible-etiquette"]),
            listing([paragraph(x) for x in chapter["construit"]]),
            classes=["bible-construire"],
        )
        node = box(
            paragraph(chapter["promesse"], classes=["bible-promesse"]),
            build,
            box(facts, place, classes=["bible-ouverture-bas"]),
            classes=["bible-ouverture"],
        )
        node["surtitre"] = french(f"Partie {part['romain']}, {part['titre']} · Chapitre {n}")
        return [bible_plan(), node]


class Summary(PlanDirective):
    """`{sommaire}` : toutes les parties, tous les chapitres, tous les projets."""

    def run(self):
        plan = self.plan()
        self.env.bible_summary_doc = self.env.docname
        ready = sum(c["statut"] == "pret" for c in plan["chapitres"])
        hours = sum(c["heures"] for c in plan["chapitres"])
        out = [
            bible_plan(),
            paragraph(
                f"{ready} chapitre{'s' * (ready > 1)} sur {len(plan['chapitres'])} "
                f"{'sont prêts' if ready > 1 else 'est prêt'}, {len(plan['projets'])} projets "
                "sont au programme ; lire et s’exercer d’un bout à l’autre demande environ "
                f"{hours} heures.",
                classes=["bible-sommaire-bilan"],
            ),
        ]
        for part in plan["parties"]:
            body = []
            if part.get("resume"):
                body.append(paragraph(part["resume"], " ", badge("a-venir")))
            chapters = [c for c in plan["chapitres"] if c["partie"] == part["numero"]]
            if chapters:
                body.append(
                    listing([self.chapter(plan, c) for c in chapters], classes=["bible-sommaire"])
                )
            if part["titre"] == "Projets":
                body.append(
                    listing(
                        [self.project(plan, p) for p in plan["projets"]],
                        classes=["bible-sommaire", "bible-sommaire-projets"],
                    )
                )
            out.append(
                section(
                    f"{part['romain']}. {part['titre']}",
                    f"partie-{part['numero']}",
                    *body,
                    classes=["bible-partie"],
                )
            )
        annexes = [
            nodes.list_item(
                "", paragraph(link("page", a.get("page"), a["titre"]), " ", badge(a["statut"]))
            )
            for a in plan["annexes"]
        ]
        out.append(
            section(
                "Annexes",
                "annexes",
                listing(annexes, classes=["bible-sommaire", "bible-sommaire-annexes"]),
                classes=["bible-partie"],
            )
        )
        return out

    def chapter(self, plan, c):
        meta = [c["niveau"], " · ", duration(c["heures"])]
        if c["prerequis"]:
            meta += [" · après ", "le chapitre " if len(c["prerequis"]) == 1 else "les chapitres "]
            meta += joined([link("chapitre", n, str(n)) for n in c["prerequis"]])
        item = nodes.list_item(ids=[f"chapitre-{c['numero']}"], classes=[f"statut-{c['statut']}"])
        title = link("page", c.get("page"), c["titre"], classes=["bible-titre"])
        item += [
            paragraph(
                text(f"{c['numero']}. ", "bible-numero"),
                title,
                " ",
                badge(c["statut"]),
                classes=["bible-entree"],
            ),
            paragraph(c["promesse"]),
            paragraph(*meta, classes=["bible-meta"]),
        ]
        if c["statut"] == "pret":
            item += bible_sections(page=c["page"])
        return item

    def project(self, plan, p):
        item = nodes.list_item(ids=[f"projet-{p['numero']}"], classes=[f"statut-{p['statut']}"])
        after = joined([link("chapitre", n, str(n)) for n in p["prerequis"]])
        many = "les chapitres " if len(p["prerequis"]) > 1 else "le chapitre "
        item += [
            paragraph(
                text(f"{p['numero']}. ", "bible-numero"),
                link("page", p.get("page"), p["titre"], classes=["bible-titre"]),
                " ",
                badge(p["statut"]),
                classes=["bible-entree"],
            ),
            paragraph(p["niveau"], " · après ", many, *after, classes=["bible-meta"]),
        ]
        return item


class Map(PlanDirective):
    """`{carte}` : la carte des prérequis, et la même en liste pour les écrans étroits et le PDF."""

    def run(self):
        plan = self.plan()
        self.env.bible_map_doc = self.env.docname
        items = []
        for c in plan["chapitres"]:
            line = [
                text(f"{c['numero']}. ", "bible-numero"),
                link("chapitre", c["numero"], c["titre"]),
                " ",
                badge(c["statut"]),
            ]
            entry = [paragraph(*line, classes=["bible-entree"])]
            if c["prerequis"]:
                entry.append(
                    paragraph(
                        "après ", *chapter_links(plan, c["prerequis"]), classes=["bible-meta"]
                    )
                )
            items.append(entry)
        return [
            bible_plan(),
            box(
                bible_drawing(kind="carte"),
                listing(items, classes=["bible-sommaire", "bible-carte-liste"]),
                classes=["bible-carte"],
                ids=["carte"],
            ),
        ]


class Paths(PlanDirective):
    """`{parcours}` : les parcours de lecture par métier, avec leurs heures."""

    def run(self):
        plan = self.plan()
        out = [
            bible_plan(),
            paragraph(
                "Un chapitre « à survoler » se lit en diagonale : l’ouverture, les figures et la "
                "rubrique « En bref » suffisent ; il compte pour un quart de ses heures."
            ),
        ]
        for path in plan["parcours"]:
            steps = path["chapitres"]
            total = sum(hours_of(plan, s) for s in steps)
            skim = sum(bool(s.get("survol")) for s in steps)
            facts = f"{duration(total)} · {len(steps)} chapitres"
            if skim:
                facts += f", dont {skim} à survoler"
            out.append(
                section(
                    path["role"],
                    f"parcours-{path['id']}",
                    paragraph(path["pourquoi"]),
                    paragraph(facts, classes=["bible-parcours-bilan"]),
                    listing(
                        [self.step(plan, s) for s in steps],
                        kind=nodes.enumerated_list,
                        classes=["bible-parcours"],
                    ),
                )
            )
        return out

    def step(self, plan, s):
        chapter = plan["par_numero"][s["chapitre"]]
        name = [link("chapitre", s["chapitre"], chapter["titre"])]
        hours = duration(hours_of(plan, s))
        meta = [f"chapitre {s['chapitre']} · {hours}"]
        if s.get("survol"):
            meta.append(text(" · à survoler", "bible-survol"))
        if chapter["statut"] != "pret":
            meta.append(" · à venir")
        why = s["pourquoi"]
        return nodes.list_item(
            "",
            paragraph(*name, " : ", why + "."),
            paragraph(*meta, classes=["bible-meta"]),
            classes=["survol"] if s.get("survol") else [],
        )


class Timings(PlanDirective):
    """`{temps-execution}` : ce que coûte chaque notebook, mesuré, face à son budget."""

    HEAD = ("Page", "Cellules", "Durée", "Budget", "Mémoire", "Budget")

    def run(self):
        self.env.note_dependency(str(Path(self.env.srcdir) / MEASURES))
        self.plan()
        measures = load_measures(self.env.srcdir)
        if not measures:
            return [
                bible_plan(),
                paragraph(
                    "Aucun notebook n’a encore été mesuré : lancez ",
                    nodes.literal("", "make notebooks"),
                    ".",
                ),
            ]
        rows = [self.row(page, measures[page]) for page in self.in_order(measures)]
        seconds = sum(e.get("seconds", 0) for e in measures.values())
        peak = max(e.get("memory_mb", 0) for e in measures.values())
        cells = sum(e.get("code_cells", 0) for e in measures.values())
        total = [
            text(f"{len(rows)} page{'s' * (len(rows) > 1)}"),
            number(cells),
            seconds_fr(seconds),
            "",
            f"au plus {memory_fr(peak)}",
            "",
        ]
        return [bible_plan(), box(self.table([*rows, total]), classes=["bible-temps"])]

    def in_order(self, measures):
        """Les pages dans l’ordre du livre, celui du sommaire ; les autres à la fin."""
        try:
            toc = (Path(self.env.srcdir) / "_toc.yml").read_text(encoding="utf-8")
        except OSError:
            toc = ""
        listed = re.findall(r"(?:file|root): *(\S+)", toc)
        order = {name.split("/", 1)[-1]: rank for rank, name in enumerate(listed)}
        return sorted(measures, key=lambda page: (order.get(page, len(order)), page))

    def row(self, page, entry):
        budget = entry.get("budget") or {}
        return [
            link("titre", page, page),
            number(entry["code_cells"]) if entry.get("code_cells") else "—",
            seconds_fr(entry.get("seconds")),
            seconds_fr(budget.get("seconds")),
            memory_fr(entry.get("memory_mb")),
            memory_fr(budget.get("memory_mb")),
        ]

    def table(self, rows):
        table = nodes.table(classes=["bible-temps-table"])
        group = nodes.tgroup(cols=len(self.HEAD))
        group += [nodes.colspec(colwidth=w) for w in (36, 12, 12, 12, 16, 12)]
        head, body = nodes.thead(), nodes.tbody()
        head += self.cells(self.HEAD)
        body += [self.cells(row) for row in rows]
        table += group
        group += [head, body]
        return table

    def cells(self, values):
        row = nodes.row()
        row += [nodes.entry("", paragraph(value)) for value in values]
        return row


def seconds_fr(seconds) -> str:
    """3.21 -> « 3,2 s » ; 75 -> « 75 s »."""
    if seconds is None:
        return "—"
    return f"{number(seconds, 0 if seconds >= 10 or seconds == int(seconds) else 1)}\u00a0s"


def memory_fr(megabytes) -> str:
    return "—" if megabytes is None else f"{number(megabytes)}\u00a0Mo"


# --- l'écriture --------------------------------------------------------------------------------


def uri_of(app, docname, kind, target) -> str | None:
    """L'adresse relative de ce qu'un lien désigne, ou rien."""
    env, html = app.env, app.builder.format == "html"
    plan = load_plan(env.srcdir)
    anchor = ""
    if kind == "chapitre":
        page = plan["par_numero"][target].get("page")
        if not (page and page in env.found_docs):
            page, anchor = getattr(env, "bible_summary_doc", None), f"#chapitre-{target}"
    elif kind == "carte":
        page, anchor = getattr(env, "bible_map_doc", None), "#carte"
    else:
        page = target
    if page is None or (anchor and not html):
        return None
    if page not in env.found_docs and not (html and page == "genindex"):
        return None
    try:
        base = "" if page == docname and anchor else app.builder.get_relative_uri(docname, page)
    except NoUri:
        return None
    return base + anchor


def resolve(app, doctree, docname):
    """Remplace liens, dessins et listes de pages par leur forme définitive."""
    env = app.env
    for node in list(doctree.findall(bible_sections)):
        pages = env.toctree_includes.get(node["page"], [])
        items = [
            nodes.list_item("", paragraph(link("page", p, env.titles[p].astext())))
            for p in pages
            if p in env.titles
        ]
        node.replace_self(listing(items, classes=["bible-pages"]) if items else [])
    for node in list(doctree.findall(bible_link)):
        kind, target, children = node["kind"], node["target"], node.children
        if kind == "titre":
            kind, target = "page", docname_of(env, target)
            if target in env.titles:
                children = [nodes.Text(env.titles[target].astext())]
        uri = uri_of(app, docname, kind, target)
        if uri is None:
            new = nodes.inline("", "", *children, classes=node["classes"])
        else:
            new = nodes.reference(
                "", "", *children, refuri=uri, internal=True, classes=node["classes"]
            )
        node.replace_self(new)
    for node in list(doctree.findall(bible_drawing)):
        html = ""
        if app.builder.format == "html":
            draw = draw_map if node["kind"] == "carte" else draw_thumbnail
            html = draw(
                load_plan(env.srcdir),
                node.get("numero"),
                lambda n: uri_of(app, docname, "chapitre", n),
            )
        node.replace_self(nodes.raw("", html, format="html"))
    if app.builder.format == "html":
        for opening in doctree.findall(nodes.container):
            if opening.get("surtitre"):
                title = next(doctree.findall(nodes.title))
                title.parent.insert(0, paragraph(opening["surtitre"], classes=["bible-surtitre"]))
                break


@lru_cache(maxsize=4)
def _layout(edges):
    return lay_out({n: list(p) for n, p in edges})


def layout_of(plan):
    return _layout(tuple((n, tuple(p)) for n, p in graph_of(plan).items()))


def arrows_of(layout) -> list[tuple[frozenset, str]]:
    """Les tracés et les chapitres où ils mènent ; un couloir partagé n'est tracé qu'une fois."""
    paths, lanes = [], {}
    for s in layout.segments:
        bend = (s.y2 - s.y1) * 0.55
        paths.append(
            (
                s.targets,
                f"M{s.x1:.1f} {s.y1:.0f}C{s.x1:.1f} {s.y1 + bend:.0f} "
                f"{s.x2:.1f} {s.y2 - bend:.0f} {s.x2:.1f} {s.y2:.0f}",
            )
        )
        if s.straight:
            lane = f"M{s.x1:.1f} {s.y1 - s.straight:.0f}V{s.y1:.0f}"
            lanes[lane] = lanes.get(lane, frozenset()) | s.targets
    return paths + [(targets, lane) for lane, targets in lanes.items()]


def _two_lines(words: str, limit: int = 15) -> list[str]:
    """Coupe un libellé en lignes d'à peu près `limit` caractères."""
    lines = [""]
    for word in words.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > limit:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def label_of(plan, chapter) -> str:
    """Le nom accessible d'un chapitre de la carte."""
    before = " et ".join(str(n) for n in chapter["prerequis"])
    need = (
        f"après le chapitre {before}"
        if len(chapter["prerequis"]) == 1
        else (f"après les chapitres {before}" if before else "sans prérequis")
    )
    return french(
        f"Chapitre {chapter['numero']}, {chapter['titre']}, {STATUS[chapter['statut']]}, {need}"
    )


LEGEND = (
    '<p class="bible-carte-legende"><span class="bible-cle"></span> chapitre prêt'
    '<span class="bible-cle bible-cle-a-venir"></span> à venir\u00a0: le lien mène au sommaire'
    '<span class="bible-cle-note">La carte se lit de haut en bas. Survoler un chapitre, ou '
    "l’atteindre au clavier, montre tout ce qu’il demande d’avoir lu.</span></p>"
)


def draw_map(plan, _, uri) -> str:
    """La carte entière, en SVG ; uri : numéro -> adresse, ou rien."""
    layout, graph = layout_of(plan), graph_of(plan)
    arrows = [
        f'<path class="{" ".join(f"v{t}" for t in sorted(targets))}" d="{path}"/>'
        for targets, path in arrows_of(layout)
    ]
    boxes = []
    for row in layout.rows:
        for n in sorted(row, key=lambda n: layout.nodes[n]):
            boxes.append(_box(plan, plan["par_numero"][n], layout.nodes[n], uri(n)))
    rules = []
    for n in graph:
        chain = sorted(ancestors(graph, n) | {n})
        here = f".bible-carte svg:has(.c{n}:is(:hover,:focus-within))"
        rules.append(f"{here} :is({','.join(f'.c{m}' for m in chain)}){{opacity:1!important}}")
        if graph[n]:
            paths = ",".join(f".v{m}" for m in chain)
            rules.append(
                f"{here} path:is({paths}){{opacity:1!important;stroke:var(--ink);stroke-width:2.2}}"
            )
    return (
        f'<div class="bible-carte-cadre">'
        f'<svg viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" role="group" '
        f'aria-label="Carte des chapitres et de leurs prérequis" '
        f'style="--carte-largeur:{layout.width:.0f}px">'
        f"<style>{''.join(rules)}</style>"
        f'<g class="bible-carte-fleches" aria-hidden="true">{"".join(arrows)}</g>'
        f'<g role="list">{"".join(boxes)}</g></svg></div>{LEGEND}'
    )


def _box(plan, chapter, corner, href) -> str:
    x, y = corner
    part = plan["parties"][chapter["partie"] - 1]["romain"]
    lines = _two_lines(chapter["court"])
    first = y + (44 if len(lines) == 1 else 38)
    words = "".join(
        f'<tspan x="{x + 10:.1f}" y="{first + 15 * i:.0f}">{escape(french(line))}</tspan>'
        for i, line in enumerate(lines)
    )
    title = escape(label_of(plan, chapter))
    inside = (
        f"<title>{title}</title>"
        f'<rect x="{x:.1f}" y="{y:.0f}" width="{NODE_W}" height="{NODE_H}" rx="7"/>'
        f'<g aria-hidden="true"><text class="num" x="{x + 10:.1f}" y="{y + 20:.0f}">'
        f"{chapter['numero']}</text>"
        f'<text class="part" x="{x + NODE_W - 9:.1f}" y="{y + 19:.0f}">{part}</text>'
        f'<text class="nom">{words}</text></g>'
    )
    if href:
        inside = f'<a href="{escape(href)}" aria-label="{title}">{inside}</a>'
    else:
        inside = f'<g role="img" aria-label="{title}">{inside}</g>'
    return f'<g role="listitem" class="c{chapter["numero"]} {chapter["statut"]}">{inside}</g>'


def draw_thumbnail(plan, number, _) -> str:
    """La carte sans noms : ce chapitre, ce qu'il suppose, ce qu'il permet."""
    layout, graph = layout_of(plan), graph_of(plan)
    before = ancestors(graph, number)
    after = {n for n in graph if number in ancestors(graph, n)}
    boxes = []
    for n, (x, y) in layout.nodes.items():
        kind = (
            "ici"
            if n == number
            else "avant"
            if n in before
            else "apres"
            if n in after
            else "ailleurs"
        )
        boxes.append(
            f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{NODE_W}" '
            f'height="{NODE_H}" rx="10"/>'
        )
    arrows = [f'<path d="{path}"/>' for _, path in arrows_of(layout)]
    places = "s" * (len(after) > 1)
    label = french(
        f"Place du chapitre {number} dans la carte : {len(before) or 'aucun'} "
        f"chapitre{'s' * (len(before) > 1)} avant lui, {len(after) or 'aucun'} "
        f"chapitre{places} en dépend{'ent' * (len(after) > 1)}."
    )
    return (
        f'<svg class="bible-miniature" viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" '
        f'role="img" aria-label="{label}"><g class="bible-miniature-fleches">'
        f"{''.join(arrows)}</g>{''.join(boxes)}</svg>"
    )


def _assets(app, pagename, templatename, context, doctree):
    if doctree is not None and any(True for _ in doctree.findall(bible_plan)):
        app.add_css_file("bible-plan.css")


def _purge(app, env, docname):
    for key in ("bible_summary_doc", "bible_map_doc"):
        if getattr(env, key, None) == docname:
            setattr(env, key, None)


def _merge(app, env, docnames, other):
    for key in ("bible_summary_doc", "bible_map_doc"):
        if getattr(other, key, None) in docnames:
            setattr(env, key, getattr(other, key))


def _skip(self, node):
    raise nodes.SkipNode


def setup(app):
    silent = {name: (_skip, None) for name in ("html", "latex", "text", "epub")}
    app.add_node(bible_plan, **silent)
    for name, directive in {
        "ouverture": Opening,
        "sommaire": Summary,
        "carte": Map,
        "parcours": Paths,
        "temps-execution": Timings,
    }.items():
        app.add_directive(name, directive)
    app.connect("doctree-resolved", resolve)
    app.connect("html-page-context", _assets)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
