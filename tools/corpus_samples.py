"""Figer les extraits de `llmbook.corpus.sample`. Lancé par `python -m tools corpus`.

Chaque extrait est rangé dans llmbook/data/NOM.txt.xz ; SHA256SUMS garde les empreintes. À entrée
égale, les octets produits sont les mêmes.
"""

import hashlib
import lzma
import re
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from llmbook.corpus import (
    HELD_OUT,
    SAMPLES,
    book_text,
    deduplicate,
    docstrings,
    stdlib_files,
)
from tools.corpus_held_out import held_pages, hold_out, joined

PYTHON_BYTES, ENGLISH_BYTES = 600_000, 250_000
LIBRARY_BYTES = 3_000_000  # assez pour tous les modules de la liste

# Modules connus et variés : réseau, texte, nombres, données, fichiers, concurrence, outils.
# "bibliotheque" les contient tous ; "python", ceux qui tiennent dans PYTHON_BYTES.
PYTHON_MODULES = """
    socket.py socketserver.py ssl.py selectors.py http/client.py http/server.py http/cookies.py
    urllib/parse.py smtplib.py ftplib.py json/decoder.py json/encoder.py csv.py configparser.py
    textwrap.py string.py difflib.py statistics.py fractions.py random.py colorsys.py heapq.py
    bisect.py collections/__init__.py functools.py contextlib.py dataclasses.py enum.py
    abc.py copy.py pprint.py pathlib.py shutil.py tempfile.py glob.py zipfile.py tarfile.py
    gzip.py threading.py queue.py concurrent/futures/thread.py asyncio/queues.py asyncio/locks.py
    asyncio/tasks.py argparse.py logging/__init__.py datetime.py calendar.py hashlib.py base64.py
    ast.py dis.py traceback.py unittest/case.py html/parser.py email/message.py sqlite3/dump.py
    """.split()


def freeze_samples(root: Path, names: Iterable[str] = SAMPLES + HELD_OUT) -> dict[str, int]:
    """Écrit les extraits `names` dans root/llmbook/data ; renvoie leurs tailles, en octets.

    "python", "anglais" et "retenu" dépendent de la version de Python, "retenu_francais" fixe ce que
    models/nano n’a pas appris : `names=["francais"]` n’y touche pas.
    """
    data = Path(root) / "llmbook" / "data"
    data.mkdir(parents=True, exist_ok=True)
    make = {
        "python": python_text,
        "bibliotheque": lambda: python_text(LIBRARY_BYTES),
        "anglais": english_text,
        "francais": lambda: book_text(Path(root) / "book"),
        "retenu": held_out_text,
        "retenu_francais": lambda: joined(held_pages(Path(root) / "book")),
    }
    sizes = {}
    for name in names:
        text = make[name]().encode()
        _replace(data / f"{name}.txt.xz", lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
        sizes[name] = len(text)
    sums = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(data.glob("*.txt.xz"))
    )
    _replace(data / "SHA256SUMS", "".join(sums).encode())
    return sizes


def python_text(max_bytes: int = PYTHON_BYTES) -> str:
    """Source des modules choisis, dans cet ordre, jusqu’à `max_bytes` : des modules entiers."""
    stdlib, texts, size = Path(sysconfig.get_paths()["stdlib"]), [], 0
    for module in PYTHON_MODULES:
        path = stdlib / module
        if not path.exists():  # devenu un paquet dans un Python plus récent
            path = path.with_suffix("") / "__init__.py"
        text = path.read_text(encoding="utf-8")
        if size + len(text.encode()) <= max_bytes:
            texts.append(text)
            size += len(text.encode())
    return "\n".join(texts)


def held_out_text() -> str:
    """Fichiers entiers de la bibliothèque standard que models/nano n’apprend pas."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    files = {path.relative_to(stdlib).as_posix(): path for path in stdlib_files()}
    held, _ = hold_out(files, spared=PYTHON_MODULES)
    texts = ((name, files[name].read_text(encoding="utf-8", errors="replace")) for name in held)
    return joined((name, text) for name, text in texts if text.strip())


def english_text() -> str:
    """Phrases des docstrings de la bibliothèque standard, sans code ni doublons."""
    shuffled = sorted(stdlib_files(), key=lambda path: hashlib.sha256(path.name.encode()).digest())
    paragraphs = (
        paragraph for _, text in docstrings(shuffled) for paragraph in english_paragraphs(text)
    )
    return _cut(deduplicate(paragraphs), ENGLISH_BYTES)


def english_paragraphs(docstring: str) -> list[str]:
    """Paragraphes qui se lisent comme des phrases : ni exemple, ni liste, ni tableau."""
    found = []
    for block in re.split(r"\n\s*\n", docstring):
        lines = block.splitlines()
        if any(
            re.match(r"\s*(>>>|\.\.\. |[-*+|=#$%@:.]|\d+[.)]|\w+\s*[:=(]|\s{2})", line)
            for line in lines
        ):
            continue
        text = " ".join(" ".join(lines).split())
        if len(text) >= 40 and text[-1] in ".!?" and _is_prose(text):
            found.append(text)
    return found


def _is_prose(text: str) -> bool:
    """Une majuscule, des mots surtout, et ni balise ni gabarit."""
    letters = sum(char.isalpha() or char in " '’,.-" for char in text)
    return (
        text[0].isupper() and letters > 0.93 * len(text) and not re.search(r"[<>{}\\%|_=`]", text)
    )


def _cut(paragraphs: list[str], max_bytes: int) -> str:
    """Les premiers paragraphes, un par ligne, sans dépasser `max_bytes`."""
    kept, size = [], 0
    for paragraph in paragraphs:
        size += len(paragraph.encode()) + 1
        if size > max_bytes:
            break
        kept.append(paragraph)
    return "\n".join(kept) + "\n"


def _replace(path: Path, content: bytes) -> None:
    """Écrit d’un coup : un lecteur voit l’ancien fichier ou le nouveau, jamais la moitié."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
