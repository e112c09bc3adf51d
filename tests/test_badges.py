"""Les mentions sous le titre des pages exécutables."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from projet_sphinx import build

from tools.sphinx_ext.plan import MEASURES, PLAN

ROOT = Path(__file__).parents[1]
PAGE = """\
---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
llmbook:
  level: intermédiaire
  minutes: 50
  budget: {seconds: 60, memory_mb: 900}
  prerequisites: [ch01-mathematiques/autre, ch03-transformeurs/attention]
---

# Vecteurs

```{code-cell}
1 + 1
```

```{exercise} Un
:label: ex-vecteurs-un

Énoncé.
```

```{exercise} Deux
:label: ex-vecteurs-deux

Énoncé.
```
"""
FILES = {
    "book/index.md": "# A\n\n```{toctree}\n../notebooks/ch01-mathematiques/vecteurs\n"
                     "ch01-mathematiques/autre\n```\n",
    "book/ch01-mathematiques/autre.md": "# L'autre : suite\n\nTexte.\n",
    "notebooks/ch01-mathematiques/vecteurs.md": PAGE,
    PLAN: (ROOT / PLAN).read_text(encoding="utf-8"),
}
MEASURED = {"ch01-mathematiques/vecteurs": {"seconds": 3.2, "memory_mb": 210, "cells": 38,
                                            "budget": {"seconds": 60, "memory_mb": 900}}}
CONF = """
def setup(app):
    # ce que remplit le module `equations`
    def fill(app, env, docnames):
        env.bible_equations = {"notebooks/ch01-mathematiques/vecteurs":
                               {"verified": 4, "definition": 1, "cited": 0}}
    app.connect("env-before-read-docs", fill)
"""
VECTORS = "notebooks/ch01-mathematiques/vecteurs"


def badges(site) -> list[str]:
    html = site.html(VECTORS)
    block = re.search(r'</h1>\s*<ul class="bible-badges[^"]*">(.*?)</ul>', html, re.DOTALL)[1]
    return [" ".join(unescape(re.sub(r"<[^>]+>", "", item)).split(" ")).strip()
            for item in re.findall(r"<li.*?</li>", block, re.DOTALL)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build(tmp_path_factory.mktemp("badges"), {**FILES, MEASURES: json.dumps(MEASURED)},
                 conf=CONF)


def test_toutes_les_mentions_dans_l_ordre(site):
    assert site.warnings == ""
    assert badges(site) == [
        "Niveau intermédiaire", "Lecture et exercices 50\u00a0min",
        "Exécution 3,2\u00a0s sur 60\u00a0s", "Mémoire 210\u00a0Mo sur 900\u00a0Mo",
        "Équations vérifiées 4", "Exercices 2",
        "Prérequis L’autre\u00a0: suite, Architecture des transformeurs (à venir)"]
    assert 'href="../../book/ch01-mathematiques/autre.html"' in site.html(VECTORS)


def test_une_page_de_prose_n_en_a_pas(site):
    html = site.html("book/ch01-mathematiques/autre")
    assert "bible-badges" not in html
    assert "bible-badges.css" in site.html(VECTORS)


def test_sans_mesure_le_budget_seul(tmp_path):
    site = build(tmp_path, FILES)
    assert "Exécution au plus 60\u00a0s" in badges(site)
    assert "Mémoire au plus 900\u00a0Mo" in badges(site)
    assert not any(b.startswith("Équations") for b in badges(site))


def test_une_nouvelle_mesure_reecrit_la_page_sans_la_relire(tmp_path):
    build(tmp_path, {**FILES, MEASURES: json.dumps(MEASURED)})
    changed = {"ch01-mathematiques/vecteurs": {"seconds": 12.4, "memory_mb": 300}}
    site = build(tmp_path, {**FILES, MEASURES: json.dumps(changed)}, fresh=False)
    assert "Exécution 12\u00a0s sur 60\u00a0s" in badges(site)


def test_niveau_inconnu(tmp_path):
    page = PAGE.replace("level: intermédiaire", "level: moyen")
    site = build(tmp_path, {**FILES, VECTORS + ".md": page},
                 conf='\nextensions.insert(0, "tools.sphinx_ext.issues")\n')
    assert "Niveau « moyen » inconnu" in site.warnings


def test_latex_une_ligne(tmp_path):
    site = build(tmp_path, FILES, builder="latex")
    tex = next(site.out.glob("*.tex")).read_text(encoding="utf-8")
    assert re.search(r"Niveau.: intermédiaire · Lecture et exercices.: 50", tex)
