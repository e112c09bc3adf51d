"""Le modèle du livre et son moteur, écrits dans `_static` à la fin de la construction HTML.

Sans npm ou sans onnx, le livre se construit quand même : une ligne le dit, et la page qui écrit
l’explique au lecteur. Ce qui n’a pas changé n’est pas récrit.
"""

from pathlib import Path

from sphinx.util import logging

from tools.build import NOTE

logger = logging.getLogger(__name__)

MODELS = ("nano",)


def finish(app, exception):
    if exception or app.builder.format != "html":
        return
    if reason := write_all(Path(app.srcdir), Path(app.outdir) / "_static"):
        logger.info("%s%s ; la page qui écrit le dira au lecteur.", NOTE, reason)


def write_all(source, static):
    """None, ou ce qui manque."""
    folders = [source / "models" / name for name in MODELS]
    if not any(folder.is_dir() for folder in folders):  # un livre d’essai, sans modèle
        return None
    try:
        from tools import web_model

        for folder in folders:
            web_model.write_model(folder, static / "modele" / folder.name)
    except (ImportError, OSError, ValueError) as error:
        return f"absent ({error})"
    if reason := web_model.write_engine(static / "onnxruntime"):
        return f"onnxruntime-web manque ({reason})"
    return None


def setup(app):
    app.connect("build-finished", finish)
