"""Le PDF : ce qui se vérifie sans TeX, puis une composition réelle quand xelatex est là."""

import json
import re
import shutil
import subprocess
import sys
from datetime import date

import pytest
from projet_sphinx import build

from tools import chromium, messages, pdf
from tools.sphinx_ext import latex, latex_tree

NO_TEX = "xelatex n’est pas installé : make pdf dit comment l’obtenir"
needs_tex = pytest.mark.skipif(not shutil.which("xelatex"), reason=NO_TEX)

# --- ce qu’il faut avoir -----------------------------------------------------------------------


@pytest.fixture
def without_tex(monkeypatch):
    """Une machine Debian sans TeX et sans droits."""
    found = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(pdf.shutil, "which", found.get)
    monkeypatch.setattr(chromium, "privileged", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    return found


def test_missing_xelatex_gives_one_sentence_and_the_remedy(without_tex, capsys):
    assert messages.guard(lambda: pdf.main([])) == 1
    said = capsys.readouterr().err
    assert "xelatex n’est pas installé" in said
    assert "sudo apt install --no-install-recommends texlive-xetex latexmk" in said
    for package in {*pdf.PROGRAMS.values(), *pdf.FILES.values()}:
        assert package in said


def test_macos_is_told_about_mactex(without_tex, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "mactex" in pdf.missing_tex(["texlive-xetex"]).remedy


def test_packages_are_installed_where_the_rights_allow_it(without_tex, monkeypatch):
    asked = []

    def install(packages):
        asked.extend(packages)
        without_tex.update({name: f"/usr/bin/{name}" for name in (*pdf.PROGRAMS, "kpsewhich")})
        return True

    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(chromium, "privileged", list)
    monkeypatch.setattr(chromium, "apt_install", install)
    monkeypatch.setattr(pdf.subprocess, "run", lambda *a, **k: done)
    pdf.obtain_tex()
    assert asked[0] == "texlive-xetex" and "texlive-lang-french" in asked


def test_an_unknown_option_is_refused():
    with pytest.raises(messages.Panne, match="Option inconnue : --vite"):
        pdf.main(["--vite"])


def test_a_silent_program_is_stopped():
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(messages.Panne, match="ne répond plus"):
        pdf.stream(sleeper, ".", None, print, silence_s=0.3)


def test_an_endless_program_is_stopped():
    chatter = [sys.executable, "-uc", "import time\nwhile True: print('.'); time.sleep(0.05)"]
    with pytest.raises(messages.Panne):
        pdf.stream(chatter, ".", None, lambda line: None, total_s=0.5)


# --- le journal de LaTeX -----------------------------------------------------------------------

FAILED = """\
This is XeTeX, Version 3.141592653
(./bible-llm.tex [1] [2
] [3]
LaTeX Font Info:    Calculating math sizes
./bible-llm.tex:188: Undefined control sequence.
l.188 Voici \\inconnue
                      {x}
Here is how much of TeX's memory you used:
 41194 strings out of 478748
"""
FINISHED = r"""
Overfull \hbox (3.58646pt too wide) in paragraph at lines 18134--18134
Overfull \hbox (27.24054pt too wide) in paragraph at lines 19359--19360
Missing character: There is no 日 (U+65E5) in font DejaVu Sans Mono:mode=base!
Missing character: There is no ⊥ in font [texgyrepagella-regular.otf]/OT:script=latn!
LaTeX Warning: Hyper reference `book/x:rien' on page 29 undefined on input line 2676.
LaTeX Warning: Reference `equation:eq-x' on page 31 undefined on input line 2700.
LaTeX Font Warning: Font shape `TU/texgyrepagella-math.otf(1)/b/n' undefined
Output written on bible-llm.xdv (241 pages, 6041724 bytes).
"""


def test_first_error_names_the_place_and_the_page():
    what, place, page, shown = pdf.first_error(FAILED)
    assert what == "Undefined control sequence."
    assert place == "bible-llm.tex, ligne 188"
    assert page == 4
    assert shown[-1].strip() == "{x}"  # sans le bilan de mémoire


def test_latex_failure_is_a_french_sentence(capsys):
    panne = pdf.latex_failure(FAILED, "")
    assert "s’arrête vers la page 4" in panne.sentence
    assert "bible-llm.tex, ligne 188" in panne.remedy
    assert "| l.188 Voici" in capsys.readouterr().out


def test_a_missing_package_is_named():
    log = "./bible-llm.tex:5: LaTeX Error: File `tcolorbox.sty' not found.\n"
    assert "ne trouve pas tcolorbox.sty" in pdf.latex_failure(log, "").sentence


def test_a_full_disk_is_recognised():
    panne = pdf.latex_failure("", "xelatex: No space left on device")
    assert panne.sentence == messages.FULL_DISK


def test_a_failure_without_error_shows_the_last_lines(capsys):
    assert "sans erreur" in pdf.latex_failure("", "un\ndeux\n").sentence
    assert "| deux" in capsys.readouterr().out


def test_the_log_is_read():
    assert pdf.missing_characters(FINISHED) == {
        "日 U+65E5": "DejaVu Sans Mono",
        "⊥": "texgyrepagella-regular.otf]/OT",
    }
    assert pdf.undefined(FINISHED) == [("book/x:rien", "29"), ("equation:eq-x", "31")]
    assert pdf.overfull(FINISHED) == [27.24054]
    assert pdf.pages(FINISHED) == 241
    assert pdf.pages("") == 0


AUX = r"""
\newlabel{equation:notebooks/a:eq-a}{{1.1.2}{31}{}{equation.1.1.2}{}}
\newlabel{\detokenize{notebooks/a:fig-a}}{{1.1.1}{30}{Légende}{figure.caption.1}{}}
"""


def test_numbers_are_compared_with_the_site():
    expected = {"equation:notebooks/a:eq-a": "1.1.2", "notebooks/a:fig-a": "1.1.4", "ailleurs": "9"}
    assert pdf.wrong_numbers(expected, AUX) == [("notebooks/a:fig-a", "1.1.4", "1.1.1")]


def test_a_reader_visible_fault_refuses_the_pdf(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pdf, "LATEX", tmp_path)
    (tmp_path / "numeros.json").write_text(json.dumps({"notebooks/a:fig-a": "1.1.4"}))
    (tmp_path / "bible-llm.aux").write_text(AUX, encoding="utf-8")
    with pytest.raises(messages.Panne, match="Le PDF a 5 défauts"):
        pdf.check(FINISHED)
    said = capsys.readouterr().out
    assert "glyphe absent : 日 U+65E5" in said
    assert "renvoi sans cible : book/x:rien, page 29" in said
    assert "1.1.4 sur le site, 1.1.1 dans le PDF" in said


def test_a_clean_log_passes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pdf, "LATEX", tmp_path)
    pdf.check("Output written on bible-llm.xdv (3 pages, 1 bytes).")
    assert capsys.readouterr().out == ""


# --- le LaTeX d’un petit livre -----------------------------------------------------------------

CONF = """
extensions = ["myst_nb", "sphinx_exercise", "sphinx.ext.mathjax", "tools.sphinx_ext"]
author = "Les auteurs"
copyright = "2026"
project = "Un livre"
latex_elements = {}
math_numfig = True
bibtex_bibfiles = []
numfig_secnum_depth = 2
latex_documents = [("book/index", "bible-llm.tex", "Un livre", "Les auteurs", "manual")]
myst_dmath_double_inline = True
"""
COVER = """\
# Un livre

Pour *apprendre*, à 100 % : oui !

[Lire](avant)
· [Ensuite](chapitre)

## Par où entrer

Par le [début](avant), ou par la [progression](progression).

```{toctree}
:caption: Pour commencer

avant
```

```{toctree}
:caption: I. Fondations
:numbered:

chapitre
```

```{toctree}
:caption: Repères

progression
glossaire
```
"""
SECTION = """\
# Une section

L’égalité :

$$
a = b
$$ (eq-essai-un)

```{eq-definition} eq-essai-un
```

Nous renvoyons à {eq}`eq-essai-un` et au terme {term}`perte`. Un nombre : 1 500 pages !

::::{panne} La perte monte

Le symptôme.

:::{dropdown} Diagnostic

La cause, **cachée** à l’écran.
:::
::::

:::{echelle} En grand
Plus de mémoire.
:::

:::{margin}
Une remarque.
:::

:::{quiz}
:label: quiz-essai

1. Combien ?

   - [ ] Un.

     Non, pas un.

   - [x] Deux.

     Oui, deux.
:::

```python
x = "≤ · ² é → ₂ Δ"
```
"""
BOOK = {
    "book/index.md": COVER,
    "book/avant.md": "# Avant\n\nTexte.\n\n## Un intertitre\n\nFin.\n",
    "book/chapitre.md": "# Le chapitre\n\nDébut.\n\n```{toctree}\nsection\n```\n",
    "book/section.md": SECTION,
    "book/progression.md": "# Progression\n\n```{progression}\n```\n",
    "book/glossaire.md": "# Glossaire\n\n```{glossary}\nperte\n  Un nombre.\n```\n",
}


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    from tools.sphinx_ext.plan import PLAN

    plan = (pdf.ROOT / PLAN).read_text(encoding="utf-8")
    return build(tmp_path_factory.mktemp("livre"), {**BOOK, PLAN: plan}, "latex", CONF)


@pytest.fixture(scope="module")
def tex(small_book):
    return (small_book.out / "bible-llm.tex").read_text(encoding="utf-8")


def test_the_small_book_has_no_warning(small_book):
    assert small_book.warnings == ""


def test_parts_chapters_and_annexes_come_in_order(tex):
    marks = [r"\chapter{Présentation}", r"\chapter{Avant}", r"\biblepartie{I}{Fondations}"]
    marks += [r"\biblenumero{1}", r"\chapter{Le chapitre}", r"\biblenumero{1.1}"]
    marks += [r"\section{Une section}", r"\bibleannexes", r"\chapter{Glossaire}", r"\printindex"]
    places = [tex.index(mark) for mark in marks]
    assert places == sorted(places)


def test_the_title_page_takes_the_first_sentence(tex):
    subtitle = re.search(r"\\newcommand{\\biblesoustitre}{(.*)}", tex)[1]
    assert subtitle == "Pour apprendre, à 100\u00a0\\% : oui\u202f!".replace(" :", "\u00a0:")
    assert re.search(r"\\newcommand{\\bibleedition}{Édition du \d+(er)? \w+ 20\d\d}", tex)


def test_what_lives_in_a_browser_is_left_out(tex):
    assert "Progression" not in tex and "JavaScript" not in tex
    # le lien vers la page absente n’est plus qu’un texte
    assert r"ou par la \DUrole{doc,std,std-doc}{progression}." in tex
    assert "Ensuite" not in tex  # la barre de liens de la couverture


def test_folded_parts_are_open_and_framed(tex):
    assert r"\begin{bibleboite}{panne}{Panne}{La perte monte}" in tex
    assert r"\begin{bibleboite}{echelle}{À l’échelle}{En grand}" in tex
    assert r"\begin{bibledetails}{}{Diagnostic}" in tex
    assert r"La cause, \sphinxstylestrong{cachée}" in tex
    assert r"\begin{biblemarge}" in tex


def test_the_quiz_keeps_its_answers(tex):
    assert r"\begin{bibleboite}{avous}{À vous}{Quiz}" in tex
    assert re.search(r"b\. Juste\.}\s+Oui, deux", tex)


def test_numbers_are_those_of_the_site(small_book, tex):
    assert r"\gdef\theequation{1.1.1}" in tex
    known = json.loads((small_book.out / "numeros.json").read_text())
    assert known["equation:book/section:eq-essai-un"] == "1.1.1"


def test_the_page_is_a_french_a4(tex):
    assert "a4paper" in tex and "oneside" in tex
    assert r"\usepackage{bible}" in tex and "french" in tex


def test_the_style_travels_with_the_text(small_book):
    style = (small_book.out / "bible.sty").read_text(encoding="utf-8")
    assert "Table des matières" in style and "AutoSpacePunctuation=false" in style


def test_dates_are_french():
    assert latex.date_fr(date(2026, 11, 1)) == "1er novembre 2026"
    assert latex.date_fr(date(2026, 2, 20)) == "20 février 2026"


def test_svg_paths_become_tikz():
    path = "M1.0 2C1.0 4 5.0 6 5.0 8V12"
    assert latex_tree.tikz_path(path) == "(1,2) .. controls (1,4) and (5,6) .. (5,8) -- (5,12)"


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><path d="M0 0h40"/></svg>'


@pytest.mark.pdf
@pytest.mark.skipif(not shutil.which("rsvg-convert"), reason="rsvg-convert n’est pas installé")
def test_svg_drawings_are_converted(tmp_path):
    files = {
        "book/index.md": "# Livre\n\nTexte.\n\n![Un trait](trait.svg)\n",
        "book/trait.svg": SVG,
    }
    files["book/_data/chapitres.yml"] = (pdf.ROOT / "book/_data/chapitres.yml").read_text("utf-8")
    site = build(tmp_path, files, "latex", CONF)
    assert site.warnings == ""
    assert [path.name for path in site.out.glob("trait*")] == ["trait.pdf"]


def test_rsvg_convert_is_asked_for_only_when_a_page_needs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(pdf, "ROOT", tmp_path)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "apt_install", lambda packages: False)
    for folder in ("book", "notebooks"):
        (tmp_path / folder).mkdir()
    pdf.obtain_converter()
    (tmp_path / "book" / "trait.svg").write_text(SVG)
    with pytest.raises(messages.Panne, match="rsvg-convert manque"):
        pdf.obtain_converter()


# --- la composition ----------------------------------------------------------------------------


@pytest.mark.pdf
@pytest.mark.lent
@needs_tex
def test_the_small_book_is_composed(small_book, monkeypatch):
    monkeypatch.setattr(pdf, "LATEX", small_book.out)
    pdf.compose()
    log = (small_book.out / "bible-llm.log").read_text(encoding="utf-8", errors="replace")
    pdf.check(log)
    assert pdf.pages(log) >= 8
    aux = (small_book.out / "bible-llm.aux").read_text(encoding="utf-8")
    assert pdf.printed_numbers(aux)["equation:book/section:eq-essai-un"] == "1.1.1"
    assert (small_book.out / "bible-llm.pdf").stat().st_size > 10_000


@pytest.mark.pdf
@pytest.mark.lent
@needs_tex
def test_a_latex_error_is_reported(small_book, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "latex"
    shutil.copytree(small_book.out, folder)
    for old in folder.glob("bible-llm.*"):
        if old.suffix != ".tex":
            old.unlink()
    source = folder / "bible-llm.tex"
    source.write_text(source.read_text(encoding="utf-8").replace("Une remarque", r"\inconnue"))
    monkeypatch.setattr(pdf, "LATEX", folder)
    with pytest.raises(messages.Panne, match="s’arrête vers la page .* Undefined control sequence"):
        pdf.compose()
    assert r"\inconnue" in capsys.readouterr().out
    assert not list(folder.glob("*.aux"))  # une composition coupée n’empêche pas la suivante


@pytest.mark.pdf
@pytest.mark.lent
@needs_tex
def test_the_whole_book_is_composed(capsys):
    assert messages.guard(lambda: pdf.main([])) == 0
    said = capsys.readouterr().out
    assert re.search(r"PDF composé en .* : \d+ pages, .* Mo, _build/pdf/bible-llm\.pdf", said)
