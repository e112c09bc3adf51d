"""Le numéro d’un chapitre vient du plan : chapitre, sections, figures et équations."""

import re

from tests.projet_sphinx import build

PLAN = """
parties: [{numero: 1, romain: I, titre: Une}]
projets: []
parcours: []
chapitres:
  - {numero: 1, titre: Un, court: Un, slug: ch01-un, partie: 1, promesse: P., niveau: débutant,
     heures: 1, prerequis: [], construit: [a, b], statut: pret, page: book/ch01-un/index}
  - {numero: 7, titre: Sept, court: Sept, slug: ch07-sept, partie: 1, promesse: P.,
     niveau: débutant, heures: 1, prerequis: [1], construit: [a, b], statut: pret,
     page: book/ch07-sept/index}
"""
SECTION = "# Section\n\n## Détail\n\n$$\na = b\n$$ (eq-{0})\n\nVoir {{eq}}`eq-{0}`.\n"
CONF = """
extensions = ["myst_nb", "sphinx_multitoc_numbering", "tools.sphinx_ext.numbering"]
math_numfig = True
numfig_secnum_depth = 2
"""


def opening(title):
    return f"# {title}\n\n```{{toctree}}\nsection\n```\n"


def files():
    index = "# Livre\n\n"
    for caption, chapter in (("I", "ch01-un"), ("II", "ch07-sept")):
        index += f"```{{toctree}}\n:caption: {caption}\n:numbered:\n\n{chapter}/index\n```\n\n"
    return {
        "book/_data/chapitres.yml": PLAN,
        "book/index.md": index,
        "book/ch01-un/index.md": opening("Un"),
        "book/ch01-un/section.md": SECTION.format("un"),
        "book/ch07-sept/index.md": opening("Sept"),
        "book/ch07-sept/section.md": SECTION.format("sept"),
    }


def test_chapter_seven_is_seven(tmp_path):
    site = build(tmp_path, files(), conf=CONF)
    assert not site.warnings
    env = site.app.env
    assert env.toc_secnumbers["book/ch01-un/index"][""] == (1,)
    assert env.toc_secnumbers["book/ch07-sept/index"][""] == (7,)
    assert env.toc_secnumbers["book/ch07-sept/section"] == {"": (7, 1), "#detail": (7, 1, 1)}
    section = re.sub(r"<[^>]+>", "", site.html("book/ch07-sept/section"))
    assert "7.1.1" in section and "(7.1.1)" in section and "2.1" not in section
    assert "7. Sept" in re.sub(r"<[^>]+>", "", site.html("book/index"))


def test_an_incremental_build_rewrites_nothing_and_keeps_the_numbers(tmp_path):
    build(tmp_path, files(), conf=CONF)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("_build/html/book/**/*.html")}
    again = build(tmp_path, files(), conf=CONF, fresh=False)
    assert again.app.env.toc_secnumbers["book/ch07-sept/section"][""] == (7, 1)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("_build/html/book/**/*.html")}
    assert before and after == before
