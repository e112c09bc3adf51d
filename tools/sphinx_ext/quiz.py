"""Les quiz : une liste numérotée de questions, chaque choix expliqué.

:::{quiz}
:label: quiz-vecteurs

1. Question ?

   - [ ] Choix faux.

     Pourquoi il est faux.

   - [x] Choix juste.

     Pourquoi il est juste.
:::

Un seul `[x]` donne des boutons radio, plusieurs des cases à cocher. Sans JavaScript, chaque
explication se déplie ; dans le PDF, les réponses suivent les questions.
"""

import re
from string import ascii_lowercase

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from tools.sphinx_ext.blocks import use_assets
from tools.sphinx_ext.issues import note_issue

CHECKBOX = re.compile(r"^\[([ xX])\]\s+")
RAW_CHECKBOX = re.compile(r"<input[^>]*task-list-item-checkbox[^>]*>")  # extension « tasklist »


class quiz(nodes.General, nodes.Element):
    """Un quiz ; ses enfants sont des questions."""


class question(nodes.General, nodes.Element):
    """Une question : un énoncé (`quiz_statement`), puis ses choix."""


class quiz_statement(nodes.General, nodes.TextElement):
    """La phrase de la question, légende du groupe de choix."""


class choice(nodes.General, nodes.Element):
    """Un choix : son texte (`choice_text`), puis son explication (`choice_explanation`)."""


class choice_text(nodes.General, nodes.TextElement):
    """Le texte d’un choix, étiquette du bouton."""


class choice_explanation(nodes.General, nodes.Element):
    """Pourquoi le choix est juste ou faux."""


class QuizDirective(SphinxDirective):
    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = {"label": directives.unchanged_required}

    def run(self):
        label = self.options.get("label", "")
        if not re.fullmatch(r"quiz(-[a-z0-9]+)+", label):
            self.fault(f"étiquette {label!r}, attendu :label: quiz-<section>")
            label = label or f"quiz-{self.env.new_serialno('bible-quiz')}"
        known = quizzes(self.env)
        for docname, found in known.items():
            if any(item["label"] == label for item in found):
                self.fault(f"l’étiquette {label} sert déjà dans {docname}")

        content = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, content)
        node = quiz(label=label, ids=[label])
        node["quiz_title"] = self.arguments[0] if self.arguments else "Quiz"
        self.set_source_info(node)
        lists = [child for child in content if isinstance(child, nodes.enumerated_list)]
        others = [child for child in content if not isinstance(child, nodes.enumerated_list)]
        if len(lists) != 1:
            self.fault(
                f"attendu une seule liste numérotée de questions (1., 2., …), trouvé {len(lists)}"
            )
        for child in others:
            if not isinstance(child, nodes.comment | nodes.system_message):
                self.fault(f"texte hors des questions : « {child.astext()[:40]} »")
        for items in lists:
            for item in items:
                node += self.read_question(item, len(node) + 1)
        known.setdefault(self.env.docname, []).append(
            {"label": label, "title": node["quiz_title"], "questions": len(node)}
        )
        return [node]

    def fault(self, message):
        label = self.options.get("label", "sans étiquette")
        note_issue(self.env, f"Quiz {label} : {message}.", self.lineno, "quiz")

    def read_question(self, item, number):
        node = question()
        children = list(item)
        if not children or not isinstance(children[0], nodes.paragraph):
            self.fault(f"question {number} : l’énoncé manque")
            children = [nodes.paragraph(), *children]
        statement = quiz_statement("", "", *_adopt(children[0]))
        node += statement
        choices = []
        for child in children[1:]:
            if isinstance(child, nodes.bullet_list):
                choices += [
                    self.read_choice(c, number, len(choices) + i + 1) for i, c in enumerate(child)
                ]
            else:
                node += child  # code, figure ou formule de l’énoncé
        node += choices
        right = sum(c["right"] for c in choices)
        if len(choices) < 2:
            self.fault(f"question {number} : {len(choices)} choix, il en faut au moins deux")
        if not right:
            self.fault(f"question {number} : aucun choix juste, marquez-en un par [x]")
        node["multiple"] = right > 1
        return node

    def read_choice(self, item, question_number, number):
        place = f"question {question_number}, choix {number}"
        children = list(item)
        first = children[0] if children else nodes.paragraph()
        right = _take_checkbox(first)
        if right is None:
            self.fault(f"{place} : il manque [ ] ou [x] devant le texte")
        if not first.astext().strip():
            self.fault(f"{place} : le texte manque")
        if not children[1:]:
            self.fault(f"{place} : l’explication manque (un paragraphe en retrait sous le choix)")
        node = choice(
            "", choice_text("", "", *_adopt(first)), choice_explanation("", *children[1:])
        )
        node["right"], node["number"] = bool(right), number
        return node


def _adopt(node):
    """Enfants d’un nœud, détachés de lui."""
    children = list(node.children)
    node.children = []
    return children


def _take_checkbox(paragraph) -> bool | None:
    """Retire la case du début du paragraphe ; dit si elle est cochée, ou None sans case."""
    if not paragraph.children:
        return None
    first = paragraph[0]
    if isinstance(first, nodes.raw) and RAW_CHECKBOX.search(first.astext()):
        paragraph.remove(first)
        if paragraph.children and isinstance(paragraph[0], nodes.Text):
            paragraph.replace(paragraph[0], nodes.Text(paragraph[0].astext().lstrip()))
        return 'checked="' in first.astext()
    match = CHECKBOX.match(first.astext()) if isinstance(first, nodes.Text) else None
    if match is None:
        return None
    paragraph.replace(first, nodes.Text(first.astext()[match.end() :]))
    return match.group(1) in "xX"


# HTML. Les éléments `hidden` n’apparaissent qu’avec JavaScript.


def visit_quiz(self, node):
    label = node["label"]
    self.body.append(
        self.starttag(
            node,
            "section",
            CLASS="bible-quiz",
            **{"aria-labelledby": f"{label}-titre", "data-quiz": label},
        )
    )
    self.body.append(
        f'<p class="bible-quiz-titre" id="{label}-titre">'
        f'<span class="bible-mot">À vous</span> {self.encode(node["quiz_title"])}</p>\n'
        '<form novalidate="novalidate"><ol class="bible-questions" role="list">\n'
    )


def depart_quiz(self, node):
    self.body.append(
        '</ol>\n<div class="bible-quiz-bilan" hidden="hidden">'
        '<p class="bible-score" role="status" tabindex="-1"></p>'
        '<button type="button" class="bible-bouton bible-recommencer">Recommencer</button></div>\n'
        '</form>\n<noscript><p class="bible-quiz-note">Sans JavaScript, dépliez les explications '
        "pour lire les réponses.</p></noscript></section>\n"
    )


def visit_question(self, node):
    node["number"] = node.parent.index(node) + 1
    node["name"] = f"{node.parent['label']}-{node['number']}"
    kind = "plusieurs" if node["multiple"] else "une"
    self.body.append(f'<li><fieldset class="bible-question" data-reponses="{kind}">')


def depart_question(self, node):
    self.body.append(
        '<p class="bible-resultat" role="status"></p>'
        '<button type="button" class="bible-bouton bible-verifier" hidden="hidden">'
        f'Vérifier<span class="bible-lecteur"> la question {node["number"]}</span></button>'
        "</fieldset></li>\n"
    )


def visit_statement(self, node):
    self.body.append(f'<legend><span class="bible-numero">{node.parent["number"]}.</span> ')


def depart_statement(self, node):
    if node.parent["multiple"]:
        self.body.append(' <span class="bible-consigne">(plusieurs réponses)</span>')
    self.body.append("</legend>\n")


def visit_choice(self, node):
    right = "juste" if node["right"] else "faux"
    self.body.append(f'<div class="bible-choix" data-valeur="{right}">')


def visit_choice_text(self, node):
    kind = "checkbox" if node.parent.parent["multiple"] else "radio"
    self.body.append(
        f'<label><input type="{kind}" name="{node.parent.parent["name"]}" '
        f'value="{node.parent["number"]}" autocomplete="off"/><span>'
    )


def depart_choice_text(self, node):
    self.body.append("</span></label>\n")


def visit_explanation(self, node):
    word = "Juste" if node.parent["right"] else "Faux"
    self.body.append(
        '<details class="bible-explication"><summary>Explication'
        '<span class="bible-lecteur"> du choix '
        f"{node.parent['number']}</span></summary>"
        f'<p class="bible-verdict bible-verdict-{word.lower()}">{word}</p>\n'
    )


def depart_explanation(self, node):
    self.body.append("</details>\n")


def close(tag):
    return lambda self, node: self.body.append(f"</{tag}>\n")


class QuizWithoutButtons(SphinxPostTransform):
    """PDF et texte : les questions et leurs choix (a, b, c), puis les réponses expliquées."""

    default_priority = 8

    def run(self, **kwargs):
        if self.app.builder.format == "html":
            return
        for node in list(self.document.findall(quiz)):
            node.replace_self(self.plain(node))

    def plain(self, node):
        questions = nodes.enumerated_list(enumtype="arabic", prefix="", suffix=".")
        answers = nodes.enumerated_list(enumtype="arabic", prefix="", suffix=".")
        for item in node:
            choices = [child for child in item if isinstance(child, choice)]
            extra = [c for c in item if not isinstance(c, choice | quiz_statement)]
            letters = nodes.enumerated_list(enumtype="loweralpha", prefix="", suffix=".")
            why = nodes.bullet_list(bullet="-")
            for letter, one in zip(ascii_lowercase, choices, strict=False):
                text, explanation = one
                letters += nodes.list_item("", nodes.paragraph("", "", *_adopt(text)))
                verdict = nodes.strong("", f"{letter}. {'Juste' if one['right'] else 'Faux'}.")
                reasons = _adopt(explanation)
                if not reasons or not isinstance(reasons[0], nodes.paragraph):
                    reasons.insert(0, nodes.paragraph())
                reasons[0].children[:0] = [verdict, nodes.Text(" ")]
                why += nodes.list_item("", *reasons)
            questions += nodes.list_item(
                "", nodes.paragraph("", "", *_adopt(item[0])), *extra, letters
            )
            answers += nodes.list_item("", why)
        for items in (questions, answers):
            items["start"] = 1
        return [
            nodes.paragraph("", "", nodes.strong("", f"À vous : {node['quiz_title']}")),
            questions,
            nodes.paragraph("", "", nodes.strong("", "Réponses")),
            answers,
        ]


def quizzes(env) -> dict[str, list[dict]]:
    """Les quiz de chaque page : étiquette, titre, nombre de questions."""
    if not hasattr(env, "bible_quizzes"):
        env.bible_quizzes = {}
    return env.bible_quizzes


def _purge(app, env, docname):
    quizzes(env).pop(docname, None)


def _merge(app, env, docnames, other):
    quizzes(env).update({d: quizzes(other)[d] for d in docnames if d in quizzes(other)})


def _assets(app, pagename, templatename, context, doctree):
    use_assets(
        app, pagename, doctree, (quiz,), css=["bible-quiz.css"], js=["bible-quiz.js"], defer="defer"
    )


def setup(app):
    app.add_node(quiz, html=(visit_quiz, depart_quiz))
    app.add_node(question, html=(visit_question, depart_question))
    app.add_node(quiz_statement, html=(visit_statement, depart_statement))
    app.add_node(choice, html=(visit_choice, close("div")))
    app.add_node(choice_text, html=(visit_choice_text, depart_choice_text))
    app.add_node(choice_explanation, html=(visit_explanation, depart_explanation))
    app.add_directive("quiz", QuizDirective)
    app.add_post_transform(QuizWithoutButtons)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("html-page-context", _assets)
