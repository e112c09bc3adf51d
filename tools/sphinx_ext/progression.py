"""La page « Ma progression » : quiz faits dans le navigateur, exercices faits sur la machine.

Les quiz viennent du `localStorage`. Les exercices viennent du fichier de `llmbook.exercise`, que
`make livre` sert à l’adresse `/progression.json` ; un site publié n’y a pas accès, et la page dit
alors comment les afficher.
"""

import json

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tools.sphinx_ext.blocks import use_assets, visit_nothing
from tools.sphinx_ext.exercises import exercises
from tools.sphinx_ext.quiz import quizzes
from tools.sphinx_ext.whole_book import note_page

FALLBACK = (
    "Cette page a besoin de JavaScript pour lire les quiz faits dans ce navigateur. Pour "
    "vos exercices, tapez python -m llmbook.exercise dans un terminal."
)


class progression(nodes.General, nodes.Element):
    """L’emplacement du tableau de progression."""


class ProgressionDirective(SphinxDirective):
    def run(self):
        node = progression()
        node += nodes.paragraph("", FALLBACK)
        note_page(self.env)
        return [node]


def html_visit(self, node):
    env, builder = self.builder.env, self.builder
    page = self.builder.current_docname

    def listing(found):
        order = list(env.toc_secnumbers) or sorted(found)
        names = sorted(found, key=lambda d: order.index(d) if d in order else len(order))
        return [
            {
                **item,
                "page": env.titles[d].astext(),
                "url": f"{builder.get_relative_uri(page, d)}#{item['label']}",
            }
            for d in names
            for item in found[d]
        ]

    data = json.dumps(
        {"quiz": listing(quizzes(env)), "exercices": listing(exercises(env))},
        ensure_ascii=False,
        separators=(",", ":"),
    ).replace("<", "\\u003c")
    self.body.append(
        '<div class="bible-progression">'
        f'<script type="application/json">{data}</script>'
        '<div class="bible-progression-repli">\n'
    )


def html_depart(self, node):
    self.body.append("</div></div>\n")


def _assets(app, pagename, templatename, context, doctree):
    use_assets(
        app,
        pagename,
        doctree,
        (progression,),
        css=["bible-progression.css"],
        js=["bible-progression.js"],
        defer="defer",
    )


def setup(app):
    app.setup_extension("tools.sphinx_ext.whole_book")
    silent = (visit_nothing, visit_nothing)
    app.add_node(progression, html=(html_visit, html_depart), latex=silent, text=silent)
    app.add_directive("progression", ProgressionDirective)
    app.connect("html-page-context", _assets)
