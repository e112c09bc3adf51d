"""Écrire un jeu d’instructions, et tenir ses empreintes."""

import json
import lzma
from collections.abc import Iterable
from pathlib import Path

from llmbook.instructions import FOLDER, fingerprint, recorded_sums


def write_records(records: Iterable[dict], name: str, folder: Path = FOLDER) -> Path:
    """Écrit NOM.jsonl.xz, un enregistrement par ligne, puis SHA256SUMS ; renvoie le chemin.

    À enregistrements égaux, octets égaux (la version de liblzma peut les changer).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl.xz"
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    _replace(path, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    update_sums(folder, only=[path.name])
    return path


def update_sums(folder: Path = FOLDER, only: Iterable[str] | None = None) -> list[str]:
    """Récrit dans SHA256SUMS les lignes `only`, ou celles de tous les fichiers présents, triées.

    Renvoie les noms écrits. Un fichier disparu perd sa ligne.
    """
    folder = Path(folder)
    paths = sorted([*folder.glob("*.jsonl.xz"), *folder.glob("dialogues/*.jsonl")])
    present = {path.relative_to(folder).as_posix(): path for path in paths}
    names = list(present) if only is None else sorted(only)
    sums = recorded_sums(folder) | {name: fingerprint(present[name]) for name in names}
    lines = (f"{digest}  {name}\n" for name, digest in sorted(sums.items()) if name in present)
    _replace(folder / "SHA256SUMS", "".join(lines).encode())
    return names


def _replace(path: Path, content: bytes) -> None:
    """Écrit d’un coup : un lecteur voit l’ancien fichier ou le nouveau, jamais la moitié."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
