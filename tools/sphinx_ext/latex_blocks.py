"""Le livre en LaTeX, ses blocs : cadres, parties ouvertes, paragraphes qui ont un rôle, images."""

import shutil
import subprocess

from docutils import nodes
from sphinx import addnodes
from sphinx.builders.latex.nodes import thebibliography
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.transforms.post_transforms.images import ImageConverter
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node

from tools.sphinx_ext.blocks import WORDS, bloc, bloc_title, details, details_title, margin_note
from tools.sphinx_ext.latex_tree import escape, file_of, parents, raw
from tools.sphinx_ext.quiz import QuizWithoutButtons, quiz

# --- les images --------------------------------------------------------------------------------


class SvgToPdf(ImageConverter):
    """Les dessins SVG, que xelatex ne lit pas ; `tools/pdf.py` s’assure de rsvg-convert."""

    conversion_rules = [("image/svg+xml", "application/pdf")]

    def is_available(self):
        return shutil.which("rsvg-convert") is not None

    def convert(self, source, target):
        command = ["rsvg-convert", "--format=pdf", f"--output={target}", str(source)]
        return subprocess.run(command, check=False).returncode == 0


# --- les blocs ---------------------------------------------------------------------------------


class box(nodes.General, nodes.Element):
    """Un cadre de `bible.sty` ; son premier enfant est un `box_title`."""


class box_title(nodes.General, nodes.TextElement):
    """Le mot du cadre, puis son titre."""


class Boxes(SphinxPostTransform):
    """Les exercices et les quiz deviennent des cadres « À vous »."""

    default_priority = 7  # avant QuizWithoutButtons (8)
    formats = ("latex",)

    def run(self, **kwargs):
        writer = QuizWithoutButtons(self.document, startnode=None)
        for node in list(self.document.findall(quiz)):
            _, questions, _, answers = writer.plain(node)
            frame = box("", box_title("", node["quiz_title"]), questions)
            frame.update_basic_atts({"ids": node["ids"]})
            frame["kind"], frame["word"] = "avous", "À vous"
            solutions = details("", details_title("", "Réponses"), answers, classes=["petit"])
            node.replace_self([frame, solutions])


class ExerciseBoxes(SphinxPostTransform):
    """Après que sphinx-exercise a écrit les titres (20) et résolu les renvois (22)."""

    default_priority = 25
    formats = ("latex",)

    def run(self, **kwargs):
        for node in list(self.document.findall(nodes.Element)):
            if not isinstance(node, exercise_node | exercise_enumerable_node):
                continue
            title, *rest = node.children
            frame = box("", box_title("", "", *title.children), *rest)
            frame["kind"], frame["word"] = "avous", "À vous"
            frame["label"] = f"exercise:{node['label']}"
            frame["ids"] = node["ids"]
            for line in list(frame.findall(nodes.paragraph)):
                if "bible-exercice-meta" in line["classes"]:  # « À vous » est déjà le mot du cadre
                    line.children = line.children[2:]
            node.replace_self(frame)


def latex_box(self, kind, word):
    self.no_latex_floats += 1
    self.body.append(f"\n\\begin{{bibleboite}}{{{kind}}}{{{escape(word)}}}{{")


def visit_box(self, node):
    anchors = "".join(self.hypertarget(f"{file_of(node)}:{i}", withdoc=False) for i in node["ids"])
    label = f"\\label{{{node['label']}}}" if node.get("label") else ""
    self.body.append(f"\n\\phantomsection{label}{anchors}%")
    latex_box(self, node["kind"], node["word"])


def depart_box(self, node):
    self.no_latex_floats -= 1
    self.body.append("\n\\end{bibleboite}\n")


def visit_bloc(self, node):
    latex_box(self, node["kind"], WORDS[node["kind"]])


def visit_bloc_title(self, node):
    word = node[0]
    if isinstance(word, nodes.inline) and "bible-mot" in word["classes"]:  # déjà en tête du cadre
        node.children = node.children[2:]


def depart_box_title(self, node):
    self.body.append("}\n")


def visit_details(self, node):
    self.body.append(f"\n\\begin{{bibledetails}}{{{' '.join(node['classes'])}}}{{")


def depart_details(self, node):
    self.body.append("\n\\end{bibledetails}\n")


def visit_nothing(self, node):
    pass


def visit_margin(self, node):
    self.body.append("\n\\begin{biblemarge}\n")


def depart_margin(self, node):
    self.body.append("\n\\end{biblemarge}\n")


# --- les paragraphes qui ont un rôle -----------------------------------------------------------

STYLED = {
    "bible-promesse": "biblepromesse",
    "bible-etiquette": "bibleetiquette",
    "bible-meta": "bibleligne",
    "bible-exercice-meta": "bibleligne",
    "bible-sommaire-bilan": "bibleligne",
    "bible-parcours-bilan": "bibleligne",
    "bible-verification-titre": "bibleverification",
    "bible-eq-source": "bibleligne",
}
WHOLE = 12  # lignes : au-delà, un extrait de code peut passer d’une page à l’autre


class Paragraphs(SphinxPostTransform):
    default_priority = 700
    formats = ("latex",)

    def run(self, **kwargs):
        for node in list(self.document.findall(nodes.paragraph)):
            for name in node["classes"]:
                if name in STYLED:
                    surround(node, STYLED[name])
        for node in list(self.document.findall(addnodes.glossary)):
            surround(node, "bibleglossaire")
        for node in list(self.document.findall(nodes.definition_list)):
            if "bible-fiche" in node["classes"]:
                surround(node, "biblefiche")
        for node in list(self.document.findall(nodes.table)):
            if "bible-temps-table" in node["classes"]:
                spec = addnodes.tabular_col_spec(spec=r"{\X{36}{100}rrrrr}")
                node.parent.insert(node.parent.index(node), spec)
        for node in list(self.document.findall(nodes.literal_block)):
            keep_together(node)


def keep_together(block):
    """Un extrait court ne se coupe pas, et reste avec la ligne qui l’annonce."""
    lines = block.astext().count("\n") + 1
    needed, first = (lines if lines <= WHOLE else 6), block
    if lines <= WHOLE:
        needed += min(4, lines_of_output(block))
    for parent in parents(block):
        announced = isinstance(parent, details) or "bible-verification" in parent.get("classes", ())
        if announced and next(parent.findall(nodes.literal_block)) is block:
            needed, first = needed + 3, parent
    cell = next((p for p in parents(block) if p.get("nb_element") == "cell_code"), None)
    if cell is not None:  # un énoncé court reste avec la cellule à remplir
        before = cell.parent[max(0, cell.parent.index(cell) - 1)]
        if isinstance(before, box) and len(before.astext()) < 500:
            needed, first = needed + len(before.astext()) // 85 + 5, before
    section = title_above(first)
    if section is not None:  # un titre ne reste pas seul en bas de page
        needed, first = needed + 3, section
    first.parent.insert(first.parent.index(first), raw(f"\\bibleensemble{{{needed}}}"))


def title_above(node):
    """La section dont le titre précède immédiatement ce nœud, ou None."""
    while isinstance(node.parent, nodes.container) and node.parent[0] is node:
        node = node.parent
    section = node.parent
    if not isinstance(section, nodes.section) or isinstance(section.parent, addnodes.start_of_file):
        return None
    before = section.children[: section.index(node)]
    alone = all(isinstance(c, nodes.title | nodes.target | nodes.raw) for c in before)
    return section if alone else None


def lines_of_output(block) -> int:
    """Les lignes de texte que la cellule de ce code affiche."""
    cell = next((p for p in parents(block) if p.get("nb_element") == "cell_code"), None)
    if cell is None or block.parent.get("nb_element") != "cell_code_source":
        return 0
    shown = [b for b in cell.findall(nodes.literal_block) if b is not block]
    return sum(b.astext().count("\n") + 2 for b in shown)


def surround(node, environment):
    place = node.parent.index(node)
    node.parent.insert(place + 1, raw(f"\\end{{{environment}}}"))
    node.parent.insert(place, raw(f"\\begin{{{environment}}}"))


class Bibliography(SphinxPostTransform):
    """Sphinx met les références à la fin du document ; nous les rendons à leur page."""

    default_priority = 760  # après BibliographyTransform (750)
    formats = ("latex",)

    def run(self, **kwargs):
        for node in list(self.document.findall(thebibliography)):
            names = {citation.get("docname") for citation in node}
            for page in self.document.findall(addnodes.start_of_file):
                if page["docname"] in names:
                    node.parent.remove(node)
                    next(page.findall(nodes.section)).append(node)
                    break


def finish(app, doctree, docname):
    """Après tous les autres : les mentions sous le titre, et les liens vers ce qui est absent."""
    if app.builder.format != "latex":
        return
    present = {node["docname"] for node in doctree.findall(addnodes.start_of_file)}
    present.add(app.config.root_doc)
    for node in list(doctree.findall(nodes.reference)):
        uri = node.get("refuri", "")
        if uri.startswith("%") and uri[1:].split("#")[0] not in present:
            node.replace_self(nodes.inline("", "", *node.children))
        elif uri and not uri.startswith(("%", "http", "mailto", "#")):
            node.replace_self(nodes.inline("", "", *node.children))
    for page in doctree.findall(addnodes.start_of_file):
        if app.env.metadata.get(page["docname"], {}).get("llmbook"):
            section = next(page.findall(nodes.section))
            if len(section) > 1 and isinstance(section[1], nodes.paragraph):
                surround(section[1], "biblementions")


def setup(app):
    app.connect("doctree-resolved", finish, priority=900)
    for transform in (Boxes, ExerciseBoxes, Paragraphs, Bibliography, SvgToPdf):
        app.add_post_transform(transform)
    silent = (visit_nothing, visit_nothing)
    app.add_node(box, latex=(visit_box, depart_box))
    app.add_node(box_title, latex=(visit_nothing, depart_box_title))
    app.add_node(bloc, override=True, latex=(visit_bloc, depart_box), text=silent)
    app.add_node(bloc_title, override=True, latex=(visit_bloc_title, depart_box_title))
    app.add_node(details, override=True, latex=(visit_details, depart_details))
    app.add_node(details_title, override=True, latex=(visit_nothing, depart_box_title))
    app.add_node(margin_note, override=True, latex=(visit_margin, depart_margin))
