"""Le point de reprise : un dossier qui est là en entier, ou qui n’est pas là.

step-000100/ contient des fichiers safetensors (jamais de pickle, qui exécute ce qu’il lit) et
etat.json, qui porte l’empreinte de chacun et la sienne. Tout est écrit à côté, poussé sur le disque
(fsync), puis le dossier est renommé d’un coup : un arrêt brutal laisse au pire un brouillon caché,
que l’écriture suivante efface. Un seul processus écrit dans un dossier donné.
"""

import hashlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

STATE = "etat.json"
FORMAT = 1


class CheckpointError(ValueError):
    """Un point de reprise tronqué, altéré, ou qui n’en est pas un."""


@dataclass(frozen=True)
class Checkpoint:
    """tensors : {"model": {nom: tenseur}, …}, sur le CPU ; state : le reste, en JSON."""

    path: Path
    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict


def save(
    folder: str | Path,
    step: int,
    tensors: dict[str, dict[str, Tensor]],
    state: dict,
    *,
    keep: int = 2,
) -> Path:
    """Écrit folder/step-…, un fichier .safetensors par groupe de tenseurs ; renvoie son chemin.

    Garde les `keep` derniers points (0 : tous). OSError si le disque est plein : rien de ce qui
    était enregistré n’a changé. Chaque fichier est composé en mémoire avant d’être écrit.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    final = folder / f"step-{step:06d}"
    draft = folder / f".{final.name}.brouillon"
    try:
        draft.mkdir()
        files = {}
        for group, values in tensors.items():
            packed = {name: value.detach().cpu().contiguous() for name, value in values.items()}
            files[f"{group}.safetensors"] = _write(
                draft / f"{group}.safetensors", safetensors.torch.save(packed)
            )
        described = {"format": FORMAT, "step": step, "files": files, "state": state}
        described["digest"] = _digest(_canonical(described))
        _write(draft / STATE, json.dumps(described, ensure_ascii=False, indent=1).encode())
        _sync(draft)
        if final.exists():  # un point refusé, ou le même : il s’efface devant le nouveau
            final.rename(folder / f".{final.name}.ancien")
        draft.rename(final)
        _sync(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        kept = [path.name for path in steps(folder)]
        raise OSError(
            error.errno,
            f"point de reprise du pas {step} non écrit ({error.strerror or error}). "
            f"Points intacts : {', '.join(kept) or 'aucun'}. Libérez de la place dans {folder}, "
            "puis relancez : l’entraînement reprendra au dernier",
        ) from error
    _prune(folder, step, keep)
    return final


def load(path: str | Path) -> Checkpoint:
    """Lit un point et vérifie chaque empreinte ; CheckpointError, qui dit quoi, si l’une diffère."""
    path = Path(path)
    try:
        described = json.loads((path / STATE).read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} n’a pas de {STATE} : ce n’est pas un point entier") from None
    except ValueError as error:
        raise CheckpointError(f"{path / STATE} est illisible ({error})") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise CheckpointError(f"{path / STATE} : le format {FORMAT} est attendu")
    if described.pop("digest", None) != _digest(_canonical(described)):
        raise CheckpointError(f"{path / STATE} a été modifié : son empreinte ne correspond plus")
    tensors = {}
    for name, expected in described["files"].items():
        try:
            content = (path / name).read_bytes()
        except FileNotFoundError:
            raise CheckpointError(f"{path / name} manque") from None
        if len(content) != expected["bytes"]:
            raise CheckpointError(
                f"{path / name} est tronqué : {len(content)} octets sur {expected['bytes']}"
            )
        if _digest(content) != expected["blake2b"]:
            raise CheckpointError(f"{path / name} a été altéré : son empreinte ne correspond plus")
        tensors[name.removesuffix(".safetensors")] = safetensors.torch.load(content)
    return Checkpoint(path, described["step"], tensors, described["state"])


def latest(folder: str | Path) -> Checkpoint | None:
    """Le dernier point entier d’un dossier, None s’il n’y en a aucun.

    Un point abîmé est sauté, avec un avertissement. CheckpointError s’ils le sont tous :
    recommencer de zéro sans le dire effacerait le travail.
    """
    refused = []
    for path in reversed(steps(folder)):
        try:
            found = load(path)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            warnings.warn(f"{reason} ; reprise au point précédent, {path.name}", stacklevel=2)
        return found
    if refused:
        raise CheckpointError(
            f"aucun point entier dans {folder} : {' ; '.join(refused)}. "
            "Restaurez-en un, ou commencez un autre dossier"
        )
    return None


def steps(folder: str | Path) -> list[Path]:
    """Les points d’un dossier, du plus ancien au plus récent, sans les vérifier."""
    found = [path for path in Path(folder).glob("step-*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def _prune(folder: Path, step: int, keep: int) -> None:
    """Efface les points trop anciens ; ceux d’un pas à venir, refusés, seront récrits à leur tour."""
    older = [path for path in steps(folder) if int(path.name[5:]) < step]
    for path in older[: len(older) - keep + 1] if keep else []:
        hidden = folder / f".{path.name}.ancien"
        path.rename(hidden)  # d’abord caché : à moitié effacé, il passerait pour abîmé
        shutil.rmtree(hidden, ignore_errors=True)


def _write(path: Path, content: bytes) -> dict:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": len(content), "blake2b": _digest(content)}


def _sync(folder: Path) -> None:
    """Pousse sur le disque les noms d’un dossier ; sans objet sous Windows."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _canonical(described: dict) -> bytes:
    return json.dumps(described, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=32).hexdigest()
