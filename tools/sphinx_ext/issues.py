"""Les fautes trouvées dans les pages, signalées à chaque construction.

Sphinx ne relit pas une page inchangée : un avertissement émis pendant la lecture disparaîtrait à la
construction suivante, qui passerait au vert. Nous gardons donc les fautes dans l’environnement,
une page fautive est relue à chaque construction, et `env-updated` signale ce qui reste.
"""

from sphinx.util import logging

logger = logging.getLogger(__name__)


def note_issue(env, message: str, line: int | None = None, kind: str = "livre") -> None:
    """Retient une faute de la page en cours de lecture (`env.docname`)."""
    pages = _pages(env)
    issue = (message, line, kind)
    if issue not in pages.setdefault(env.docname, []):
        pages[env.docname].append(issue)


def _pages(env) -> dict:
    if not hasattr(env, "bible_issues"):
        env.bible_issues = {}
    return env.bible_issues


def _purge(app, env, docname):
    _pages(env).pop(docname, None)


def _merge(app, env, docnames, other):
    for docname in docnames:
        if docname in _pages(other):
            _pages(env)[docname] = _pages(other)[docname]


def _report(app, env):
    for docname, issues in sorted(_pages(env).items()):
        for message, line, kind in issues:
            if line and line >= 10_000:  # myst-nb compte 10 000 lignes par cellule
                message = f"{message} (cellule {line // 10_000}, ligne {line % 10_000})"
                line = None
            logger.warning("%s", message, location=(docname, line), type="bible", subtype=kind)


def _read_again(app, env, added, changed, removed):
    return sorted(set(_pages(env)) & env.found_docs)


def setup(app):
    app.connect("env-get-outdated", _read_again)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("env-updated", _report)
