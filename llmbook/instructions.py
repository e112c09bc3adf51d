"""Les jeux d’instructions du livre : dialogues écrits, dialogues composés, tâches vérifiables.

    load("composes", "train")[0]["messages"]   # [{"role": "user", "content": …}, …]
    split_of("shutil.copyfile")                # "train", "validation" ou "test"

Un enregistrement porte une `cle` (ce dont il parle) : deux questions sur la même clé vont du même
côté. Sa `reponse`, quand il en a une, est le premier passage entre accents graves du dernier
message de l’assistant. `retenu` : models/nano n’a jamais lu le fichier dont la clé vient.
Cartes des jeux : llmbook/data/instructions/README.md. Générateur : tools/instructions.
"""

import hashlib
import json
import lzma
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmbook.corpus import split

FOLDER = Path(__file__).parent / "data" / "instructions"
SETS = ("dialogues", "composes", "taches")
SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)
ROLES = ("system", "user", "assistant")
FIELDS = ("id", "famille", "cle", "origine", "messages", "reponse", "retenu")
SHARED_KEYS = 4  # une suite de mots que plus de clés emploient est un gabarit de formulation


def load(name: str, split: str | None = None, folder: Path = FOLDER) -> list[dict]:
    """Enregistrements d’un jeu : "dialogues", "composes" ou "taches", dans l’ordre des fichiers.

    split : "train", "validation" ou "test" ; None pour tout. ValueError si le nom ou la part sont
    inconnus, si un fichier manque, n’a plus l’empreinte de SHA256SUMS ou ne se lit pas.
    """
    if name not in SETS:
        raise ValueError(f"jeu inconnu : {name!r} ; choisir parmi {', '.join(SETS)}")
    if split is not None and split not in SPLITS:
        raise ValueError(f"part inconnue : {split!r} ; choisir parmi {', '.join(SPLITS)}, ou None")
    records = [record for path in _files(name, Path(folder)) for record in _records(path)]
    identifiers = Counter(record["id"] for record in records)
    repeated = [identifier for identifier, count in identifiers.items() if count > 1]
    if repeated:
        raise ValueError(f"jeu {name!r} : l’identifiant {repeated[0]!r} sert deux fois")
    return [record for record in records if split in (None, part_of(record))]


def split_of(cle: str) -> str:
    """Part d’une clé, par son empreinte : 80 % "train", 10 % "validation", 10 % "test"."""
    parts = split([cle], SHARES)
    return next(name for name, part in zip(SPLITS, parts, strict=True) if part)


def part_of(record: dict) -> str:
    """Part d’un enregistrement : celle qu’il impose (champ `part`), sinon celle de sa clé."""
    return record.get("part") or split_of(record["cle"])


def describe(name: str, folder: Path = FOLDER) -> dict[str, dict[str, int]]:
    """Nombre d’enregistrements par famille, puis par part ; "retenu" compte à travers les parts.

    La dernière ligne, "total", somme les familles.
    """
    table: dict[str, Counter] = defaultdict(Counter)
    for record in load(name, folder=folder):
        for family in (record["famille"], "total"):
            table[family][part_of(record)] += 1
            table[family]["retenu"] += bool(record["retenu"])
    columns = (*SPLITS, "retenu")
    families = sorted(table, key=lambda family: (family == "total", family))
    return {family: {column: table[family][column] for column in columns} for family in families}


# Contamination


@dataclass(frozen=True)
class Overlap:
    """Ce qu’un enregistrement de test a en commun avec un enregistrement d’apprentissage.

    reason : "cle", "question" ou "fenetre" ; text : la clé, la question normalisée, ou les mots.
    """

    test: str
    train: str
    reason: str
    text: str


def contamination(train: list[dict], test: list[dict], n: int = 8) -> list[Overlap]:
    """Ce que `test` partage avec `train` : au plus un constat par enregistrement de `test`.

    Dans l’ordre : même clé ; même question, à la casse, à la ponctuation et aux accents graves
    près ; n mots de suite en commun, dont la moitié au moins hors gabarit. Un mot est du gabarit
    s’il est dans une suite de n/2 mots que plus de SHARED_KEYS clés emploient. Ne voit ni
    paraphrase, ni traduction.
    """
    if n < 2:
        raise ValueError(f"n={n} : une fenêtre d’au moins deux mots est attendue")
    users: dict[tuple, set] = defaultdict(set)
    for record in (*train, *test):
        for window in _windows(words(record), n // 2):
            users[window].add(record["cle"])
    common = {window for window, keys in users.items() if len(keys) > SHARED_KEYS}

    keys, questions, windows = {}, {}, {}
    for record in train:
        keys.setdefault(record["cle"], record["id"])
        questions.setdefault(" ".join(words(record)), record["id"])
        for window in _telling(words(record), n, common):
            windows.setdefault(window, record["id"])

    found = []
    for record in test:
        question = " ".join(words(record))
        shared = (window for window in _telling(words(record), n, common) if window in windows)
        if record["cle"] in keys:
            found.append(Overlap(record["id"], keys[record["cle"]], "cle", record["cle"]))
        elif question in questions:
            found.append(Overlap(record["id"], questions[question], "question", question))
        elif window := next(shared, None):
            found.append(Overlap(record["id"], windows[window], "fenetre", " ".join(window)))
    return found


def words(record: dict) -> list[str]:
    """Mots de ce qu’on demande (messages de l’utilisateur), et de la solution s’il y en a une."""
    texts = [each["content"] for each in record["messages"] if each["role"] == "user"]
    if "solution" in record:
        texts.append(record["solution"])
    return re.findall(r"\w+|[^\w\s`’'.,:;?!«»\"()]", " ".join(texts).lower())


def _windows(sequence: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1))


def _telling(sequence: list[str], n: int, common: set[tuple]) -> Iterator[tuple[str, ...]]:
    """Fenêtres de n mots dont la moitié au moins n’est dans aucune suite de `common`."""
    half = n // 2
    free = [True] * len(sequence)
    for i, window in enumerate(_windows(sequence, half)):
        if window in common:
            free[i : i + half] = [False] * half
    for i, window in enumerate(_windows(sequence, n)):
        if 2 * sum(free[i : i + n]) >= n:
            yield window


# Lecture


def fingerprint(path: Path) -> str:
    """SHA-256 d’un fichier de données ; pour du texte, avec des fins de ligne « \\n »."""
    content = path.read_bytes()
    if path.suffix != ".xz":
        content = content.replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest()


def recorded_sums(folder: Path = FOLDER) -> dict[str, str]:
    """Empreintes de SHA256SUMS, par nom de fichier ; vide s’il n’existe pas."""
    path = Path(folder) / "SHA256SUMS"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def first_code(text: str) -> str | None:
    """Le premier passage entre accents graves : la réponse canonique d’un message."""
    match = re.search(r"(`+)(.+?)\1(?!`)", text, re.DOTALL)
    return match[2] if match else None


def _files(name: str, folder: Path) -> list[Path]:
    """Fichiers d’un jeu, leurs empreintes vérifiées."""
    if name == "dialogues":
        paths = sorted((folder / name).glob("*.jsonl"))
        if not paths:
            raise ValueError(f"aucun fichier .jsonl dans {folder / name} : restaurez le dossier")
    else:
        paths = [folder / f"{name}.jsonl.xz"]
    expected = recorded_sums(folder)
    for path in paths:
        file = path.relative_to(folder).as_posix()
        if not path.exists():
            raise ValueError(f"{path} est absent : restaurez-le, ou python -m tools.instructions")
        if file in expected and fingerprint(path) != expected[file]:
            raise ValueError(
                f"{file} a été modifié : son empreinte n’est plus celle de SHA256SUMS. "
                "Restaurez-le, ou si c’est voulu : python -m tools.instructions empreintes"
            )
        if file not in expected and path.suffix == ".xz":
            raise ValueError(
                f"{file} n’a pas d’empreinte dans {folder / 'SHA256SUMS'} : restaurez-la"
            )
    return paths


def _records(path: Path) -> Iterable[dict]:
    try:
        content = path.read_bytes()
        text = (lzma.decompress(content) if path.suffix == ".xz" else content).decode("utf-8")
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} ne se lit pas ({error}) : restaurez-le") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _checked(line, f"{path.name}, ligne {number}")


def _checked(line: str, where: str) -> dict:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} : JSON invalide ({error})") from None
    missing = [f for f in FIELDS if f not in record] if isinstance(record, dict) else FIELDS
    if missing:
        raise ValueError(f"{where} : champs absents : {', '.join(missing)}")
    roles = [each.get("role") for each in record["messages"]]
    if not roles or set(roles) - set(ROLES) or roles[-1] != "assistant":
        raise ValueError(
            f"{where} : des messages de rôle {', '.join(ROLES)}, le dernier de l’assistant, "
            f"sont attendus ; reçu {roles}"
        )
    if not all(
        isinstance(each.get("content"), str) and each["content"] for each in record["messages"]
    ):
        raise ValueError(f"{where} : un message est vide")
    return record
