"""Les mentions sous le titre d'une page exécutable : niveau, temps, coût, vérifications.

Elles viennent de l'en-tête de la page (`llmbook:`), des mesures (`book/_data/notebooks.json`) et de
ce que les autres modules ont compté. Une page dont seule la mesure change est réécrite, pas relue.
"""

import json

from docutils import nodes
from sphinx import addnodes

from .plan import docname_of, load_measures, load_plan, memory_fr, paragraph, seconds_fr, text
from .typography import french

LEVELS = ("débutant", "intermédiaire", "avancé")


def metadata_of(env, docname: str) -> dict:
    """L'en-tête `llmbook` d'une page ; myst-nb le range en JSON dans `env.metadata`."""
    raw = env.metadata.get(docname, {}).get("llmbook")
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            return {}
    return dict(raw) if raw else {}


def page_of(docname: str) -> str:
    """« notebooks/ch01-mathematiques/vecteurs » -> « ch01-mathematiques/vecteurs »."""
    return docname.removeprefix("notebooks/").removeprefix("book/")


def count_exercises(doctree) -> int:
    labels = set()
    for node in doctree.findall(nodes.Element):
        if type(node).__name__.startswith("exercise") and not isinstance(node, nodes.title):
            names = [node.get("label", ""), *node.get("ids", [])]
            labels |= {name for name in names if str(name).startswith("ex-")}
    return len(labels)


def badges_of(env, docname: str, measures: dict) -> list[tuple[str, list]]:
    """Les mentions d'une page : [(mot, nœuds ou textes de la valeur)]."""
    meta = metadata_of(env, docname)
    run = measures.get(page_of(docname), {})
    budget = meta.get("budget") or run.get("budget") or {}
    found = []
    if meta.get("level"):
        found.append(("Niveau", [meta["level"]]))
    if meta.get("minutes"):
        found.append(("Lecture et exercices", [f"{meta['minutes']}\u00a0min"]))
    for word, key, form in (
        ("Exécution", "seconds", seconds_fr),
        ("Mémoire", "memory_mb", memory_fr),
    ):
        measured, limit = run.get(key), budget.get(key)
        if measured is not None and limit is not None:
            found.append((word, [f"{form(measured)} sur {form(limit)}"]))
        elif measured is not None:
            found.append((word, [form(measured)]))
        elif limit is not None:
            found.append((word, [f"au plus {form(limit)}"]))
    checked = getattr(env, "bible_equations", {}).get(docname, {}).get("verified", 0)
    if checked:
        found.append(("Équations vérifiées", [str(checked)]))
    exercises = getattr(env, "bible_exercises", {}).get(docname, 0)
    if exercises:
        found.append(("Exercices", [str(exercises)]))
    links = []
    for path in meta.get("prerequisites") or []:
        if links:
            links.append(", ")
        links.append(("page", path))
    if links:
        found.append(("Prérequis", links))
    return found


def _value(app, docname, value):
    if not isinstance(value, tuple):
        return nodes.Text(value)
    path = value[1]
    target = docname_of(app.env, path)
    if target is None or target not in app.env.titles:
        return nodes.Text(_chapter_title(app.env, path))
    name = nodes.Text(app.env.titles[target].astext())
    return nodes.reference(
        "", "", name, internal=True, refuri=app.builder.get_relative_uri(docname, target)
    )


def _chapter_title(env, path: str) -> str:
    """Le titre d'un prérequis encore à venir."""
    try:
        chapter = load_plan(env.srcdir)["par_slug"].get(path.split("/")[0])
    except OSError:
        chapter = None
    return french(f"{chapter['titre']} (à venir)") if chapter else path


def on_doctree_resolved(app, doctree, docname):
    """Une page en HTML ; en LaTeX, toutes les pages arrivent dans un seul arbre."""
    files = list(doctree.findall(addnodes.start_of_file))
    for page in files:
        add_badges(app, page, page["docname"])
    if not files:
        add_badges(app, doctree, docname)


def add_badges(app, doctree, docname):
    if not metadata_of(app.env, docname):
        return
    title = next(doctree.findall(nodes.title), None)
    found = badges_of(app.env, docname, load_measures(app.env.srcdir))
    if title is None or not found:
        return
    if app.builder.format == "html":
        block = nodes.bullet_list(classes=["bible-badges"])
        for word, values in found:
            kind = {"Équations vérifiées": "verifie", "Prérequis": "prerequis"}.get(word)
            item = nodes.list_item(classes=[f"bible-badge-{kind}"] if kind else [])
            item += paragraph(
                text(word, "bible-badge-mot"),
                " ",
                nodes.inline(
                    "",
                    "",
                    *[_value(app, docname, v) for v in values],
                    classes=["bible-badge-valeur"],
                ),
            )
            block += item
    else:
        block = nodes.paragraph()
        for i, (word, values) in enumerate(found):
            block += nodes.Text((" · " if i else "") + word + "\u00a0: ")
            block += [_value(app, docname, v) for v in values]
    title.parent.insert(title.parent.index(title) + 1, block)
    doctree["bible_badges"] = True


def _count(app, doctree):
    env = app.env
    if not hasattr(env, "bible_exercises"):
        env.bible_exercises = {}
    env.bible_exercises[env.docname] = count_exercises(doctree)
    level = metadata_of(env, env.docname).get("level")
    if level and level not in LEVELS:
        from .issues import note_issue

        note_issue(env, f"Niveau « {level} » inconnu : écrivez {', '.join(LEVELS)}.", 1, "badges")


def _changed(app, env):
    """Les pages à réécrire parce que leur mesure a changé depuis la dernière construction."""
    measures = load_measures(env.srcdir)
    now = {
        name: json.dumps(measures.get(page_of(name)), sort_keys=True)
        for name in env.found_docs
        if metadata_of(env, name)
    }
    before, env.bible_measures = getattr(env, "bible_measures", {}), now
    return [name for name in now if before.get(name) != now[name]]


def _purge(app, env, docname):
    getattr(env, "bible_exercises", {}).pop(docname, None)


def _merge(app, env, docnames, other):
    mine = env.bible_exercises = getattr(env, "bible_exercises", {})
    theirs = getattr(other, "bible_exercises", {})
    mine.update({name: theirs[name] for name in docnames if name in theirs})


def _assets(app, pagename, templatename, context, doctree):
    if doctree is not None and doctree.get("bible_badges"):
        app.add_css_file("bible-badges.css")


def setup(app):
    app.connect("doctree-read", _count)
    app.connect("env-updated", _changed)
    app.connect("doctree-resolved", on_doctree_resolved)
    app.connect("html-page-context", _assets)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
