"""Toute équation numérotée est vérifiée, ou porte un statut explicite.

Une équation étiquetée `$$ … $$ (eq-svd-x)` est vérifiée quand une cellule de code placée après elle,
dans la même page, appelle `verify("eq-svd-x", …)` (lu dans l’arbre syntaxique, *AST*) et que sa
sortie stockée contient la ligne `vérifié · eq-svd-x`. Sinon `{eq-definition} eq-svd-x` la déclare
comme une définition, et `{eq-citee} eq-svd-x clé` la rattache à une source. Sans rien de cela, la
construction échoue.
"""

import ast
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from tools.sphinx_ext.blocks import visit_nothing
from tools.sphinx_ext.issues import note_issue

VERIFIED_LINE = re.compile(r"^vérifié · (\S+?)(?=\s|$)", re.MULTILINE)
AMS_LABEL = re.compile(r"\\label\{([^}]*)\}\s*")
AMS_ENVIRONMENT = re.compile(r"^\s*\\begin\{(\w+)\}(.*)\\end\{\1\}\s*$", re.DOTALL)
AMS_INNER = {
    "align": "aligned",
    "alignat": "alignedat",
    "gather": "gathered",
    "flalign": "aligned",
    "eqnarray": "aligned",
    "multline": "gathered",
    "equation": None,
    "displaymath": None,
}


class eq_status(nodes.General, nodes.Element):
    """Statut déclaré par l’auteur ; disparaît après la lecture de la page."""


class EqDefinition(SphinxDirective):
    """```` ```{eq-definition} eq-x ```` : l’équation est une définition."""

    required_arguments = 1

    def run(self):
        return [eq_status(label=self.arguments[0], status="definition", line_no=self.lineno)]


class EqCitee(SphinxDirective):
    """```` ```{eq-citee} eq-x clé ```` : l’équation est énoncée d’après une source."""

    required_arguments = 2

    def run(self):
        label, key = self.arguments
        text = f"Équation {{eq}}`{label}` : d’après {{cite}}`{key}`."
        inline, messages = self.state.inline_text(text, self.lineno)
        source = nodes.paragraph(
            "", "", *inline, classes=["bible-eq-source"], ids=[source_id(label)]
        )
        status = eq_status(label=label, status="cited", key=key, line_no=self.lineno)
        return [status, source, *messages]


def proof_id(label: str) -> str:
    return nodes.make_id(f"verification-{label}")


def source_id(label: str) -> str:
    return nodes.make_id(f"source-{label}")


class LabelAmsEquations(SphinxTransform):
    r"""Donne leur étiquette aux environnements AMS (`\begin{align} … \label{eq-x} … \end{align}`).

    MyST numérote ces environnements avec une étiquette au hasard, que l’on ne peut citer. Avec un
    `\label`, l’environnement devient une équation étiquetée ordinaire ; sans `\label`, il n’est pas
    numéroté.
    """

    default_priority = 200  # avant PropagateTargets (260), qui donne à l’équation son id

    def apply(self):
        domain = self.env.get_domain("math")
        for node in list(self.document.findall(nodes.math_block)):
            if "amsmath" not in node["classes"] or not node.get("label"):
                continue
            text = node.astext()
            labels = AMS_LABEL.findall(text)
            environment, body = AMS_ENVIRONMENT.match(text).groups()
            body = AMS_LABEL.sub("", body).strip()
            domain.equations.pop(node["label"], None)
            target = node.parent[node.parent.index(node) - 1]
            if len(labels) > 1:
                note_issue(
                    self.env,
                    f"L’environnement {environment} a {len(labels)} étiquettes : "
                    "gardez-en une, ou séparez les équations.",
                    node.line,
                    "equation",
                )
            if not labels:
                if isinstance(target, nodes.target):
                    target.parent.remove(target)
                content = f"\\begin{{{environment}*}}\n{body}\n\\end{{{environment}*}}"
                self._set(node, content, label=None, number=None)
                continue
            inner = AMS_INNER.get(environment, "aligned")
            if inner:
                body = f"\\begin{{{inner}}}{body}\\end{{{inner}}}"
            label = labels[0]
            domain.note_equation(self.env.docname, label, location=node)
            self._set(node, body, label=label, number=domain.get_equation_number_for(label))
            node["nowrap"] = False
            node["classes"].remove("amsmath")
            target["ids"] = [nodes.make_id(f"equation-{label}")]
            self.document.note_explicit_target(target)

    @staticmethod
    def _set(node, text, label, number):
        node.children = []
        node.rawsource = text
        node += nodes.Text(text)
        node["number"] = number
        if label:
            node["label"] = label
        else:
            del node["label"]


def verify_calls(source: str) -> list[str]:
    """Étiquettes des appels `verify("…", …)` d’une cellule, dans l’ordre du texte."""
    lines = source.splitlines()
    if lines and lines[0].startswith("%%"):
        return []
    # Les commandes IPython (%timeit, !ls) ne sont pas du Python.
    source = "\n".join(re.sub(r"^(\s*)[%!].*$", r"\1pass", line) for line in lines)
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    labels = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", getattr(call.func, "attr", None))
        if name != "verify":
            continue
        keywords = [k.value for k in call.keywords if k.arg == "label"]
        argument = (call.args or keywords or [None])[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            labels.append((call.lineno, argument.value))
    return [label for _, label in sorted(labels)]


def _part(cell, element: str) -> str:
    """Texte d’une partie de cellule : son code, ou sa sortie stockée."""
    return "\n".join(
        block.astext()
        for part in cell.findall(nodes.container)
        if part.get("nb_element") == element
        for block in part.findall(nodes.literal_block)
    )


def on_doctree_read(app, document):
    env = app.env
    equations, cells, statuses = {}, [], {}
    for node in document.findall():
        if isinstance(node, nodes.math_block) and node.get("label"):
            equations[node["label"]] = (len(cells), node)  # nombre de cellules déjà vues
        elif isinstance(node, nodes.container) and node.get("nb_element") == "cell_code":
            cells.append(node)
        elif isinstance(node, eq_status):
            statuses.setdefault(node["label"], []).append(node)

    calls = [verify_calls(_part(cell, "cell_code_source")) for cell in cells]
    proofs = [set(VERIFIED_LINE.findall(_part(cell, "cell_code_output"))) for cell in cells]
    verified_by: dict[int, list[str]] = {}
    counts = {"verified": 0, "definition": 0, "cited": 0}

    for label, (rank, node) in equations.items():
        called = [i for i, labels in enumerate(calls) if label in labels]
        proved = [i for i in called if i >= rank and label in proofs[i]]
        declared = [status["status"] for status in statuses.get(label, [])]
        if len(declared) > 1:
            note_issue(
                env, f"L’équation {label} a plusieurs statuts déclarés.", node.line, "equation"
            )
        if proved:
            status = "verified"
            verified_by.setdefault(proved[0], []).append(label)
        elif declared and not called:
            status = declared[0]
        else:
            note_issue(env, _diagnosis(label, rank, called), node.line, "equation")
            continue
        counts[status] += 1
        node["bible_status"] = status
        node["bible_cited"] = "cited" in declared

    for label, marks in statuses.items():
        for mark in marks:
            if label not in equations:
                note_issue(
                    env,
                    f"Aucune équation {label} dans cette page pour son statut.",
                    mark["line_no"],
                    "equation",
                )
            mark.parent.remove(mark)
    for labels, cell in zip(calls, cells, strict=True):
        for label in labels:
            if label.startswith("eq-") and label not in equations:
                note_issue(
                    env,
                    f'verify("{label}") : aucune équation de cette étiquette dans la page.',
                    cell.line,
                    "equation",
                )
    for index, labels in verified_by.items():
        _caption(env.docname, cells[index], labels)
    if not hasattr(env, "bible_equations"):
        env.bible_equations = {}
    env.bible_equations[env.docname] = counts


def _diagnosis(label, rank, called) -> str:
    """La phrase qui dit ce qui manque à l’équation."""
    if not called:
        return (
            f"L’équation {label} n’est pas vérifiée : ajoutez après elle une cellule qui appelle "
            f'verify("{label}", …), ou l’une des directives eq-definition, eq-citee.'
        )
    if all(i < rank for i in called):
        return (
            f'L’équation {label} est vérifiée avant d’être énoncée : placez verify("{label}", '
            "…) dans une cellule qui la suit."
        )
    return (
        f"L’équation {label} a un appel verify, mais la sortie stockée ne contient pas la ligne "
        f"« vérifié · {label} » : lancez python -m tools notebooks."
    )


def _caption(docname, cell, labels):
    """Entoure la cellule d’un cadre portant un id par équation, avec un lien de retour."""
    caption = nodes.paragraph(classes=["bible-verification-titre"])
    caption += nodes.Text(
        "Vérification de l’équation " if len(labels) == 1 else "Vérification des équations "
    )
    for i, label in enumerate(labels):
        if i:
            caption += nodes.Text(" et " if i == len(labels) - 1 else ", ")
        xref = addnodes.pending_xref(
            "",
            refdomain="math",
            reftype="eq",
            reftarget=label,
            refdoc=docname,
            refexplicit=False,
            refwarn=True,
        )
        xref += nodes.inline("", label)
        caption += xref
    frame = nodes.container(classes=["bible-verification"], ids=[proof_id(x) for x in labels])
    _wrap(cell, frame, [caption, cell])


def _wrap(node, frame, content):
    """Met `frame` à la place de `node` ; `replace_self` lui donnerait aussi les id du nœud."""
    parent = node.parent
    parent[parent.index(node)] = frame
    frame += content


class MarkEquations(SphinxPostTransform):
    """Ajoute sous le numéro de l’équation « vérifié », « définition » ou « citée »."""

    default_priority = 50
    formats = ("html",)
    WORDS = {"verified": "vérifié", "definition": "définition", "cited": "citée"}

    def run(self, **kwargs):
        for node in list(self.document.findall(nodes.math_block)):
            status = node.get("bible_status")
            if not status:
                continue
            marks = [(status, self.WORDS[status])]
            if status != "cited" and node.get("bible_cited"):
                marks.append(("cited", self.WORDS["cited"]))
            line = nodes.paragraph(classes=["bible-eq-marque"])
            for i, (kind, word) in enumerate(marks):
                if i:
                    line += nodes.Text(" ")
                target = {"verified": proof_id, "cited": source_id}.get(kind)
                text = nodes.inline("", word, classes=[f"bible-eq-{kind}"])
                if target:
                    text = nodes.reference("", "", text, internal=True, refid=target(node["label"]))
                line += text
            frame = nodes.container(classes=["bible-equation"])
            _wrap(node, frame, [node, line])


def _purge(app, env, docname):
    getattr(env, "bible_equations", {}).pop(docname, None)


def _merge(app, env, docnames, other):
    mine = env.bible_equations = getattr(env, "bible_equations", {})
    theirs = getattr(other, "bible_equations", {})
    mine.update({name: theirs[name] for name in docnames if name in theirs})


def _assets(app, pagename, templatename, context, doctree):
    counts = getattr(app.env, "bible_equations", {}).get(pagename)
    context["bible_equations"] = counts
    if counts and any(counts.values()):
        app.add_css_file("bible-equations.css")


def _write_summary(app, exception):
    """`_static/equations.json` : le compte de chaque page et celui du livre."""
    if exception or app.builder.format != "html":
        return
    pages = {
        name: counts
        for name, counts in sorted(getattr(app.env, "bible_equations", {}).items())
        if any(counts.values())
    }
    total = {
        key: sum(counts[key] for counts in pages.values())
        for key in ("verified", "definition", "cited")
    }
    path = Path(app.outdir) / "_static" / "equations.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"total": total, "pages": pages}, ensure_ascii=False, indent=1), encoding="utf-8"
    )


def setup(app):
    app.add_node(
        eq_status, **{name: (visit_nothing, visit_nothing) for name in ("html", "latex", "text")}
    )
    app.add_directive("eq-definition", EqDefinition)
    app.add_directive("eq-citee", EqCitee)
    app.add_transform(LabelAmsEquations)
    app.add_post_transform(MarkEquations)
    app.connect("doctree-read", on_doctree_read)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("html-page-context", _assets)
    app.connect("build-finished", _write_summary)
