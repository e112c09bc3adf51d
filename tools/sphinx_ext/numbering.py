"""Le numéro d’un chapitre est celui du plan, même quand des chapitres manquent avant lui.

Sphinx compte les chapitres présents : sans ceci, le chapitre 7 serait le deuxième tant que les
chapitres 2 à 6 ne sont pas écrits, et toutes ses équations changeraient de numéro ensuite.
"""

from docutils import nodes
from sphinx.environment.collectors.toctree import TocTreeCollector

from tools.sphinx_ext.plan import load_plan


def chapter_numbers(env) -> dict[int, int]:
    """Numéro compté par Sphinx -> numéro du plan, d’après les pages d’ouverture des chapitres."""
    try:
        chapters = load_plan(env.srcdir)["chapitres"]
    except FileNotFoundError:
        return {}
    openings = {chapter["page"]: chapter["numero"] for chapter in chapters if "page" in chapter}
    return {
        numbers[""][0]: openings[docname]
        for docname, numbers in env.toc_secnumbers.items()
        if docname in openings and numbers.get("")
    }


def renumber(env, changes: dict[int, int]) -> None:
    """Remplace le premier nombre de chaque numéro : dans les tables, les titres et l’index."""

    def new(number):
        return (changes.get(number[0], number[0]), *number[1:])

    for docname, numbers in env.toc_secnumbers.items():
        for anchor, number in numbers.items():
            if number:
                numbers[anchor] = new(number)
        titles = [env.titles[docname]] if docname in env.titles else []
        for node in (*titles, *env.tocs[docname].findall(nodes.reference)):
            if node.get("secnumber"):
                node["secnumber"] = list(new(node["secnumber"]))


def follow_plan(owner: type) -> None:
    """Fait passer `renumber` après la façon de compter de cette classe."""
    counted = owner.assign_section_numbers
    if getattr(counted, "follows_plan", False):
        return

    def assign_section_numbers(self, env):
        before = env.toc_secnumbers
        counted(self, env)
        renumber(env, chapter_numbers(env))
        return [
            docname
            for docname, numbers in env.toc_secnumbers.items()
            if numbers != before.get(docname)
        ]

    assign_section_numbers.follows_plan = True
    owner.assign_section_numbers = assign_section_numbers


def install(app) -> None:
    """Sphinx compte, et sphinx_external_toc recompte à sa façon dans une classe dérivée."""
    for owner in (TocTreeCollector, *TocTreeCollector.__subclasses__()):
        if "assign_section_numbers" in vars(owner):
            follow_plan(owner)


def setup(app):
    app.connect("builder-inited", install)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
