"""Les références et les citations sont en français, sur un petit projet Sphinx."""

import html
import re

from tests.projet_sphinx import build

BIB = """
@article{alpha2001, author = {Alpha, Anne and Beta, Bob}, title = {{A} Title}, journal = {Revue},
  volume = {3}, number = {2}, pages = {10--20}, year = {2001}, doi = {10.1/x}}
@book{gamma2002, author = {Gamma, G.}, title = {Livre}, publisher = {Presse}, edition = {2},
  year = {2002}}
@inproceedings{delta2003, author = {Delta, D. and Epsilon, E. and Zeta, Z.}, title = {Acte},
  booktitle = {Actes du colloque}, year = {2003}, eprint = {2003.00001}}
@misc{eta2004, author = {Eta, E. and others}, title = {Note}, year = {2004}}
"""


def test_une_bibliographie_francaise(tmp_path):
    page = "# Page\n\n{cite}`alpha2001`, {cite}`delta2003`, {cite}`gamma2002`, {cite}`eta2004`.\n"
    page += "\n```{bibliography}\n```\n"
    conf = """
extensions += ["tools.sphinx_ext.bibliography"]
bibtex_bibfiles = ["refs.bib"]
bibtex_default_style = bibtex_reference_style = "bible"
"""
    site = build(tmp_path, {"book/index.md": page, "refs.bib": BIB}, conf=conf)
    assert not site.warnings
    text = html.unescape(re.sub(r"<[^>]+>", "", site.html("book/index")))
    text = re.sub(r"\s+", " ", text)
    for expected in (
        "Alpha et Beta, 2001",
        "Delta et coll., 2003",
        "Anne Alpha et Bob Beta. A Title. Revue, vol. 3, nº 2, p. 10–20, 2001. doi:10.1/x",
        "Livre. Presse, 2e édition, 2002",
        "Dans Actes du colloque, 2003",
        "E. Eta et coll. Note",
    ):
        assert expected in text, f"{expected!r} manque dans : {text}"
    assert " and " not in text and "others" not in text
