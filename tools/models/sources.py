"""D’où vient le corpus : la bibliothèque standard, les paquets installés, le livre, en français.

Un document est un fichier entier. Rien ne vient du réseau : deux lecteurs qui installent les mêmes
versions (constraints.txt) ont les mêmes documents, à la bibliothèque standard de leur Python près.
"""

import json
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from llmbook.corpus import NOT_LIBRARY, stdlib_files
from tools.corpus_held_out import hold_out, hold_out_pages
from tools.corpus_samples import PYTHON_MODULES
from tools.environment import requirements
from tools.models.filters import LARGEST, without_notice
from tools.models.licences import closure, declared_licence, installed, is_permissive

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("rag", "agents", "service", "serving", "foundry", "book", "notebooks", "dev", "torch")
SKIPPED_PARTS = NOT_LIBRARY | {
    "testing",
    "_tests",
    "conftest.py",
    "benchmarks",
    "locale",
    "_vendor",
}
FRENCH_CATALOGUES = ("jupyterlab_language_pack_fr_FR",)


@dataclass(frozen=True)
class Document:
    """Un texte, et d’où il vient : "stdlib", "francais", ou le nom d’une distribution."""

    owner: str
    name: str  # « email/charset.py », « numpy/linalg/_linalg.py », « book/ch01-…/svd.md »
    text: str


def stdlib_documents() -> tuple[list[Document], list[Document]]:
    """(à apprendre, retenus) : les fichiers de la bibliothèque standard."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = {}
    for path in stdlib_files():
        name = path.relative_to(root).as_posix()
        if path.stat().st_size <= LARGEST:
            texts[name] = read(path)
    held, kept = hold_out(texts, spared=PYTHON_MODULES)
    return (
        [Document("stdlib", name, texts[name]) for name in kept if texts[name]],
        [Document("stdlib", name, texts[name]) for name in held if texts[name]],
    )


def package_documents() -> tuple[list[Document], dict[str, str], dict[str, str]]:
    """(documents, licences des distributions prises, licences des écartées).

    Les distributions sont celles qu’entraînent les extras de pyproject.toml, sous licence
    permissive ; leurs fichiers, ceux qu’elles déclarent, sans leurs tests.
    """
    available = installed(Path(sysconfig.get_paths()["purelib"]))
    taken, refused, found = {}, {}, []
    for name in closure(requirements(EXTRAS), available):
        distribution = available[name]
        licence = declared_licence(distribution)
        described = f"{distribution.version} ({licence})"
        if not is_permissive(licence):
            refused[name] = described
            continue
        files = [path for path in distribution.files or () if wanted(path.parts)]
        for path in sorted(files, key=str):
            located = Path(path.locate())
            if located.is_file() and located.stat().st_size <= LARGEST:
                found.append(Document(name, path.as_posix(), without_notice(read(located))))
        taken[name] = described
    return found, taken, refused


def wanted(parts: tuple[str, ...]) -> bool:
    """Un fichier Python qui n’est ni un test, ni une traduction, ni une copie embarquée."""
    if not parts[-1].endswith(".py") or SKIPPED_PARTS & set(parts) or ".." in parts:
        return False
    return not any(part.startswith(("test_", "~")) for part in parts)


def french_documents(root: Path = ROOT) -> tuple[list[Document], list[Document]]:
    """(à apprendre, retenus) : les pages du livre, son code commenté, des catalogues traduits.

    Une page retenue l’est tout entière : ni son texte, ni son code n’est appris.
    """
    book = root / "book"
    pages = {path.relative_to(book).as_posix(): path for path in sorted(book.rglob("*.md"))}
    held, kept = hold_out_pages(name for name in pages if not Path(name).name.startswith("_"))
    learned = [Document("francais", f"book/{name}", read(pages[name])) for name in kept]
    for folder in ("llmbook", "tools"):
        for path in sorted((root / folder).rglob("*.py")):
            learned.append(Document("francais", path.relative_to(root).as_posix(), read(path)))
    site = Path(sysconfig.get_paths()["purelib"])
    for package in FRENCH_CATALOGUES:
        for path in sorted((site / package).rglob("*.json")):
            lines = catalogue(json.loads(path.read_text(encoding="utf-8")))
            name = path.relative_to(site).as_posix()
            learned.append(Document("francais", name, "\n".join(lines) + "\n"))
    learned = [document for document in learned if len(document.text) >= 200]
    return learned, [Document("francais", f"book/{name}", read(pages[name])) for name in held]


def catalogue(entries: dict) -> list[str]:
    """Les traductions d’un catalogue de jupyterlab, une par ligne, sans doublons."""
    found = (value[-1] for key, value in entries.items() if key and isinstance(value, list))
    return list(dict.fromkeys(text for text in found if isinstance(text, str) and text))


def read(path: Path) -> str:
    """Texte UTF-8 à fins de ligne « \\n » ; vide si le fichier n’en est pas un."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
    return text.replace("\r\n", "\n").replace("\x1e", "")
