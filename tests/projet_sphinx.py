"""Un petit projet Sphinx construit dans un dossier temporaire, pour éprouver nos extensions."""

import pickle
import subprocess
import sys
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


def write(root: Path, files: dict[str, str], conf: str) -> None:
    for name, content in {"conf.py": CONF + conf, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")


def build(
    root: Path, files: dict[str, str], builder: str = "html", conf: str = "", fresh: bool = True
) -> Site:
    """Écrit `files` sous `root` et construit. fresh=False : construction incrémentale."""
    write(root, files, conf)
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


def build_apart(root: Path, files: dict[str, str], conf: str = "", fresh: bool = True):
    """Comme `build`, dans un autre processus : rend (environnement, dossier HTML, avertissements).

    sphinx_external_toc parcourt tous les objets vivants du processus, y compris ceux des autres
    tests : un mandataire faible dont l’objet est mort y lève une ReferenceError.
    """
    write(root, files, conf)
    out, doctrees = root / "_build" / "html", root / "_build" / "doctrees"
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", doctrees, root, out]
    done = subprocess.run(
        [*command, "-E"] if fresh else command,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    environment = pickle.loads((doctrees / "environment.pickle").read_bytes())
    return environment, out, done.stderr
