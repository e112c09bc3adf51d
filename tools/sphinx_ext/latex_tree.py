"""Le livre en LaTeX, son ordre et ses numéros.

Sphinx assemble toutes les pages en un arbre. Nous le réordonnons (présentation, parties, chapitres,
annexes), y dessinons la carte, et imposons les numéros du HTML.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import texescape

from tools.sphinx_ext.map_layout import NODE_H, NODE_W
from tools.sphinx_ext.plan import arrows_of, bible_drawing, layout_of, load_plan
from tools.sphinx_ext.progression import progression
from tools.sphinx_ext.typography import french

NUMBERS = "numeros.json"
ROMAN_PART = re.compile(r"^([IVXLC]+)\.\s+(.+)$")


def escape(text: str) -> str:
    return texescape.escape(text, "xelatex")


def raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="latex")


def file_of(node):
    """La page (docname) d’où vient ce nœud."""
    while node is not None:
        if isinstance(node, addnodes.start_of_file):
            return node["docname"]
        node = node.parent
    return None


def parts_of(env) -> list[tuple[str, list[str]]]:
    """[(titre de la partie, pages)], dans l’ordre de `_toc.yml`."""
    found = []
    for toctree in env.get_doctree(env.config.root_doc).findall(addnodes.toctree):
        found.append((toctree.get("caption") or "", list(toctree["includefiles"])))
    return found


def is_navigation(node) -> bool:
    """Les boutons de la couverture, ou un paragraphe de liens séparés par des points médians."""
    if isinstance(node, nodes.container) and "entrees" in node["classes"]:
        return True
    if not isinstance(node, nodes.paragraph):
        return False
    links = [c for c in node if isinstance(c, (addnodes.pending_xref, nodes.reference))]
    words = "".join(c.astext() for c in node if c not in links)
    return bool(links) and not words.strip(" \n·\u00a0")


class Structure(SphinxPostTransform):
    """Réordonne l’arbre : présentation, pages d’avant, parties numérotées, annexes."""

    default_priority = 1
    formats = ("latex",)

    def run(self, **kwargs):
        root = next(self.document.findall(nodes.section), None)
        if root is None:
            return
        mendparents(self.document)
        drop_screen_only(self.document)
        draw_maps(self.app, self.document)
        files = {}
        for node in list(self.document.findall(addnodes.start_of_file)):
            if not any(isinstance(p, addnodes.start_of_file) for p in parents(node)):
                files[node["docname"]] = node
        for node in files.values():
            node.parent.remove(node)
        for wrapper in list(self.document.findall(nodes.compound)):
            if "toctree-wrapper" in wrapper["classes"] and not wrapper.children:
                wrapper.parent.remove(wrapper)

        body = [self.presentation(root)]
        front, main, back = self.sort(parts_of(self.env))
        body += [files.pop(name) for name in front if name in files]
        for title, names in main:
            roman, title = ROMAN_PART.match(title).groups()
            body.append(raw(f"\\biblepartie{{{roman}}}{{{escape(title)}}}"))
            body += [files.pop(name) for name in names if name in files]
        body.append(raw(r"\bibleannexes"))
        back = [name for name in back if name in files]
        back += [name for name in files if name not in back]
        back.sort(key=lambda name: any(files[name].findall(is_bibliography)))  # en dernier
        body += [files[name] for name in back]
        root += body
        number_sections(self.env, root)

    def sort(self, parts):
        """(pages d’avant, parties numérotées, pages d’après)."""
        front, main, back = [], [], []
        for title, names in parts:
            if ROMAN_PART.match(title):
                main.append((title, names))
            elif main:
                back += names
            else:
                front += names
        return front, main, back

    def presentation(self, root):
        """Le texte de la couverture : sa première phrase pour la page de titre, le reste après."""
        title = root[0]
        first = next((c for c in root[1:] if isinstance(c, nodes.paragraph)), None)
        subtitle = escape(first.astext().replace("\n", " ")) if first is not None else ""
        self.app.builder.context["preamble"] += f"\n\\newcommand{{\\biblesoustitre}}{{{subtitle}}}"
        rest = [c for c in root[1:] if c is not first and not is_navigation(c)]
        root.children = [title]
        page = nodes.section(ids=["presentation"])
        page += nodes.title("", "Présentation")
        page += rest
        return page


def mendparents(document):
    """Sphinx assemble les pages sans dire à leurs nœuds qui les contient désormais."""
    for page in document.findall(addnodes.start_of_file):
        for child in page.children:
            child.parent = page


def parents(node):
    while node.parent is not None:
        node = node.parent
        yield node


def is_bibliography(node) -> bool:
    return type(node).__name__ == "bibliography"


def drop_screen_only(document):
    """Enlève les pages et les blocs qui n’ont de sens que dans un navigateur."""
    for node in list(document.findall(progression)):
        page = next((p for p in parents(node) if isinstance(p, addnodes.start_of_file)), node)
        page.parent.remove(page)
    for node in list(document.findall(nodes.container)):
        if "bible-place" in node["classes"] and node.parent is not None:
            node.parent.remove(node)


def draw_maps(app, document):
    """La carte, dessinée par TikZ ; sa liste, qui double le sommaire, n’est pas imprimée."""
    for node in list(document.findall(bible_drawing)):
        drawing = map_tikz(app) if node["kind"] == "carte" else ""
        node.replace_self(raw(drawing))
    for node in list(document.findall(nodes.bullet_list)):
        if "bible-carte-liste" in node["classes"]:
            node.parent.remove(node)
    for node in list(document.findall(nodes.inline)):
        if "bible-statut" in node["classes"]:
            node.replace_self([raw(r"{\small\color{biblegris}("), *node.children, raw(")}")])


def map_tikz(app) -> str:
    plan = load_plan(app.env.srcdir)
    layout = layout_of(plan)
    lines = [rf"\begin{{biblecarte}}{{{layout.width:.0f}}}"]
    lines += [rf"\draw[biblefleche] {tikz_path(path)};" for _, path in arrows_of(layout)]
    for number, (x, y) in layout.nodes.items():
        chapter = plan["par_numero"][number]
        ready = chapter["statut"] == "pret" and chapter.get("page") in app.env.found_docs
        name = escape(french(chapter["court"]))
        if ready:
            name = rf"\hyperref[\detokenize{{{chapter['page']}::doc}}]{{{name}}}"
        kind = "bibleprete" if ready else "bibleavenir"
        place = f"({x + NODE_W / 2:.1f},{y + NODE_H / 2:.1f})"
        lines.append(rf"\node[{kind}] at {place} {{\bibleno{{{number}}}{name}}};")
    return "\n".join([*lines, r"\end{biblecarte}"])


def tikz_path(path: str) -> str:
    """« M1 2C3 4 5 6 7 8V9 », un tracé de la carte en SVG, dans la langue de TikZ."""
    out, here = [], (0.0, 0.0)
    for letter, numbers in re.findall(r"([MCV])([^MCV]*)", path):
        values = [float(v) for v in numbers.split()]
        points = list(zip(values[::2], values[1::2], strict=False))
        if letter == "V":
            points = [(here[0], values[0])]
        shown = [f"({x:g},{y:g})" for x, y in points]
        if letter == "C":
            out.append(f" .. controls {shown[0]} and {shown[1]} .. {shown[2]}")
        else:
            out.append((" -- " if letter == "V" else "") + shown[0])
        here = points[-1]
    return "".join(out)


def number_sections(env, root):
    """Pose avant chaque titre le numéro qu’il a dans le HTML, ou l’absence de numéro."""
    for section in list(root.findall(nodes.section)):
        if section is root:
            continue
        docname = file_of(section)
        numbers = env.toc_secnumbers.get(docname, {})
        is_page = isinstance(section.parent, addnodes.start_of_file)
        keys = [""] if is_page else [f"#{name}" for name in section["ids"]]
        number = next((numbers[key] for key in keys if key in numbers), None)
        text = ".".join(map(str, number)) if number else ""
        before = f"\\biblenumero{{{text}}}"
        if not text and "" in numbers:  # un intertitre d’ouverture, absent aussi de la table
            before += r"\biblehorstable"
            section.insert(1, raw(r"\biblerentretable"))
        section.parent.insert(section.parent.index(section), raw(before))


# --- les numéros des figures, tableaux et équations --------------------------------------------


class Numbers(SphinxPostTransform):
    """Impose aux figures, tableaux, extraits et équations le numéro du HTML."""

    default_priority = 30  # après les titres des exercices (20), avant les renvois aux équations
    formats = ("latex",)
    KINDS = ((nodes.figure, "figure", "figure"), (nodes.table, "table", "table"))

    def run(self, **kwargs):
        known = self.app.bible_numbers
        for node_type, figtype, counter in self.KINDS:
            for node in list(self.document.findall(node_type)):
                number = self.number(node, figtype)
                if number:
                    self.impose(node, counter, number)
                    for name in node["ids"]:
                        known[f"{file_of(node)}:{name}"] = number
        for node in list(self.document.findall(nodes.math_block)):
            number = self.number(node, "displaymath") if node.get("label") else ""
            if number:
                self.impose(node, "equation", number)
                known[f"equation:{node['docname']}:{node['label']}"] = number

    def number(self, node, figtype):
        numbers = self.env.toc_fignumbers.get(file_of(node), {}).get(figtype, {})
        found = next((numbers[name] for name in node["ids"] if name in numbers), ())
        return ".".join(map(str, found))

    def impose(self, node, counter, number):
        place = node.parent.index(node)
        before = place - 1
        while before > 0 and isinstance(node.parent[before], nodes.target):
            before -= 1
        text = raw(f"\\gdef\\the{counter}{{{number}}}%")
        if before >= 0 and isinstance(node.parent[before], nodes.paragraph):
            node.parent[before].append(text)  # pas de ligne blanche avant une formule
        else:
            node.parent.insert(place, text)


def write_numbers(app, exception):
    if exception is None and app.builder.format == "latex":
        path = Path(app.outdir, NUMBERS)
        path.write_text(json.dumps(app.bible_numbers, indent=1), encoding="utf-8")


def setup(app):
    app.connect("build-finished", write_numbers)
    for transform in (Structure, Numbers):
        app.add_post_transform(transform)
