"""La couverture : les chiffres du livre, comptés dans ses pages et jamais écrits à la main.

`{chiffres}` donne le nombre d’équations vérifiées, d’exercices, de quiz et de notebooks.
"""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tools.sphinx_ext.blocks import use_assets, visit_nothing
from tools.sphinx_ext.exercises import exercises
from tools.sphinx_ext.plan import load_measures, number
from tools.sphinx_ext.quiz import quizzes
from tools.sphinx_ext.whole_book import note_page


class figures_of_book(nodes.General, nodes.Element):
    """L’emplacement des chiffres, remplis quand toutes les pages sont lues."""


class ChiffresDirective(SphinxDirective):
    def run(self):
        note_page(self.env)
        return [figures_of_book()]


def counts_of(env) -> list[tuple[int, str, str]]:
    """[(combien, au singulier, au pluriel)], sans ce que le livre n’a pas encore."""
    counted = getattr(env, "bible_equations", {}).values()
    found = [
        (sum(c["verified"] for c in counted), "équation vérifiée", "équations vérifiées"),
        (sum(map(len, exercises(env).values())), "exercice corrigé", "exercices corrigés"),
        (sum(map(len, quizzes(env).values())), "quiz", "quiz"),
        (len(load_measures(env.srcdir)), "notebook exécuté", "notebooks exécutés"),
    ]
    return [item for item in found if item[0]]


def html_visit(self, node):
    items = "".join(
        f"<li><strong>{number(n)}</strong> {one if n == 1 else many}</li>"
        for n, one, many in counts_of(self.builder.env)
    )
    if items:
        self.body.append(f'<ul class="bible-chiffres">{items}</ul>\n')


def _assets(app, pagename, templatename, context, doctree):
    use_assets(app, pagename, doctree, (figures_of_book,), css=["bible-couverture.css"])


def setup(app):
    app.setup_extension("tools.sphinx_ext.whole_book")
    silent = (visit_nothing, visit_nothing)
    app.add_node(figures_of_book, html=(html_visit, visit_nothing), latex=silent, text=silent)
    app.add_directive("chiffres", ChiffresDirective)
    app.connect("html-page-context", _assets)
