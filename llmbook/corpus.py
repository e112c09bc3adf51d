"""Du texte réel sans rien télécharger : Python, ses bibliothèques, ce livre.

Le texte « vivant » (`stdlib_text`, `book_text`…) dépend de la machine ; les extraits figés de
`sample` sont les mêmes partout, et toute sortie enregistrée dans le livre vient d’eux.
"""

import ast
import hashlib
import lzma
import re
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

DATA = Path(__file__).parent / "data"
SAMPLES = ("python", "francais", "anglais", "bibliotheque")
HELD_OUT = ("retenu", "retenu_francais")  # jamais appris par models/nano
RECORD = "\x1e"  # précède chaque document d’un texte retenu
NOT_LIBRARY = {
    "test",
    "tests",
    "site-packages",
    "dist-packages",
    "idlelib",
    "lib2to3",
    "turtledemo",
    "__pycache__",
}


FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(?:[\s\S]*?\n)?[ \t]*\1[`~]*[ \t]*$", re.M)


# Extraits figés


def sample(name: str) -> str:
    """Extrait figé, livré avec le paquet : "python", "francais", "anglais" ou "bibliotheque".

    "bibliotheque" prolonge "python" : tous ses modules, 2 Mo au lieu de 0,6, pour les
    statistiques de mots, qui en demandent davantage.

    "retenu" et "retenu_francais" se lisent plutôt par `held_out`, document par document.

    ValueError si le nom est inconnu, ou si le fichier ne porte plus l’empreinte de SHA256SUMS.
    """
    known = SAMPLES + HELD_OUT
    if name not in known:
        raise ValueError(f"extrait inconnu : {name!r} ; choisir parmi {', '.join(known)}")
    file = f"{name}.txt.xz"
    expected = dict(
        reversed(line.split())
        for line in (DATA / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    )
    packed = (DATA / file).read_bytes()
    if hashlib.sha256(packed).hexdigest() != expected.get(file):
        raise ValueError(
            f"llmbook/data/{file} a été modifié : son empreinte n’est plus celle de "
            "SHA256SUMS. Restaurez le fichier, ou refigez : python -m tools corpus"
        )
    return lzma.decompress(packed).decode("utf-8")


def held_out(name: str = "retenu") -> list[tuple[str, str]]:
    """Textes retenus, (nom, texte) : ceux que `models/nano` ne voit pas en apprenant.

    "retenu" : fichiers entiers de la bibliothèque standard, absents aussi de "python" et de
    "bibliotheque" ; "retenu_francais" : prose de pages du livre, que "francais" contient aussi (qui
    apprend sur lui doit se mesurer ailleurs). Règle : tools/corpus_held_out.py.
    """
    if name not in HELD_OUT:
        raise ValueError(f"texte retenu inconnu : {name!r} ; choisir parmi {', '.join(HELD_OUT)}")
    documents = sample(name).split(RECORD)[1:]
    return [(title, text) for title, _, text in (each.partition("\n") for each in documents)]


# Texte vivant


def stdlib_files() -> list[Path]:
    """Fichiers Python de la bibliothèque standard de cette machine, sans ses tests, triés."""
    return _python_files(Path(sysconfig.get_paths()["stdlib"]))


def stdlib_text(max_bytes: int | None = None) -> str:
    """Source de la bibliothèque standard, coupée à `max_bytes` octets d’UTF-8."""
    return _join(stdlib_files(), max_bytes)


def package_files(name: str) -> list[Path]:
    """Fichiers Python d’un paquet installé, par exemple "numpy" ; le paquet n’est pas exécuté.

    ValueError s’il n’est pas installé, ou n’a pas de source Python.
    """
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None:
        raise ValueError(f"paquet introuvable : {name!r} ; est-il installé ?")
    if spec.submodule_search_locations:
        return [
            path for root in spec.submodule_search_locations for path in _python_files(Path(root))
        ]
    if not (spec.origin or "").endswith(".py"):
        raise ValueError(f"{name!r} n’a pas de source en Python")
    return [Path(spec.origin)]


def package_text(name: str, max_bytes: int | None = None) -> str:
    """Source d’un paquet installé, coupée à `max_bytes` octets d’UTF-8."""
    return _join(package_files(name), max_bytes)


def docstrings(files: Iterable[Path] | None = None) -> list[tuple[str, str]]:
    """Docstrings de fichiers Python, ceux de la bibliothèque standard par défaut.

    Renvoie des couples (nom, texte), par exemple ("textwrap.TextWrapper.fill", "…").
    """
    found = []
    for path in stdlib_files() if files is None else files:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        except SyntaxError:  # modèles de code et exemples volontairement faux
            continue
        found += _docstrings(tree, path.stem)
    return found


def book_text(root: Path | None = None) -> str:
    """Prose des pages du livre, sans code, ni formules, ni directives ; dans l’ordre des chemins.

    root : dossier `book/` ; par défaut celui du dépôt. ValueError s’il ne contient aucune page.
    """
    root = Path(root) if root else Path(__file__).parents[1] / "book"
    pages = sorted(path for path in root.rglob("*.md") if not path.name.startswith("_"))
    if not pages:
        raise ValueError(f"aucune page dans {root} : le livre se lit depuis son dépôt")
    return "\n\n".join(filter(None, (prose(page.read_text(encoding="utf-8")) for page in pages)))


def prose(markdown: str) -> str:
    """Ce qu’un lecteur lit d’une page MyST : paragraphes et titres, un par ligne, sans balises."""
    text = re.sub(r"\A---\n[\s\S]*?\n---\n", "", markdown)  # en-tête
    text = FENCED.sub("", text)  # code, directives
    text = re.sub(r"\$\$[\s\S]*?\$\$(?:[ \t]*\([\w-]+\))?", "", text)  # formules
    text = re.sub(r"\$([^$\n]+)\$", _inline_maths, text)
    text = re.sub(r"<!--[\s\S]*?-->|</?[a-zA-Z][^>\n]*>(?!`)", "", text)  # HTML
    text = re.sub(r"\{[\w:-]+\}`([^`<]+?)\s*<[^`>]*>`", r"\1", text)  # rôle `texte <cible>`
    text = re.sub(r"\{(?:[\w:]*ref|cite[\w:]*|eq|doc)\}`[^`]*`", "", text)  # renvois sans texte
    text = re.sub(r"\{[\w:-]+\}(?=`)", "", text)  # autres rôles
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)  # liens
    blocks = re.split(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*+:>]|\d+\.)[ \t])", text)
    paragraphs = map(_paragraph, blocks)
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)


# Préparer des jeux de données


def split(
    items: Sequence, fractions: Sequence[float] = (0.9, 0.1), key: Callable[[object], str] = str
) -> tuple[list, ...]:
    """Répartit par empreinte : une même clé va toujours du même côté, quoi qu’on ajoute ensuite.

    fractions : parts voulues, de somme 1 (respectées en moyenne). key : ce qui identifie un
    élément ; deux éléments de même clé ne sont jamais séparés. L’ordre est conservé.
    """
    if not fractions or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"des parts positives de somme 1 sont attendues : {tuple(fractions)}")
    parts: tuple[list, ...] = tuple([] for _ in fractions)
    for item in items:
        digest = hashlib.blake2b(key(item).encode(), digest_size=8).digest()
        place, part = int.from_bytes(digest) / 2**64, 0
        while part < len(fractions) - 1 and place >= fractions[part]:
            place -= fractions[part]
            part += 1
        parts[part].append(item)
    return parts


def deduplicate(texts: Iterable[str]) -> list[str]:
    """Garde le premier de chaque groupe de textes égaux, à la casse et aux espaces près."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(" ".join(text.lower().split()), text)
    return list(first.values())


# Détails


def _python_files(root: Path) -> list[Path]:
    return sorted(
        path for path in root.rglob("*.py") if not NOT_LIBRARY & set(path.relative_to(root).parts)
    )


def _join(files: Iterable[Path], max_bytes: int | None) -> str:
    if max_bytes is not None and max_bytes < 0:
        raise ValueError(f"max_bytes={max_bytes} : une taille positive est attendue")
    texts, size = [], 0
    for path in files:
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1].encode()) + 1
        if max_bytes is not None and size > max_bytes:
            break
    return "\n".join(texts).encode()[:max_bytes].decode(errors="ignore")


def _docstrings(node: ast.AST, name: str) -> list[tuple[str, str]]:
    text = ast.get_docstring(node)
    found = [(name, text)] if text else []
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found += _docstrings(child, f"{name}.{child.name}")
    return found


def _inline_maths(match: re.Match) -> str:
    """`$\\mathbf{x}$` devient x ; une formule plus longue qu’un symbole disparaît."""
    symbol = re.sub(r"\\[a-zA-Z]+|[{}\\ ]", "", match[1])
    return symbol if symbol.isalnum() else ""


def _paragraph(block: str) -> str:
    """Un bloc de Markdown sur une ligne, sans les marques de début de ligne ni d’emphase."""
    fence = r":{3,}|:[\w-]+:|\||\([\w-]+\)=$|[-*_]{3,}$"
    lines = [line.strip() for line in block.splitlines()]
    lines = [line for line in lines if not re.match(fence, line)]
    lines = [re.sub(r"^(?:#{1,6}|[-*+>:]|\d+\.)\s+(?:\[[ x]\]\s+)?", "", line) for line in lines]
    text = re.sub(r"\*\*|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)|`", "", " ".join(lines))
    return re.sub(r" +([,.])", r"\1", " ".join(text.split()))
