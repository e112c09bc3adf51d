"""Exécute le code des dialogues d’un fichier JSONL ; `test_dialogues.py` le lance à part.

Un bloc ```python s’exécute seul, dans un espace de noms neuf. Un bloc ```pycon est un doctest exact,
qui voit en plus les noms des blocs précédents du même dialogue. Le dossier courant est temporaire ;
écrire ailleurs ou joindre le réseau lève une erreur. Aucun autre module que ceux de Python :
`python3.13 tests/execution_dialogues.py FICHIER` vérifie aussi une autre version.
"""

import contextlib
import doctest
import io
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import types
import warnings
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
BLOCK_TIMEOUT_S = 2.0
LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1", "", None}


def forbid_outside(folder: Path) -> None:
    """Refuse dès maintenant les écritures hors de `folder` et les connexions vers l’extérieur."""

    def hook(event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], str) and args[0] != os.devnull:
            mode, flags = args[1], args[2] or 0
            writes = any(letter in (mode or "") for letter in "wax+") or flags & (
                os.O_WRONLY | os.O_RDWR
            )
            if writes and not Path(os.path.abspath(args[0])).is_relative_to(folder):
                raise PermissionError(f"écriture hors du dossier temporaire : {args[0]}")
        if event == "socket.getaddrinfo" and args[0] not in LOCAL_HOSTS:
            raise PermissionError(f"réseau interdit : {args[0]}")
        if event == "socket.connect" and isinstance(args[1], tuple):
            if args[1][0] not in LOCAL_HOSTS:
                raise PermissionError(f"réseau interdit : {args[1]}")

    sys.addaudithook(hook)


def expired(signum: int, frame: object) -> None:
    raise TimeoutError(f"plus de {BLOCK_TIMEOUT_S} s")


def run_block(language: str, code: str, names: dict) -> str | None:
    """Exécute un bloc ; renvoie le texte de l’erreur, ou None. Complète `names`."""
    output = io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, BLOCK_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(output):
            if language == "python":
                main = sys.modules["__main__"] = types.ModuleType("__main__")
                main.__file__ = os.path.abspath("script.py")
                with contextlib.redirect_stderr(io.StringIO()):
                    exec(compile(code, "<dialogue>", "exec"), vars(main))
                names.update(vars(main))
            else:
                runner = doctest.DocTestRunner(verbose=False)
                test = doctest.DocTestParser().get_doctest(code, names, "dialogue", None, 0)
                result = runner.run(test, out=output.write, clear_globs=False)
                names.update(test.globs)
                if result.failed or not result.attempted:
                    return output.getvalue() or "aucun exemple `>>> `"
    except SystemExit as end:  # unittest.main() finit ainsi
        return f"SystemExit: {end.code}" if end.code else None
    except BaseException:
        return traceback.format_exc(limit=-2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def failures(path: Path) -> list[str]:
    """Les erreurs des blocs de l’assistant, dialogue par dialogue."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        tempfile.tempdir, sys.argv = str(folder), ["script.py"]
        os.environ.update(
            TMPDIR=str(folder), HOME=str(folder), TZ="UTC", PYTHONDONTWRITEBYTECODE="1"
        )
        sys.dont_write_bytecode = True
        forbid_outside(folder)
        signal.signal(signal.SIGALRM, expired)
        for number, row in enumerate(rows):
            os.mkdir(folder / str(number))
            os.chdir(folder / str(number))
            names = {"__name__": "__main__"}
            for message in row["messages"]:
                if message["role"] != "assistant":
                    continue
                for language, code in BLOCK.findall(message["content"]):
                    if language not in ("python", "pycon"):
                        continue
                    with warnings.catch_warnings():
                        warnings.simplefilter("error", SyntaxWarning)
                        warnings.simplefilter("error", DeprecationWarning)
                        error = run_block(language, code, names)
                    if error:
                        found.append(f"{row['id']} ({row['cle']}), bloc {language} :\n{error}")
        os.chdir(folder.parent)
    return found


if __name__ == "__main__":
    print(json.dumps(failures(Path(sys.argv[1]).resolve())))
