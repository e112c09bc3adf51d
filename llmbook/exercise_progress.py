"""Se souvenir de ce que le lecteur a tenté et réussi, dans un petit fichier JSON.

Le fichier est celui de la variable LLMBOOK_PROGRESS, sinon `.progression.json` à la racine du
dépôt, sinon un fichier du dossier de données de l’utilisateur. `LLMBOOK_PROGRESS=off` garde
tout en mémoire, pour les exécutions automatiques. Rien ici n’est jamais fatal : un fichier
illisible est mis de côté, un disque plein se signale en une phrase.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

FILE_NAME = ".progression.json"
_MEMORY: dict[str, dict] = {}  # quand rien ne doit être écrit


def path() -> Path | None:
    """Le fichier de progression, ou None s’il ne faut rien écrire."""
    choice = os.environ.get("LLMBOOK_PROGRESS", "")
    if choice.lower() in ("off", "0", "non"):
        return None
    if choice:
        return Path(choice).expanduser()
    root = repository()
    return root / FILE_NAME if root else _data_folder() / FILE_NAME.lstrip(".")


def repository() -> Path | None:
    """La racine du dépôt du livre, cherchée depuis le dossier courant puis depuis ce module."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "llmbook" / "exercises").is_dir() and (folder / "book").is_dir():
                return folder
    return None


def _data_folder() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME", "~/.local/share")
    return Path(base).expanduser() / "llmbook"


def read() -> dict[str, dict]:
    """Les exercices tentés : {étiquette : {"passed", "attempts", "hints", "date"}}."""
    file = path()
    if file is None:
        return {label: dict(entry) for label, entry in _MEMORY.items()}
    try:
        return {**_entries(file), **_MEMORY}
    except OSError:
        return dict(_MEMORY)


def record(label: str, *, passed: bool) -> str | None:
    """Note un essai. Renvoie une phrase si la progression n’a pas pu être écrite."""

    def add(entry: dict) -> None:
        entry["attempts"] = entry.get("attempts", 0) + 1
        if passed and not entry.get("passed"):
            entry.update(passed=True, date=date.today().isoformat())

    return _update(label, add)


def next_hint(label: str, count: int) -> int:
    """Le rang, à partir de 1, du prochain indice à donner ; il reste au dernier."""
    _update(label, lambda entry: entry.update(hints=min(entry.get("hints", 0) + 1, count)))
    return read().get(label, {}).get("hints", 1)


def reset(labels: list[str]) -> None:
    """Oublie ces exercices."""
    for label in labels:
        _update(label, dict.clear)


def _update(label: str, change) -> str | None:
    file = path()
    if file is None:
        change(_MEMORY.setdefault(label, {}))
        return None
    try:
        with _locked(file):
            entries = _entries(file, set_aside=True)
            change(entries.setdefault(label, {}))
            _write(file, {key: entry for key, entry in entries.items() if entry})
    except OSError as error:
        change(_MEMORY.setdefault(label, {}))
        return f"Progression non enregistrée dans {file} : {error.strerror or error}."
    return None


def _entries(file: Path, *, set_aside: bool = False) -> dict[str, dict]:
    try:
        content = json.loads(file.read_text("utf-8"))
        entries = content["exercises"]
        if not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError("entrée inattendue")
        return entries
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        if set_aside:
            os.replace(file, file.with_name(file.name + ".illisible"))
        return {}


def _write(file: Path, entries: dict[str, dict]) -> None:
    """Écrit à côté puis remplace : une coupure ne laisse jamais un fichier à moitié écrit."""
    content = {"version": 1, "exercises": dict(sorted(entries.items()))}
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Un seul carnet écrit à la fois."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_name(file.name + ".verrou"), "a+b") as lock:
        if sys.platform == "win32":
            import msvcrt

            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)  # attend jusqu’à dix secondes
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        if sys.platform == "win32":
            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_UNLCK, 1)
