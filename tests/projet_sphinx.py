"""Un petit projet Sphinx construit dans un dossier temporaire, pour éprouver nos extensions."""

from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

CONF = """
extensions = ["myst_nb", "sphinx_exercise", "tools.sphinx_ext.typography",
              "tools.sphinx_ext.plan", "tools.sphinx_ext.cover", "tools.sphinx_ext.badges"]
root_doc = "book/index"
exclude_patterns = ["_build"]
language = "fr"
html_theme = "basic"
html_title = "L'essai : un livre"
numfig = True
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
suppress_warnings = ["mystnb.unknown_mime_type", "config.cache"]
latex_engine = "xelatex"
"""


@dataclass
class Site:
    app: Sphinx
    out: Path
    warnings: str

    def html(self, page: str) -> str:
        return (self.out / f"{page}.html").read_text(encoding="utf-8")


def build(
    root: Path, files: dict[str, str], builder: str = "html", conf: str = "", fresh: bool = True
) -> Site:
    """Écrit `files` sous `root` et construit. fresh=False : construction incrémentale."""
    for name, content in {"conf.py": CONF + conf, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
    out, warnings = root / "_build" / builder, StringIO()
    with patch_docutils(), docutils_namespace(), redirect_stderr(StringIO()):
        app = Sphinx(
            root,
            root,
            out,
            root / "_build" / "doctrees",
            builder,
            status=None,
            warning=warnings,
            freshenv=fresh,
        )
        app.build()
    return Site(app, out, warnings.getvalue())
