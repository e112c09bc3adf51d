"""La typographie française : les règles une à une, puis des pages construites."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projet_sphinx import build

from tools.sphinx_ext.typography import check_source, check_text, french

ROOT = Path(__file__).parents[1]
N, F = "\u00a0", "\u202f"  # insécable, insécable fine


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("Pourquoi ? Parce que ; voilà !", f"Pourquoi{F}? Parce que{F}; voilà{F}!"),
        ("Trois choses : une, deux.", f"Trois choses{N}: une, deux."),
        (" : la suite", f"{N}: la suite"),
        ("On gagne 12 % ici.", f"On gagne 12{N}% ici."),
        ("Il dit « oui » et « non ».", f"Il dit «{N}oui{N}» et «{N}non{N}»."),
        ("« ", f"«{N}"),
        (" » dit-il", f"{N}» dit-il"),
        ("Il lit 12 345 678 tokens.", f"Il lit 12{F}345{F}678{N}tokens."),
        ("12 345,67 euros et 1 000 fois", f"12{F}345,67 euros et 1{F}000 fois"),
        ("900 Mo, 60 s, 4 Gio, 3 h 30", f"900{N}Mo, 60{N}s, 4{N}Gio, 3{N}h 30"),
        ("2 ms, 50 Hz, 375 px, 10 €, 8 bits", f"2{N}ms, 50{N}Hz, 375{N}px, 10{N}€, 8{N}bits"),
        ("l'attention qu'elle voit", "l’attention qu’elle voit"),
        ("aujourd'hui, l'", "aujourd’hui, l’"),
        ("la suite...", "la suite…"),
        ("« Vraiment ? »", f"«{N}Vraiment{F}?{N}»"),
    ],
)
def test_regles(typed, read):
    assert french(typed) == read
    assert french(read) == read, "la transformation doit être idempotente"


@pytest.mark.parametrize(
    "text",
    [
        "http://exemple.fr/a?b=c:d",
        "voir https://a.b/l'x...",
        "rendez-vous à 12:30",
        "a :: b",
        "x != y",
        "mailto:a@b.fr",
        'un "mot" droit',
        "1500 pas",
        "en 2024",
        "une liste 1, 2, 3",
        "5' de marche",
        "3 sources",
        "12 moutons",
        "mesure 'citée' ici",
        "de A à B",
        "x :=",
    ],
)
def test_ce_qui_ne_change_pas(text):
    assert french(text) == text


def test_unite_apres_une_formule():
    assert french(" Mo de mémoire", before="5") == f"{N}Mo de mémoire"
    assert french(" s’ajoutent", before="5") == " s’ajoutent"
    assert french(" Mo de mémoire", before="n") == " Mo de mémoire"


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="ab1239 .,:;!?%«»'’\u00a0\u202f€Moks()-/\n", max_size=40))
def test_idempotente_et_sans_perte(text):
    once = french(text)
    assert french(once) == once

    def bare(s):
        return re.sub(r"[ \u00a0\u202f]", "", s).replace("'", "’").replace("...", "…")

    assert bare(once) == bare(french(bare(text))) or bare(once) == bare(text)


PAGE = """\
# L'essai : combien ?

**Gras** : texte, « *italique* » ; n'est-ce pas ? Il coûte $95$ Mo, soit 12 % de 12 345 Mo...

Un `code : l'x !` et une [adresse](https://exemple.fr/?q=l'a:b) puis <https://exemple.fr/x?y=1>.

Dans la ligne, <b title="l'a : b !">brut : l'html !</b> reste.

$$ a : b' ! c $$ (eq-x)

```python
d = {"clé : l'a": 'non !'}  # 12 345 Mo...
```

| Titre : un | Deux ? |
|---|---|
| l'un : oui | 10 % |

```{figure} image.png
:alt: L'image : une courbe !

La légende : c'est 12 % !
```

```{note}
L'aide : oui !
```

```{toctree}
:caption: "L'annexe : suite"

suite
../notebooks/nb
```
"""
SUITE = "# Suite : l'autre page !\n\nTexte {doc}`index` ; fin.\n"
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    },
    "cells": [
        {
            "cell_type": "markdown",
            "id": "a",
            "metadata": {},
            "source": "# Cellules : l'essai\n\nOui ?",
        },
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "execution_count": 1,
            "source": "print('l\\'a : 12 345 Mo !')",
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "l'a : 12 345 Mo !...\n"}
            ],
        },
        {
            "cell_type": "code",
            "id": "c",
            "metadata": {},
            "execution_count": 2,
            "source": "h",
            "outputs": [
                {
                    "output_type": "execute_result",
                    "execution_count": 2,
                    "metadata": {},
                    "data": {"text/html": "<i>l'html : oui !</i>", "text/plain": "l'html : oui !"},
                }
            ],
        },
        {
            "cell_type": "code",
            "id": "d",
            "execution_count": 3,
            "source": "fig",
            "metadata": {
                "mystnb": {
                    "figure": {"caption": "L'axe : 10 %", "name": "fig-d"},
                    "image": {"alt": "L'image : deux !"},
                }
            },
            "outputs": [
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {
                        "image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4"
                        "2mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
                    },
                }
            ],
        },
    ],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("typo")
    (root / "book").mkdir()
    (root / "book/image.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return build(
        root,
        {"book/index.md": PAGE, "book/suite.md": SUITE, "notebooks/nb.ipynb": json.dumps(NOTEBOOK)},
    )


def test_la_page_construite(site):
    html = unescape(site.html("book/index"))
    assert site.warnings == ""
    assert (
        f"<strong>Gras</strong>{N}: texte, «{N}<em>italique</em>{N}»{F}; n’est-ce pas{F}?" in html
    )
    assert f"</span>{N}Mo, soit 12{N}% de 12{F}345{N}Mo…" in html
    for expected in (
        f"Titre{N}: un",
        f"Deux{F}?",
        f"l’un{N}: oui",
        f"10{N}%",
        f'alt="L’image{N}: une courbe{F}!"',
        f"La légende{N}: c’est 12{N}%{F}!",
        f"L’aide{N}: oui{F}!",
    ):
        assert expected in html


def test_le_code_les_formules_et_les_liens_sont_intacts(site):
    html = unescape(site.html("book/index"))
    assert (
        '<span class="pre">code</span> <span class="pre">:</span> '
        '<span class="pre">l\'x</span> <span class="pre">!</span>' in html
    )
    assert 'href="https://exemple.fr/?q=l\'a:b"' in html
    assert ">https://exemple.fr/x?y=1<" in html
    assert '<b title="l\'a : b !">' in html
    assert "a : b' ! c" in html
    code = re.search(r"<pre>(.*?)</pre>", html, re.DOTALL)[1]
    assert re.sub("<[^>]+>", "", code) == "d = {\"clé : l'a\": 'non !'}  # 12 345 Mo...\n"


def test_titres_et_navigation(site):
    index, suite = unescape(site.html("book/index")), unescape(site.html("book/suite"))
    title = re.search("<title>(.*?)</title>", suite)[1]
    assert title.startswith(f"Suite{N}: l’autre page{F}!")
    assert title.endswith(f"L’essai{N}: un livre")
    assert f"L’annexe{N}: suite" in index  # titre de toctree
    assert f">Suite{N}: l’autre page{F}!</a>" in index  # entrée de toctree
    assert f"L’essai{N}: combien{F}?" in suite  # renvoi par {doc}
    assert site.app.env.titles["book/suite"].astext() == f"Suite{N}: l’autre page{F}!"


def test_les_sorties_sont_intactes_mais_pas_les_legendes(site):
    html = unescape(site.html("notebooks/nb"))
    text = re.sub("<[^>]+>", "", html)
    assert "l'a : 12 345 Mo !...\n" in text
    assert "print('l\\'a : 12 345 Mo !')" in text
    assert "<i>l'html : oui !</i>" in html
    assert f"L’axe{N}: 10{N}%" in html
    assert f'alt="L’image{N}: deux{F}!"' in html


@pytest.mark.parametrize(
    "line",
    [
        "Au coeur du modèle",
        "une oeuvre",
        "les noeuds",
        "sa soeur",
        "un voeu",
        "A la fin, tout va.",
        "Oui. A partir de là",
        "Etat des lieux",
        "- Ecrire du code",
        "# Evaluer",
        "Ca ne marche pas",
        ":::{panne} Ecarts",
        "| Etape | b |",
        "**Etape** : une",
    ],
)
def test_fautes_relevees(line):
    (found,) = check_text(f"# Titre\n\n{line}\n")
    assert found[0] == 3


@pytest.mark.parametrize(
    "text",
    [
        "Un coefficient, un poème, une moelle",
        "la matrice A la plus grande",
        "A est une matrice",
        "`noeud` et {ref}`coeur`",
        "[lien](coeur.md)",
        "$coeur$",
        "```python\ncoeur\n```",
        "```{code-cell}\nEtat = 1\n```",
        "---\ntitre: coeur\n---\n",
        "$$\ncoeur\n$$",
        "% coeur",
        "À la fin. État. Écrire. Ça ne va pas.",
        "(coeur-x)=\n",
        "Eva parle. Emma aussi. Ensuite.",
        "https://exemple.fr/oeuvre",
    ],
)
def test_rien_a_redire(text):
    assert check_text(f"{text}\n") == []


def test_les_pages_du_livre():
    """Aucune page source n'oublie une ligature ou une capitale accentuée."""
    faults = [
        f"{path.relative_to(ROOT)}:{line} {message}"
        for path in sorted((ROOT / "book").rglob("*.md"))
        for line, message in check_source(path)
    ]
    assert not faults, "\n".join(faults)


def test_la_ponctuation_suit_la_formule(tmp_path):
    page = "# Page\n\nSoit $x$, puis $y$. Et ($z$) ; $t$ enfin.\n"
    site = build(tmp_path, {"book/index.md": page}, conf='html_math_renderer = "mathjax"\n')
    kept = re.findall(r'<span class="insecable">.*?</span>(.)</span>', site.html("book/index"))
    assert kept == [",", ".", ")"]
