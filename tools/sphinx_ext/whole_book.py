"""Les pages qui parlent de toutes les autres : réécrites à chaque construction.

La couverture compte les équations du livre, la progression en liste les quiz : Sphinx ne les
relirait pas quand une autre page change. Leur directive appelle `note_page(env)`.
"""

KEY = "bible_whole_book_pages"


def pages(env) -> set[str]:
    if not hasattr(env, KEY):
        setattr(env, KEY, set())
    return getattr(env, KEY)


def note_page(env) -> None:
    """La page en cours de lecture sera réécrite à chaque construction."""
    pages(env).add(env.docname)


def _rewrite(app, env):
    return sorted(pages(env) & env.found_docs)


def _purge(app, env, docname):
    pages(env).discard(docname)


def _merge(app, env, docnames, other):
    pages(env).update(pages(other) & set(docnames))


def setup(app):
    app.connect("env-updated", _rewrite)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
