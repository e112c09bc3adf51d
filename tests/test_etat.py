"""Ce que le chapitre 1 promet : des exercices, des pannes et un quiz dans chaque section."""

import re
from pathlib import Path

import pytest

from tools import etat

BOOK = Path(__file__).resolve().parent.parent / "book"
SECTIONS = sorted(
    path
    for path in (BOOK / "ch01-mathematiques").glob("*.md")
    if path.stem not in ("index", "bilan")
)


def test_le_chapitre_a_ses_exercices():
    labels = [re.findall(r"^:label: (ex-[\w-]+)", p.read_text("utf-8"), re.M) for p in SECTIONS]
    assert sum(map(len, labels)) >= 30
    assert all(5 <= len(found) <= 8 for found in labels)


def test_le_chapitre_a_trois_pannes_et_leurs_diagnostics():
    texts = [path.read_text("utf-8") for path in SECTIONS]
    broken = sum(len(re.findall(r"^:{3,}\{panne\}", text, re.M)) for text in texts)
    assert broken >= 3
    assert sum(len(re.findall(r"\{dropdown\} Diagnostic", text)) for text in texts) >= broken


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: path.stem)
def test_chaque_section_a_son_quiz_et_sa_fin(path):
    text = path.read_text("utf-8")
    assert 4 <= etat.questions(text) <= 6
    assert "## En bref" in text and "## Pour aller plus loin" in text
    assert "{echelle}" in text


def test_les_comptes_sont_ceux_des_pages():
    rows = dict(etat.counts())
    assert rows["pages"] > rows["pages exécutables"] > 0
    assert rows["réponses fausses essayées"] >= 3 * rows["exercices"]
