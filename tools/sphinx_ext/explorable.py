"""Les figures à manipuler : un module JavaScript, ses données dans la page, un repli statique.

:::{explorable} rang
:data: svd/image.json
:title: Rang d’une approximation

![…](…)  Le corps reste visible sans JavaScript, dans le PDF, et si le module échoue.
:::

Le module `book/_explorables/rang.js` exporte `default function(root, data)`. Les données sont
cherchées à côté de lui, puis à côté de la page dans `book/`.
"""

import json
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from tools.sphinx_ext.blocks import use_assets, visit_nothing
from tools.sphinx_ext.issues import note_issue

FOLDER = Path("book") / "_explorables"


class explorable(nodes.General, nodes.Element):
    """Une figure à manipuler ; ses enfants sont le repli statique."""


class ExplorableDirective(SphinxDirective):
    has_content = True
    required_arguments = 1
    option_spec = {"data": directives.unchanged_required, "title": directives.unchanged_required}

    def run(self):
        name = self.arguments[0]
        node = explorable(module=name, title=self.options.get("title", name), data="null")
        node["ids"].append(
            nodes.make_id(f"explorable-{name}-{self.env.new_serialno('bible-explorable')}")
        )
        self.set_source_info(node)
        source = Path(self.env.srcdir)
        module = source / FOLDER / f"{name}.js"
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            self.fault(name, "le nom s’écrit en minuscules, chiffres et tirets")
        elif not module.is_file():
            self.fault(name, f"le module {FOLDER.as_posix()}/{name}.js n’existe pas")
        if "data" in self.options:
            node["data"] = self.read_data(name, source, self.options["data"])
        if not self.content:
            self.fault(name, "le repli statique manque (le corps de la directive)")
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]

    def read_data(self, name, source, relative):
        """Les données en JSON compact, prêtes à être écrites dans un élément script."""
        page = Path(*Path(self.env.docname).parts[1:]).parent
        folders = [source / FOLDER, source / "book" / page, (source / self.env.docname).parent]
        path = next((f / relative for f in folders if (f / relative).is_file()), None)
        if path is None:
            self.fault(name, f"les données {relative} n’existent pas")
            return "null"
        self.env.note_dependency(str(path))
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            self.fault(name, f"{relative} n’est pas du JSON ({error})")
            return "null"
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return text.replace("<", "\\u003c")  # sinon </script> fermerait l’élément

    def fault(self, name, message):
        note_issue(self.env, f"Figure à manipuler {name} : {message}.", self.lineno, "explorable")


def html_visit(self, node):
    label = f"Figure à manipuler\u00a0: {node['title']}"
    self.body.append(
        self.starttag(
            node,
            "div",
            CLASS="bible-explorable",
            role="group",
            **{"aria-label": label, "data-module": node["module"]},
        )
    )
    self.body.append(
        f'<script type="application/json">{node["data"]}</script>\n'
        '<div class="bible-explorable-repli">\n'
    )


def html_depart(self, node):
    self.body.append("</div></div>\n")


def _assets(app, pagename, templatename, context, doctree):
    use_assets(
        app,
        pagename,
        doctree,
        (explorable,),
        css=["bible-explorable.css"],
        js=["bible-explorable.js"],
        type="module",
    )


def _copy_modules(app, exception):
    """Copie les .js de `book/_explorables/`, sous-dossiers compris, dans `_static/explorables/`."""
    source = Path(app.srcdir) / FOLDER
    if exception or app.builder.format != "html" or not source.is_dir():
        return
    target = Path(app.outdir) / "_static" / "explorables"
    for module in source.rglob("*.js"):
        copy = target / module.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, copy)


def setup(app):
    silent = (visit_nothing, visit_nothing)
    app.add_node(explorable, html=(html_visit, html_depart), latex=silent, text=silent)
    app.add_directive("explorable", ExplorableDirective)
    app.connect("html-page-context", _assets)
    app.connect("build-finished", _copy_modules)
