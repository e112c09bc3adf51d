"""La typographie française, posée à la construction.

L'auteur tape des espaces ordinaires ; `french` met les insécables. La transformation ne touche que
le texte lu : ni code, ni sortie, ni formule, ni adresse, ni HTML brut. Elle est idempotente, donc
appliquée deux fois : à la lecture (la navigation et les titres en héritent), puis à la fin, pour le
texte que Sphinx a ajouté entre-temps (renvois, bibliographie).

`check_source` relève ce qu'aucune transformation ne peut deviner : ligatures et capitales
accentuées oubliées.
"""

import re
from html import unescape
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

NBSP, NNBSP = "\u00a0", "\u202f"  # insécable ; insécable fine
SPACE = f"[ {NBSP}{NNBSP}]"  # ce qui se tape ou a déjà été posé : d'où l'idempotence

URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+|\bwww\.\S+|\bmailto:\S+|\S+@\S+\.\w+")
LETTER = r"[^\W\d_]"
ELISION = r"(?:\b(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|presqu|quelqu|entr|aujourd))"
UNITS = (
    r"(?:[kMGTP]i?o|octets?|[kMG]?bits?|[munµμ]?s|min|h|secondes?|minutes?|heures?|jours?|"
    r"[kMGT]?Hz|px|pt|cm|mm|km|m|[kMG]?Wh?|°C?|€|\$|k€|M€|tokens?|milliers|millions?|"
    r"milliards?|[kMGTP]?FLOPs?(?:/s)?|dB|nats?)"
)

RULES = [
    (re.compile(r"\.\.\."), "…"),
    # l'attention, l'« attention », et l'*attention* (fin de nœud)
    (re.compile(rf"(?<={LETTER})'(?=\w|«)"), "’"),
    (re.compile(rf"({ELISION})'\Z", re.IGNORECASE), r"\1’"),
    # milliers tapés avec une espace ordinaire ; au moins un groupe de trois chiffres
    (
        re.compile(rf"(?<![\d.,/:-])(\d{{1,3}})((?:{SPACE}\d{{3}})+)(?![\d])(?!:\d)"),
        lambda m: m[1] + re.sub(SPACE, NNBSP, m[2]),
    ),
    (re.compile(rf"«{SPACE}*(?=\S)|«{SPACE}+\Z|«\Z"), f"«{NBSP}"),
    (re.compile(rf"(?<=\S){SPACE}*»|\A{SPACE}*»"), f"{NBSP}»"),
    (re.compile(rf"(?<!\n){SPACE}(?=[;!?](?!=))"), NNBSP),
    (re.compile(rf"{SPACE}(?=:(?![:=\w(\-]))"), NBSP),
    (re.compile(rf"{SPACE}(?=%(?!\w))"), NBSP),
    (re.compile(rf"(?<=\d){SPACE}(?={UNITS}(?![\w’']))"), NBSP),
]


def french(text: str, before: str = "") -> str:
    """Pose apostrophes, points de suspension et espaces insécables.

    before : le caractère qui précède ce texte dans la page, pour l'unité tapée après une formule.
    """
    if not text or text.isspace():
        return text
    guard = before if before.isdigit() else ""
    pieces, end = [], 0
    for match in [*URL.finditer(text), None]:
        start = match.start() if match else len(text)
        pieces.append(_rules(text[end:start], guard if end == 0 else ""))
        if match:
            pieces.append(match[0])
            end = match.end()
    return "".join(pieces)


def _rules(piece: str, guard: str) -> str:
    if not piece:
        return piece
    if guard and re.match(rf"{SPACE}{UNITS}(?![\w’'])", piece):
        piece = NBSP + piece[1:]
    for pattern, replacement in RULES:
        piece = pattern.sub(replacement, piece)
    return piece


# --- sur l'arbre du document -------------------------------------------------------------------

UNTOUCHED = (
    nodes.literal,
    nodes.literal_block,
    nodes.doctest_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
    nodes.substitution_definition,
    nodes.system_message,
    nodes.problematic,
    nodes.docinfo,
    nodes.label,
    nodes.footnote_reference,
    nodes.citation_reference,
    addnodes.literal_strong,
    addnodes.literal_emphasis,
    addnodes.download_reference,
    addnodes.desc_signature,
    addnodes.productionlist,
)
OUTPUTS = {"cell_code_output", "cell_code_source", "mime_bundle"}


def is_prose(text: nodes.Text) -> bool:
    """Vrai si ce texte est de la prose : ni code, ni formule, ni sortie de cellule, ni adresse."""
    node = text.parent
    while node is not None:
        if isinstance(node, nodes.caption):  # la légende d'une figure produite par une cellule
            return True
        if isinstance(node, UNTOUCHED):
            return False
        if isinstance(node, nodes.Element):
            if node.get("nb_element") in OUTPUTS or node.get("xml:space") == "preserve":
                return False
            if isinstance(node, nodes.reference) and node.astext() == node.get("refuri"):
                return False
        node = node.parent
    return True


def _before(text: nodes.Text) -> str:
    """Le dernier caractère qui précède, parmi les frères."""
    node = text
    while node.parent is not None and isinstance(node.parent, (nodes.Inline, nodes.TextElement)):
        index = node.parent.index(node)
        if index:
            previous = node.parent[index - 1].astext().rstrip("}")
            return previous[-1:] or ""
        if not isinstance(node.parent, nodes.Inline):
            return ""
        node = node.parent
    return ""


def apply(document: nodes.Node) -> None:
    """Transforme en place tous les textes, textes de remplacement et titres de sommaires."""
    for text in list(document.findall(nodes.Text)):
        if is_prose(text):
            new = french(str(text), _before(text))
            if new != str(text):
                text.parent.replace(text, nodes.Text(new))
    for image in document.findall(nodes.image):
        if image.get("alt"):
            image["alt"] = french(image["alt"])
    for toctree in document.findall(addnodes.toctree):
        for key in ("caption", "rawcaption"):
            if toctree.get(key):
                toctree[key] = french(toctree[key])
        toctree["entries"] = [
            (french(title) if title else title, ref) for title, ref in toctree.get("entries", [])
        ]
    for index in document.findall(addnodes.index):
        index["entries"] = [
            (kind, value if ";" in value else french(value), *rest)
            for kind, value, *rest in index.get("entries", [])
        ]


class FrenchTypography(SphinxTransform):
    """À la lecture, avant que Sphinx ne recueille titres et sommaires."""

    default_priority = 870  # avant DoctreeReadEvent (880)

    def apply(self, **kwargs):
        if _is_french(self.config):
            apply(self.document)


class FrenchTypographyAgain(SphinxPostTransform):
    """À l'écriture, sur ce qui est arrivé depuis : renvois, légendes, bibliographie."""

    default_priority = 990

    def run(self, **kwargs):
        if _is_french(self.config):
            apply(self.document)


class KeepPunctuation(SphinxPostTransform):
    """« $x$. » : le navigateur couperait la ligne entre la formule et le point."""

    default_priority = 995
    formats = ("html",)

    def run(self, **kwargs):
        for formula in list(self.document.findall(nodes.math)):
            after = formula.next_node(descend=False, siblings=True)
            mark = isinstance(after, nodes.Text) and re.match(r"[.,)\]…]+", after)
            if mark:
                rest = nodes.Text(after[mark.end() :])
                after.parent.replace(after, rest)
                kept = nodes.inline("", classes=["insecable"])
                formula.replace_self(kept)
                kept += [formula, nodes.Text(mark[0])]


def _is_french(config) -> bool:
    return (config.language or "").startswith("fr")


def _config(app, config):
    """Nous tenons la typographie : celle de Sphinx changerait les guillemets droits."""
    if _is_french(config):
        config.smartquotes = False
        for key in ("html_title", "html_short_title"):
            if getattr(config, key, None):
                setattr(config, key, french(getattr(config, key)))


def strip_tags(value) -> str:
    """Comme le filtre `striptags` de Jinja, qui changerait nos insécables en espaces ordinaires."""
    text = unescape(re.sub(r"<!--.*?-->|<[^>]*>", "", str(value), flags=re.DOTALL))
    return re.sub(r"[ \t\r\n]+", " ", text).strip(" ")


def _templates(app):
    environment = getattr(getattr(app.builder, "templates", None), "environment", None)
    if environment is not None and _is_french(app.config):
        environment.filters["striptags"] = strip_tags


def setup(app):
    app.add_transform(FrenchTypography)
    app.add_post_transform(FrenchTypographyAgain)
    app.add_post_transform(KeepPunctuation)
    app.connect("config-inited", _config)
    app.connect("builder-inited", _templates)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# --- ce que l'auteur doit corriger lui-même ----------------------------------------------------

LIGATURE = re.compile(
    r"(?<![\w/.#-])(?:(?:c|ch|ranc|s|n|v|m)oe(?:urs?|uds?|ux?)|oe(?:uvres?|il|ufs?|dèmes?|sophage)|"
    r"(?:man|dés)oeuvr\w+|boeufs?|foetus)(?![\w/-])",
    re.IGNORECASE,
)
START = (
    r"(?:^\s*(?:[-*+]\s+|\d+\.\s+|#+\s+|:\s+|>\s+|\|\s*|\[[ x]\]\s+)*|[.!?…]\s+|«\s*|\|\s*|\*\*?)"
)
ACCENT_A = re.compile(
    START + r"(A)(?=\s(?:la|l’|l'|le|les|un|une|partir|chaque|ce|cet|cette|ces|quoi|qui|quel\w*|"
    r"droite|gauche|titre|travers|vous|nous|moins|propos|savoir|noter|peine|côté|cause|force|"
    r"présent|nouveau|mesure|condition|l’aide|l’échelle|deux|trois|partir|retenir|lire)\b)",
    re.MULTILINE,
)
ACCENT_E = re.compile(
    START + r"(E(?:tats?|tapes?|tudes?|tudi\w+|tant|tre|tiquettes?|tabli\w*|ten(?:dre|due|dez)|"
    r"cri(?:re|vez|vons|t|ture\w*)|quations?|gal\w*|valu(?:er|ez|ons|ation|é\w*)|vid\w*|"
    r"vit(?:er|ez|ons)|chelles?|chantillon\w*|chec\w*|change\w*|l[eéè](?:ments?|v\w+)|nergies?|"
    r"quilibr\w*|quip\w*|quivalen\w*|quivaut|carts?|cart(?:er|ez)|dit(?:er|ez)|crans?|conom\w*|"
    r"non?c\w*|poques?|preuves?|ventuel\w*|v[eéè]nements?|volution\w*|limin(?:er|ez|ons)|"
    r"labor\w+|largi\w*|num[eé]r\w+|tonn\w+))\b",
    re.MULTILINE,
)
CEDILLA = re.compile(
    START + r"(Ca)(?=\s(?:ne|n’|va|peut|marche|fait|suffit|donne|dépend)\b)", re.MULTILINE
)
EXECUTABLE = {
    "code-cell",
    "code-block",
    "code",
    "literalinclude",
    "math",
    "raw",
    "mermaid",
    "bibliography",
    "eq-definition",
    "eq-citee",
    "toctree",
    "corrige",
}


def check_source(path: Path) -> list[tuple[int, str]]:
    """Les fautes d'une page MyST : [(ligne, phrase)], vide si tout va bien."""
    return check_text(Path(path).read_text(encoding="utf-8"))


def check_text(source: str) -> list[tuple[int, str]]:
    found = []
    for number, line in enumerate(prose_lines(source), start=1):
        for match in LIGATURE.finditer(line):
            found.append((number, f"« {match[0]} » s’écrit avec la ligature œ"))
        for pattern, remedy in ((ACCENT_A, "À"), (ACCENT_E, "É ou Ê"), (CEDILLA, "Ç")):
            for match in pattern.finditer(line):
                found.append((number, f"« {match[1]} » : la capitale s’écrit {remedy}"))
    return found


def prose_lines(source: str) -> list[str]:
    """Les lignes de la page, le code, les formules et les adresses remplacés par du vide."""
    lines, fences, front, maths = [], [], False, False
    for number, line in enumerate(source.splitlines(), start=1):
        stripped = line.strip()
        if number == 1 and stripped == "---":
            front = True
        elif front:
            front = stripped != "---"
        elif fence := re.match(r"\s*(`{3,}|~{3,}|:{3,})\s*(\{?)([\w-]*)(\}?)(.*)", line):
            mark, braced, name, _, rest = fence.groups()
            if fences and mark.startswith(fences[-1][0]) and not name and not rest.strip():
                fences.pop()
            elif not (fences and fences[-1][1]):
                code = mark[0] != ":" and (not braced or name in EXECUTABLE) or name in EXECUTABLE
                fences.append((mark, code))
                if not code and name not in {"figure", "image", "include", "explorable"}:
                    lines.append(_clean(rest))
                    continue
        elif fences and fences[-1][1]:
            pass
        elif stripped.startswith("$$") or maths:
            maths = maths ^ (stripped.count("$$") % 2 == 1)
        elif stripped.startswith(("%", "<!--")) or re.match(r"\([\w-]+\)=$", stripped):
            pass
        else:
            lines.append(_clean(line))
            continue
        lines.append("")
    return lines


def _clean(line: str) -> str:
    line = re.sub(r"^:[\w-]+:.*", "", line)  # options de directive
    line = re.sub(r"\{[\w:-]+\}`[^`]*`|`+[^`]*`+", "␣", line)  # rôles et code
    line = re.sub(r"\$[^$]*\$", "␣", line)
    line = re.sub(r"\]\([^)]*\)", "]", line)
    return URL.sub("␣", line)
