"""Les blocs du livre : `{panne}`, `{echelle}`, `{dropdown}` et `{margin}`.

Chaque bloc a un mot et une forme, jamais une couleur seule. Dans le PDF, tout le contenu est
conservé : les parties repliées sont ouvertes.
"""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from tools.sphinx_ext.issues import note_issue

WORDS = {"panne": "Panne", "echelle": "À l’échelle"}


class bloc(nodes.General, nodes.Element):
    """Un bloc encadré ; `kind` vaut « panne » ou « echelle »."""


class bloc_title(nodes.General, nodes.TextElement):
    """La première ligne d’un bloc : son mot, puis son titre."""


class details(nodes.General, nodes.Element):
    """Une partie repliée, ouverte dans le PDF."""


class details_title(nodes.General, nodes.TextElement):
    """Le titre cliquable d’une partie repliée."""


class margin_note(nodes.General, nodes.Element):
    """Une note de marge, dans le fil du texte sur un écran étroit."""


def make_details(title, *content, classes=(), opened=False) -> details:
    """Partie repliée prête à insérer ; `title` est un texte ou une liste de nœuds."""
    children = [nodes.Text(title)] if isinstance(title, str) else title
    node = details("", details_title("", "", *children), *content)
    node["classes"] = list(classes)
    node["opened"] = opened
    return node


class BlocDirective(SphinxDirective):
    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = {"name": directives.unchanged}

    def run(self):
        if not self.content:
            note_issue(self.env, f"Le bloc « {self.name} » est vide.", self.lineno, "bloc")
        title = self.arguments[0] if self.arguments else ""
        inline, messages = self.state.inline_text(title, self.lineno) if title else ([], [])
        word = nodes.inline("", WORDS[self.name], classes=["bible-mot"])
        separator = [nodes.Text(" ")] if inline else []
        node = bloc("", bloc_title("", "", word, *separator, *inline))
        node["kind"] = self.name
        node["ids"].append(nodes.make_id(f"bloc-{self.name}-{self.env.new_serialno('bible-bloc')}"))
        self.set_source_info(node)
        self.add_name(node)
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node, *messages]


class DropdownDirective(SphinxDirective):
    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = {"open": directives.flag, "name": directives.unchanged}

    def run(self):
        title = self.arguments[0] if self.arguments else "Voir la suite"
        inline, messages = self.state.inline_text(title, self.lineno)
        node = make_details(inline, opened="open" in self.options)
        self.set_source_info(node)
        self.add_name(node)
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node, *messages]


class MarginDirective(SphinxDirective):
    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self):
        node = margin_note()
        self.set_source_info(node)
        messages = []
        if self.arguments:
            inline, messages = self.state.inline_text(self.arguments[0], self.lineno)
            node += nodes.paragraph("", "", nodes.strong("", "", *inline))
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node, *messages]


# HTML


def html_visit_bloc(self, node):
    kind, title_id = node["kind"], f"{node['ids'][0]}-titre"
    self.body.append(
        self.starttag(
            node,
            "div",
            CLASS=f"bible-bloc bible-{kind}",
            role="group",
            **{"aria-labelledby": title_id},
        )
    )


def html_visit_bloc_title(self, node):
    self.body.append(f'<p class="bible-bloc-titre" id="{node.parent["ids"][0]}-titre">')


def html_visit_details(self, node):
    opened = {"open": "open"} if node.get("opened") else {}
    self.body.append(self.starttag(node, "details", CLASS="bible-details", **opened))


def html_visit_details_title(self, node):
    self.body.append("<summary>")


def html_visit_margin_note(self, node):
    self.body.append(self.starttag(node, "div", CLASS="bible-marge", role="note"))


def html_close(tag):
    return lambda self, node: self.body.append(f"</{tag}>\n")


# LaTeX : un cadre Sphinx pour les blocs, un titre en gras pour les parties repliées.

LATEX_BOX = {"panne": "danger", "echelle": "note"}


def latex_visit_bloc(self, node):
    self.body.append(f"\n\\begin{{sphinxadmonition}}{{{LATEX_BOX[node['kind']]}}}")


def latex_depart_bloc(self, node):
    self.body.append("\\end{sphinxadmonition}\n")


def latex_visit_bloc_title(self, node):
    self.body.append("{")


def latex_depart_bloc_title(self, node):
    self.body.append("}\n\\par\n")


def latex_visit_details_title(self, node):
    self.body.append("\n\\par\\medskip\\noindent\\textbf{")


def latex_depart_details_title(self, node):
    self.body.append("}\\par\\nopagebreak\\smallskip\n")


def latex_visit_margin_note(self, node):
    self.body.append("\n\\begin{quote}\\small\n")


def latex_depart_margin_note(self, node):
    self.body.append("\n\\end{quote}\n")


def visit_nothing(self, node):
    pass


def add_static_path(app, config):
    """Copie nos `bible-*.css` et `bible-*.js` dans `_static`, sans les charger partout."""
    static = str(Path(__file__).parent / "static")
    if static not in config.html_static_path:
        config.html_static_path.append(static)


def use_assets(app, pagename, doctree, node_types, css=(), js=(), **js_attributes):
    """Ajoute les fichiers à la seule page qui contient un nœud des types donnés."""
    if doctree is None or not any(True for t in node_types for _ in doctree.findall(t)):
        return False
    for name in css:
        app.add_css_file(name)
    for name in js:
        app.add_js_file(name, **js_attributes)
    return True


def on_doctree_read(app, document):
    """Signale une clôture `:::` en trop, qui avalerait la suite de la page sans rien dire."""
    for node in document.findall(nodes.container):
        if node.get("is_div") and not node["classes"] and not node["ids"]:
            note_issue(
                app.env,
                "Une ligne ::: ouvre ici un bloc sans nom : un bloc qui en contient "
                "un autre s’écrit avec plus de deux-points que lui (:::: autour de :::).",
                node.line,
                "bloc",
            )


def _assets(app, pagename, templatename, context, doctree):
    use_assets(app, pagename, doctree, (bloc, details, margin_note), css=["bible-blocs.css"])


def setup(app):
    silent = (visit_nothing, visit_nothing)
    app.add_node(
        bloc,
        html=(html_visit_bloc, html_close("div")),
        latex=(latex_visit_bloc, latex_depart_bloc),
        text=silent,
    )
    app.add_node(
        bloc_title,
        html=(html_visit_bloc_title, html_close("p")),
        latex=(latex_visit_bloc_title, latex_depart_bloc_title),
        text=silent,
    )
    app.add_node(
        details, html=(html_visit_details, html_close("details")), latex=silent, text=silent
    )
    app.add_node(
        details_title,
        html=(html_visit_details_title, html_close("summary")),
        latex=(latex_visit_details_title, latex_depart_details_title),
        text=silent,
    )
    app.add_node(
        margin_note,
        html=(html_visit_margin_note, html_close("div")),
        latex=(latex_visit_margin_note, latex_depart_margin_note),
        text=silent,
    )
    app.add_directive("panne", BlocDirective)
    app.add_directive("echelle", BlocDirective)
    app.add_directive("dropdown", DropdownDirective, override=True)  # sphinx_design en a un
    app.add_directive("margin", MarginDirective, override=True)  # sphinx_book_theme aussi
    app.connect("config-inited", add_static_path)
    app.connect("doctree-read", on_doctree_read)
    app.connect("html-page-context", _assets)
