"""La couverture : les chiffres du livre, comptés dans ses pages et jamais écrits à la main.

`{chiffres}` donne le nombre d’équations vérifiées, d’exercices, de quiz et de notebooks.
"""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tools.sphinx_ext.blocks import use_assets, visit_nothing
from tools.sphinx_ext.exercises import exercises
from tools.sphinx_ext.plan import load_measures, number
from tools.sphinx_ext.quiz import quizzes


class figures_of_book(nodes.General, nodes.Element):
    """L’emplacement des chiffres, remplis quand toutes les pages sont lues."""


class ChiffresDirective(SphinxDirective):
    def run(self):
        pages = self.env.bible_cover_pages = getattr(self.env, "bible_cover_pages", set())
        pages.add(self.env.docname)
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


def _rewrite(app, env):
    """La couverture est réécrite à chaque construction : elle compte les autres pages."""
    return sorted(getattr(env, "bible_cover_pages", set()) & env.found_docs)


def _purge(app, env, docname):
    getattr(env, "bible_cover_pages", set()).discard(docname)


def _merge(app, env, docnames, other):
    mine = env.bible_cover_pages = getattr(env, "bible_cover_pages", set())
    mine |= getattr(other, "bible_cover_pages", set()) & set(docnames)


def _assets(app, pagename, templatename, context, doctree):
    use_assets(app, pagename, doctree, (figures_of_book,), css=["bible-couverture.css"])


def setup(app):
    silent = (visit_nothing, visit_nothing)
    app.add_node(figures_of_book, html=(html_visit, visit_nothing), latex=silent, text=silent)
    app.add_directive("chiffres", ChiffresDirective)
    app.connect("env-updated", _rewrite)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("html-page-context", _assets)
