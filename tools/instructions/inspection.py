"""Ce que la bibliothèque standard de cette machine dit d’elle-même : noms, signatures, docstrings.

Tout est lu par `inspect` sur les objets importés. Sont laissés de côté : les modules privés, ceux
qu’un système n’a pas toujours (curses, tkinter, Windows), ceux que Python a retirés depuis, et ceux
dont l’import fait quelque chose.
"""

import contextlib
import importlib
import inspect
import io
import json
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmbook.corpus import stdlib_files

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(sysconfig.get_paths()["stdlib"])
SKIPPED = set(
    """antigravity this encodings distutils pydoc_data msilib ensurepip curses tkinter turtle
    ntpath nturl2path genericpath opcode sre_compile sre_constants sre_parse dbm venv.__main__
    winreg ctypes.wintypes ctypes.macholib lib2to3 multiprocessing.popen_spawn_win32""".split()
)
RETIRED = set(  # ôtés de Python 3.12 ou 3.13
    """aifc asynchat asyncore audioop cgi cgitb chunk crypt imghdr imp mailcap nis nntplib
    ossaudiodev pipes sndhdr smtpd spwd sunau telnetlib uu xdrlib""".split()
)
IN_C = """array binascii cmath fcntl grp math mmap resource select unicodedata zlib""".split()
ALIASES = {"posixpath": "os.path"}  # le nom sous lequel on l’emploie
SOURCES = {"collections.abc": "_collections_abc"}  # ce que __module__ ne dit pas
INTERPRETER = "/usr/bin/python3"  # à la place de sys.executable, propre à chaque machine
LITERALS = (bool, int, float, str, bytes, type(None), tuple)


@dataclass(frozen=True)
class Entry:
    """Une fonction, une classe ou une méthode publique.

    name : nom qualifié (`shutil.copyfile`, `str.upper`) ; module : "shutil", "builtins" ;
    owner : nom qualifié de la classe d’une méthode, None ailleurs ; doc : docstring, ou "" ;
    parameters : sans `self`, None si la signature n’est pas connue ; held : models/nano n’a
    jamais lu son fichier.
    """

    name: str
    module: str
    owner: str | None
    kind: str  # "fonction", "classe" ou "méthode"
    value: object
    doc: str
    parameters: tuple[inspect.Parameter, ...] | None
    held: bool

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def local(self) -> str:
        """Nom dans son module : `copyfile`, `Maildir.get_folder`."""
        return self.name.removeprefix(self.module + ".")

    @property
    def signature(self) -> str:
        """`shutil.copyfile(src, dst, *, follow_symlinks=True)`, sans annotations ni `self`."""
        return self.name + str(inspect.Signature(self.parameters or ()))


def entries() -> list[Entry]:
    """Toutes les entrées, triées par nom ; un objet exporté deux fois garde son nom le plus court."""
    held = held_files()
    found: dict[str, Entry] = {}
    seen: list[object] = []  # garde les objets en vie : leurs identités restent uniques
    identities: set[int] = set()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name, module in modules():
            for attribute, value in _public(name, module):
                if id(value) in identities:
                    continue
                identities.add(id(value))
                seen.append(value)
                for entry in _entries(name, attribute, value, held):
                    found.setdefault(entry.name, entry)
    return [found[name] for name in sorted(found)]


def held_files() -> set[str]:
    """Fichiers de la bibliothèque standard que models/nano n’a pas lus."""
    path = ROOT / "models" / "nano" / "entrainement.json"
    return set(json.loads(path.read_text(encoding="utf-8"))["corpus"]["retenus"]["stdlib"])


def modules() -> list[tuple[str, object]]:
    """(nom, module importé), les noms courts d’abord."""
    names = set(IN_C) | {"builtins", "errno", "itertools", "sys", "time", "gc", "marshal"}
    for path in stdlib_files():
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if all(part.isidentifier() and not part.startswith("_") for part in parts):
            names.add(".".join(parts))
    names = {n for n in names if n and not {n, n.partition(".")[0]} & (SKIPPED | RETIRED)}
    loaded = []
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        with contextlib.suppress(ImportError):  # propre à un autre système
            loaded.append((ALIASES.get(name, name), importlib.import_module(name)))
    return loaded


def parameters_of(value: object) -> tuple[inspect.Parameter, ...] | None:
    """Paramètres, sans annotations ; None si inconnus, ou si un défaut ne s’écrit pas en Python.

    Un défaut qui est le chemin de cet interpréteur devient INTERPRETER.
    """
    try:
        signature = inspect.signature(value)
    except Exception:  # inspect échoue de bien des façons sur un objet écrit en C
        return None
    kept = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    if not all(p.default is p.empty or is_literal(p.default) for p in kept):
        return None
    return tuple(p.replace(default=INTERPRETER) if p.default == sys.executable else p for p in kept)


def is_literal(value: object) -> bool:
    """Vrai pour ce dont `repr` est du code Python : None, nombres, textes, n-uplets de ceux-ci."""
    if type(value) is tuple:
        return all(is_literal(each) for each in value)
    return type(value) in LITERALS and repr(value) not in ("inf", "-inf", "nan")


# Détails


def _public(name: str, module: object) -> Iterator[tuple[str, object]]:
    """(nom, objet) des fonctions et classes qu’un module offre comme siennes."""
    listed = getattr(module, "__all__", None)
    for attribute in sorted(listed or vars(module)):
        value = getattr(module, attribute, None)
        if attribute.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
            continue
        if name == "sys" and attribute.endswith("hook"):  # pytest, IPython… les remplacent
            continue
        home = getattr(value, "__module__", None) or name
        own = home == name or home.startswith(name + ".") or home.lstrip("_") == name
        if listed or own or name == "os":
            yield attribute, value


def _entries(module: str, attribute: str, value: object, held: set[str]) -> Iterator[Entry]:
    name = attribute if module == "builtins" else f"{module}.{attribute}"
    if inspect.isclass(value):
        parameters = parameters_of(value) if "__init__" in vars(value) else None
        yield Entry(
            name, module, None, "classe", value, doc_of(value), parameters, _file(value) in held
        )
        for member, raw in sorted(vars(value).items()):
            method = getattr(value, member, None)
            if member.startswith("_") or not inspect.isroutine(method):
                continue
            parameters = parameters_of(method)
            bound = isinstance(raw, (staticmethod, classmethod))
            if parameters and not bound:
                parameters = parameters[1:] if _positional(parameters[0]) else None
            elif not bound:
                parameters = None
            yield Entry(
                f"{name}.{member}",
                module,
                name,
                "méthode",
                method,
                doc_of(method),
                parameters,
                _file(method) in held,
            )
    else:
        parameters = parameters_of(value)
        yield Entry(
            name, module, None, "fonction", value, doc_of(value), parameters, _file(value) in held
        )


def _positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def doc_of(value: object) -> str:
    """La docstring propre à l’objet (jamais celle d’un parent), sans retrait."""
    own = getattr(value, "__doc__", None)
    return inspect.cleandoc(own) if isinstance(own, str) else ""


def _file(value: object) -> str | None:
    """Chemin, relatif à la bibliothèque standard, du fichier où l’objet est défini."""
    code = getattr(inspect.unwrap(value), "__code__", None) if callable(value) else None
    file = code.co_filename if code and not inspect.isclass(value) else ""
    if not file.endswith(".py"):  # une classe, ou un module gelé
        home = getattr(value, "__module__", None) or ""
        module = sys.modules.get(SOURCES.get(home, home))
        file = getattr(module, "__file__", None) or ""
    with contextlib.suppress(ValueError):
        return Path(file).relative_to(LIBRARY).as_posix()
    return None
