"""Les textes retenus : ce que `models/nano` ne voit jamais, et sur quoi tout le monde se mesure.

Règle : un fichier de la bibliothèque standard est retenu si l’empreinte blake2b de son chemin
(`email/charset.py`), lue comme une fraction de 2⁶⁴, est sous HELD_SHARE (`corpus.split`). Les
modules des extraits figés en sont exclus : qui apprend sur "bibliotheque" peut se mesurer sur
"retenu". Les tables de caractères aussi : elles se prédisent sans rien comprendre. Même règle,
avec FRENCH_SHARE, pour les pages du livre ; mais l’extrait "francais" contient toutes les pages :
qui apprend sur lui ne se mesure pas sur "retenu_francais".
"""

from collections.abc import Iterable
from pathlib import Path

from llmbook.corpus import RECORD, prose, split

HELD_SHARE = 0.16  # du reste, une fois ôtés "bibliotheque" et les tables : 6 % du tout
FRENCH_SHARE = 0.025
TABLES = (
    "encodings/",
    "pydoc_data/",
    "__phello__/",
    "distutils/",
)  # tables, et code retiré de 3.12


def hold_out(names: Iterable[str], spared: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """Chemins retenus, chemins laissés à l’entraînement ; `spared` ne sont jamais retenus."""
    names = list(names)
    tables = {name for name in names if name.startswith(TABLES)}
    return _apart(names, HELD_SHARE, set(spared) | tables)


def hold_out_pages(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Pages du livre retenues, pages laissées ; chemins relatifs à `book/`."""
    return _apart(names, FRENCH_SHARE, set())


def joined(documents: Iterable[tuple[str, str]]) -> str:
    """(nom, texte) mis bout à bout, comme `llmbook.corpus.held_out` les sépare."""
    parts = []
    for name, text in documents:
        if RECORD in text or RECORD in name or "\n" in name:
            raise ValueError(f"{name!r} contient le séparateur des documents : écartez-le")
        parts.append(f"{RECORD}{name}\n{text}")
    return "".join(parts)


def held_pages(book: Path) -> list[tuple[str, str]]:
    """Prose des pages retenues, (chemin, texte)."""
    pages = {path.relative_to(book).as_posix(): path for path in sorted(book.rglob("*.md"))}
    held, _ = hold_out_pages(name for name in pages if not Path(name).name.startswith("_"))
    return [(name, prose(pages[name].read_text(encoding="utf-8"))) for name in held]


def _apart(names: Iterable[str], share: float, spared: set[str]) -> tuple[list[str], list[str]]:
    names = list(names)
    held, _ = split([name for name in names if name not in spared], (share, 1 - share))
    chosen = set(held)
    return held, [name for name in names if name not in chosen]
