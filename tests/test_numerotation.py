"""Le numéro d’un chapitre vient du plan : chapitre, sections, figures et équations."""

import re

import pytest

from tests.projet_sphinx import build_apart

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
COMMON = """
math_numfig = True
numfig_secnum_depth = 2
suppress_warnings = ["mystnb.unknown_mime_type", "config.cache", "toc.not_included"]
extensions = ["myst_nb", {}, "tools.sphinx_ext.numbering"]
"""
CONFS = {
    "toctree": COMMON.format('"sphinx_multitoc_numbering"'),
    "_toc.yml": COMMON.format('"sphinx_external_toc", "sphinx_multitoc_numbering"'),
}
TOC = """
format: jb-book
root: book/index
parts:
  - caption: I
    numbered: true
    chapters: [{file: book/ch01-un/index, sections: [{file: book/ch01-un/section}]}]
  - caption: II
    numbered: true
    chapters: [{file: book/ch07-sept/index, sections: [{file: book/ch07-sept/section}]}]
"""


def files(how):
    nested = "\n```{toctree}\nsection\n```\n" if how == "toctree" else ""
    index = "# Livre\n\n"
    for caption, chapter in (("I", "ch01-un"), ("II", "ch07-sept")):
        index += f"```{{toctree}}\n:caption: {caption}\n:numbered:\n\n{chapter}/index\n```\n\n"
    written = {
        "book/_data/chapitres.yml": PLAN,
        "book/index.md": index if how == "toctree" else "# Livre\n",
        "book/ch01-un/index.md": "# Un\n" + nested,
        "book/ch01-un/section.md": SECTION.format("un"),
        "book/ch07-sept/index.md": "# Sept\n" + nested,
        "book/ch07-sept/section.md": SECTION.format("sept"),
    }
    return written | ({"_toc.yml": TOC} if how == "_toc.yml" else {})


@pytest.mark.parametrize("how", CONFS)
def test_chapter_seven_is_seven(tmp_path, how):
    env, out, warnings = build_apart(tmp_path, files(how), conf=CONFS[how])
    assert not warnings
    assert env.toc_secnumbers["book/ch01-un/index"][""] == (1,)
    assert env.toc_secnumbers["book/ch07-sept/index"][""] == (7,)
    assert env.toc_secnumbers["book/ch07-sept/section"] == {"": (7, 1), "#detail": (7, 1, 1)}
    page = (out / "book/ch07-sept/section.html").read_text(encoding="utf-8")
    section = re.sub(r"<[^>]+>", "", page)
    assert "7.1.1" in section and "(7.1.1)" in section and "2.1" not in section


@pytest.mark.parametrize("how", CONFS)
def test_an_incremental_build_rewrites_nothing_and_keeps_the_numbers(tmp_path, how):
    build_apart(tmp_path, files(how), conf=CONFS[how])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("_build/html/book/**/*.html")}
    again, _, _ = build_apart(tmp_path, files(how), conf=CONFS[how], fresh=False)
    assert again.toc_secnumbers["book/ch07-sept/section"][""] == (7, 1)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("_build/html/book/**/*.html")}
    assert before and after == before
