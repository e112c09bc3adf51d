"""Les exercices « À vous » : niveau et durée lus dans le registre, corrigé replié.

`{exercise}` vient de sphinx-exercise ; nous lui ajoutons une ligne « À vous · facile · 10 min ».
`{corrige} ex-…` affiche la solution de référence, celle que la construction exécute, d’après son
code source.
"""

import inspect

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node

from tools.sphinx_ext.blocks import make_details
from tools.sphinx_ext.issues import note_issue

LEVELS = {"facile": 1, "moyen": 2, "difficile": 3}


def file_of(label: str) -> str:
    """Le fichier où se déclare un exercice : ex-svd-rang, llmbook/exercises/svd.py."""
    section = label.removeprefix("ex-").partition("-")[0]
    return f"llmbook/exercises/{section}.py"


def registered(env, label: str, line: int | None) -> dict | None:
    """Fiche de l’exercice, ou None en signalant la faute ; la page dépend alors du registre."""
    from llmbook.exercise import metadata
    from llmbook.exercise_registry import lookup

    try:
        found = metadata(label)
    except LookupError as error:
        message = (
            f"Exercice {label} absent du registre : {error} Il se déclare dans {file_of(label)}."
        )
        note_issue(env, message, line, "exercice")
        return None
    env.note_dependency(inspect.getsourcefile(lookup(label).solution))
    return found


class CorrigeDirective(SphinxDirective):
    """```` ```{corrige} ex-section-nom ```` : la solution de référence, repliée."""

    required_arguments = 1

    def run(self):
        label = self.arguments[0]
        found = registered(self.env, label, self.lineno)
        if found is None:
            return []
        code = nodes.literal_block(found["source"], found["source"], language="python")
        node = make_details(f"Corrigé : {found['title']}", code, classes=["bible-corrige"])
        node["exercise"] = label
        self.set_source_info(node)
        self.set_source_info(code)
        return [node]


def on_doctree_read(app, document):
    env = app.env
    labels = set()
    for node in list(document.findall(nodes.Element)):
        if not isinstance(node, exercise_node | exercise_enumerable_node):
            continue
        label = node["label"]
        labels.add(label)
        for section in node.findall(nodes.section):  # sphinx-exercise répète le même id
            section["ids"] = [f"{label}-enonce"]
        found = registered(env, label, node.line)
        if found is None:
            continue
        node["bible_title"] = found["title"]
        level = nodes.inline(
            "", found["level"], classes=["bible-niveau", f"bible-niveau-{LEVELS[found['level']]}"]
        )
        duration = nodes.inline("", f"{found['minutes']} min", classes=["bible-duree"])
        line = nodes.paragraph(classes=["bible-exercice-meta"])
        line += [
            nodes.inline("", "À vous", classes=["bible-mot"]),
            nodes.Text(" · "),
            level,
            nodes.Text(" · "),
            duration,
        ]
        node.insert(1, line)
        exercises(env).setdefault(env.docname, []).append(
            {
                "label": label,
                "title": found["title"],
                "level": found["level"],
                "minutes": found["minutes"],
            }
        )
    for node in document.findall(nodes.Element):
        if node.get("exercise") and node["exercise"] not in labels:
            note_issue(
                env,
                f"Le corrigé de {node['exercise']} n’a pas d’exercice dans la page.",
                node.line,
                "exercice",
            )


def exercises(env) -> dict[str, list[dict]]:
    """Les exercices de chaque page, dans l’ordre du texte."""
    if not hasattr(env, "bible_exercise_cards"):
        env.bible_exercise_cards = {}
    return env.bible_exercise_cards


def _purge(app, env, docname):
    exercises(env).pop(docname, None)


def _merge(app, env, docnames, other):
    exercises(env).update({d: exercises(other)[d] for d in docnames if d in exercises(other)})


def _assets(app, pagename, templatename, context, doctree):
    if exercises(app.env).get(pagename):
        app.add_css_file("bible-exercices.css")


def setup(app):
    app.setup_extension("sphinx_exercise")
    app.add_directive("corrige", CorrigeDirective)
    app.connect("doctree-read", on_doctree_read)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("html-page-context", _assets)
