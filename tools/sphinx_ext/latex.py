"""Le livre en LaTeX : le même texte, rangé comme un livre imprimé.

Les réglages sont ici, l’ordre et les numéros dans `latex_tree`, les blocs dans `latex_blocks`, la
mise en page dans `tools/latex/bible.sty`. Ce qui est replié à l’écran est ouvert ; ce qui ne vit
que dans un navigateur est laissé de côté. `tools/pdf.py` compose le tout.
"""

import subprocess
import time
from datetime import UTC, date, datetime
from pathlib import Path

from pygments.style import Style
from pygments.token import Comment, Error, Generic, Keyword, Name, Number, Operator, String

from tools.sphinx_ext import latex_blocks, latex_tree
from tools.sphinx_ext.latex_tree import escape

STYLE = Path(__file__).parent.parent / "latex" / "bible.sty"
MONTHS = (
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
)

FONTS = r"""
\setmainfont{texgyrepagella}[Extension=.otf, UprightFont=*-regular, ItalicFont=*-italic,
  BoldFont=*-bold, BoldItalicFont=*-bolditalic, Numbers=Lining]
\setsansfont{texgyreheros}[Extension=.otf, UprightFont=*-regular, ItalicFont=*-italic,
  BoldFont=*-bold, BoldItalicFont=*-bolditalic, Scale=0.92]
\setmonofont{DejaVuSansMono}[Extension=.ttf, UprightFont=*, ItalicFont=*-Oblique, BoldFont=*-Bold,
  BoldItalicFont=*-BoldOblique, Scale=0.78]
"""

ELEMENTS = {
    "papersize": "a4paper",
    "pointsize": "11pt",
    "extraclassoptions": "oneside,openany",
    "geometry": r"\usepackage[a4paper, textwidth=148mm, textheight=237mm, top=29mm, "
    r"headheight=14pt, headsep=8mm, footskip=12mm, hcentering]{geometry}",
    "passoptionstopackages": r"\PassOptionsToPackage{svgnames}{xcolor}",
    "fontpkg": FONTS,
    "fncychap": "",
    "fvset": r"\fvset{fontsize=\small, baselinestretch=1}",
    "figure_align": "!htbp",
    "preamble": r"\usepackage{bible}",
    "maketitle": r"\bibletitre",
    "tableofcontents": r"\bibletable",
}


class PaperStyle(Style):
    """Le code sur papier : peu de couleurs, assez sombres pour une impression en gris."""

    styles = {
        Comment: "italic #57606A",
        Keyword: "bold #1D4E89",
        Keyword.Constant: "nobold #1D4E89",
        Operator.Word: "bold #1D4E89",
        String: "#2E6B3F",
        String.Doc: "italic #2E6B3F",
        Number: "#A34A15",
        Name.Function: "#1F2328 bold",
        Name.Class: "#1F2328 bold",
        Name.Decorator: "#A34A15",
        Error: "",
        Generic.Error: "#A32020",
        Generic.Traceback: "#A32020",
    }


# --- les réglages ------------------------------------------------------------------------------


def edition_date(srcdir) -> date:
    """Le jour du dernier commit ; à défaut, aujourd’hui."""
    return datetime.fromtimestamp(edition_time(srcdir), UTC).date()


def edition_time(srcdir) -> int:
    """La même date en secondes, pour que deux compositions donnent le même PDF."""
    command = ["git", "-C", str(srcdir), "log", "-1", "--format=%ct"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        asked = ""
    return int(asked) if asked.isdigit() else int(time.time())


def date_fr(day: date) -> str:
    """2026-11-01 -> « 1er novembre 2026 »."""
    return f"{'1er' if day.day == 1 else day.day} {MONTHS[day.month - 1]} {day.year}"


def configure(app, config):
    config.latex_engine = "xelatex"
    config.latex_toplevel_sectioning = "chapter"
    config.latex_docclass = {"manual": "report"}
    config.latex_show_urls = "no"
    config.latex_show_pagerefs = False
    config.latex_table_style = ["booktabs"]
    config.latex_additional_files = [*config.latex_additional_files, str(STYLE)]
    config.latex_elements = {**ELEMENTS, **config.latex_elements}


def prepare(app):
    """Ce qui ne concerne que le PDF, et que le HTML ne doit pas voir changer."""
    if app.builder.format != "latex":
        return
    app.config.pygments_style = "tools.sphinx_ext.latex.PaperStyle"
    app.bible_numbers = {}
    context = app.builder.context
    values = {
        "bibleedition": f"Édition du {date_fr(edition_date(app.srcdir))}",
        "bibledroits": str(app.config.copyright),
    }
    context["preamble"] += "".join(
        f"\n\\newcommand{{\\{name}}}{{{escape(value)}}}" for name, value in values.items()
    )


def setup(app):
    app.connect("config-inited", configure, priority=800)
    app.connect("builder-inited", prepare)
    latex_tree.setup(app)
    latex_blocks.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
