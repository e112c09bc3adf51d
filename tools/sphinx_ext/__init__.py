"""Extension Sphinx du livre : blocs, équations vérifiées, exercices, quiz, figures à manipuler.

Chargée par `_config.yml` (`sphinx: local_extensions: {tools.sphinx_ext: .}`). Chaque module porte
une idée et sa fonction `setup(app)`.
"""

from importlib import import_module

MODULES = (
    "issues",
    "bibliography",
    "blocks",
    "equations",
    "exercises",
    "quiz",
    "explorable",
    "web_model",
    "progression",
    "theme",
    "typography",
    "plan",
    "numbering",
    "cover",
    "badges",
    "latex",
)


def setup(app):
    for name in MODULES:
        import_module(f"{__name__}.{name}").setup(app)
    return {
        "version": "1",
        "env_version": 2,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
