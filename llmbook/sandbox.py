"""Exécuter du code qu’un modèle a écrit : dans une enceinte, sans réseau, sans fichiers, sans droits.

    run_python("print(1 + 1)")                       -> Outcome(ok=True, stdout="2\\n", …)
    check_program("def f(x): return 2 * x", ["assert f(2) == 4"]).ok

L’enceinte est celle de bubblewrap (`bwrap`), sous Linux : des espaces de noms neufs, où n’existent que
/usr, l’interpréteur et sa bibliothèque standard, en lecture seule, et un petit /tmp en mémoire. Si
nous sommes root, l’enceinte est ouverte par l’utilisateur 65534. Chaque programme a de plus ses
limites : temps, mémoire, processus, taille des fichiers et de la sortie. Sans bubblewrap :
`SandboxUnavailable`, jamais d’exécution sans enceinte.

Limites. Le noyau est partagé : une faille du noyau suffit à sortir. La mémoire est bornée par
processus (16 au plus), non en tout : un programme hostile peut en prendre plusieurs Go pendant son
délai. Le verdict de `check_program` résiste à os._exit(0), à sys.exit, à un objet égal à tout, à une
exception avalée, à un pilote tué. Mais programme et tests partagent un processus : un programme écrit
contre ce pilote peut lire le jeton dans son tuyau, ou redéfinir une fonction dont les tests se servent.
Pour un concours, séparez les processus et comparez des sorties.
"""

import contextlib
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from llmbook.sandbox_pilot import READY, UID, frame

START_S = 20.0  # pour ouvrir l’enceinte
GRACE_S = 5.0  # au-delà du délai d’un programme, avant de croire le pilote perdu
TMP_BYTES = 16 << 20


class SandboxUnavailable(RuntimeError):
    """L’enceinte ne peut pas s’ouvrir ici ; le message dit pourquoi, et le remède."""


class Outcome(NamedTuple):
    """Ce qu’un programme a donné.

    reason : "" s’il a réussi ; "syntaxe", "exception", "faux" (un test), "délai", "mémoire", "sortie"
    (trop longue), "arrêt" (il s’est terminé de lui-même avant la fin), "tué" (par un signal, ou
    avec le pilote). stdout et stderr sont coupés à max_output octets.
    """

    ok: bool
    stdout: str
    stderr: str
    reason: str


def run_python(
    source: str, *, timeout_s: float = 5, memory_mb: int = 256, max_output: int = 10_000
) -> Outcome:
    """Exécute un programme dans une enceinte neuve ; ok si son code de retour est 0.

    Il dispose de la bibliothèque standard seule, du hasard de hachage 0, d’une entrée vide.
    Les fonctions d’`atexit` ne sont pas appelées. ValueError si une limite est impossible.
    """
    return run_many([source], timeout_s=timeout_s, memory_mb=memory_mb, max_output=max_output)[0]


def run_many(sources: Sequence[str], **limits) -> list[Outcome]:
    """`run_python` de chaque programme, dans l’ordre : une enceinte pour tous, un enfant pour chacun.

    limits : timeout_s, memory_mb, max_output comme `run_python`, workers (enceintes en parallèle, 1)
    et on_progress(faits, total). Un programme ne voit ni les fichiers ni les processus du
    précédent ; s’il tue le pilote, il a échoué, et les suivants s’exécutent dans une autre enceinte.
    """
    _check_list(sources, "sources")
    return _run([(source, None) for source in sources], **limits)


def check_program(code: str, tests: str | Sequence[str], **limits) -> Outcome:
    """Exécute le code, puis ses tests ; ok si le dernier test est passé (voir les limites du module).

    tests : une source, ou une liste d’instructions, "assert f(2) == 4". Ils ne sont donnés au
    processus qu’une fois le code exécuté, avec un jeton tiré au hasard, qu’il rend après le dernier.
    """
    return check_many([(code, tests)], **limits)[0]


def check_many(programs: Sequence[tuple[str, str | Sequence[str]]], **limits) -> list[Outcome]:
    """`check_program` de chaque couple (code, tests), dans l’ordre ; limits : celles de `run_many`."""
    _check_list(programs, "programs")
    jobs = []
    for code, tests in programs:
        tests = tests if isinstance(tests, str) else "\n".join(tests)
        if not tests.strip():
            raise ValueError("un programme n’a aucun test : tout code y réussirait")
        try:
            compile(tests, "<tests>", "exec")
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"des tests ne s’analysent pas ({error}) : {tests[:200]}") from error
        jobs.append((code, tests))
    return _run(jobs, **limits)


def available() -> str | None:
    """None si l’enceinte s’ouvre ; sinon pourquoi, et le remède. L’essai prend 0,1 s."""
    try:
        with Enclosure():
            return None
    except SandboxUnavailable as error:
        return str(error)


# Une file de programmes


def _run(
    jobs: list[tuple[str, str | None]],
    *,
    timeout_s: float = 5,
    memory_mb: int = 256,
    max_output: int = 10_000,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    if not 0 < timeout_s <= 600 or memory_mb < 64 or max_output < 0 or workers < 1:
        raise ValueError(
            f"timeout_s={timeout_s}, memory_mb={memory_mb}, max_output={max_output}, "
            f"workers={workers} : 0 < timeout_s ≤ 600, memory_mb ≥ 64, max_output ≥ 0, workers ≥ 1"
        )
    for source, _ in jobs:
        if not isinstance(source, str):
            raise ValueError(f"un programme est de type {type(source).__name__} : str est attendu")
    limits = dict(timeout_s=timeout_s, memory_mb=memory_mb, max_output=max_output)
    results: list[Outcome | None] = [None] * len(jobs)
    done = iter(range(1, len(jobs) + 1))

    def work(first: int) -> None:
        with contextlib.ExitStack() as stack:
            enclosure = None
            for i in range(first, len(jobs), workers):
                if enclosure is None or not enclosure.wait_ready(START_S):
                    stack.close()
                    enclosure = stack.enter_context(Enclosure())
                results[i] = enclosure.run(*jobs[i], limits)
                count = next(done)
                if on_progress is not None:
                    on_progress(count, len(jobs))

    workers = max(1, min(workers, len(jobs)))
    if workers == 1:
        work(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
    return results


def _check_list(values, name: str) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{name} : une liste est attendue, pas {type(values).__name__}")


# L’enceinte et son pilote


class Enclosure:
    """Une enceinte ouverte, son pilote prêt. À fermer : c’est un gestionnaire de contexte."""

    def __enter__(self) -> "Enclosure":
        with contextlib.ExitStack() as stack:
            self.process = stack.enter_context(_popen(_command(stack)))
            stack.callback(_kill, self.process)
            self.ready, self.got = False, b""
            for stream in (self.process.stdin, self.process.stdout):
                os.set_blocking(stream.fileno(), False)
            if not self.wait_ready(START_S):
                raise SandboxUnavailable(_refusal(_last_words(self.process)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def wait_ready(self, timeout_s: float) -> bool:
        """Le pilote attend-il un programme ? Faux s’il est mort ou figé."""
        if not self.ready:
            self.ready = self._exchange(b"", time.monotonic() + timeout_s) == READY
        return self.ready

    def run(self, source: str, tests: str | None, limits: dict) -> Outcome:
        self.ready = False
        job = json.dumps(dict(limits, source=source, check=tests is not None)).encode()
        sent = frame(job) + frame((tests or "").encode("utf-8", "replace"))
        end = time.monotonic() + limits["timeout_s"] + GRACE_S
        answer = self._exchange(sent, end)
        if answer is not None:
            return Outcome(**json.loads(answer))
        frozen = self.process.poll() is None and time.monotonic() >= end
        _kill(self.process)
        return Outcome(False, "", "", "délai" if frozen else "tué")

    def _exchange(self, sent: bytes, end: float) -> bytes | None:
        """Envoie, et lit un message ; None si le pilote meurt ou se tait jusqu’à `end`."""
        stdin, stdout = self.process.stdin.fileno(), self.process.stdout.fileno()
        while len(self.got) < (size := 4 + int.from_bytes(self.got[:4], "big")) or size == 4:
            left = end - time.monotonic()
            readable, writable, _ = select.select(
                [stdout], [stdin] if sent else [], [], max(0, left)
            )
            if not readable and not writable:
                return None
            try:
                if writable:
                    sent = sent[os.write(stdin, sent[:65536]) :]
                if readable:
                    piece = os.read(stdout, 65536)
                    if not piece:
                        return None
                    self.got += piece
            except BrokenPipeError:
                return None
        message, self.got = self.got[4:size], self.got[size:]
        return message


def _popen(command: list[str]) -> subprocess.Popen:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxUnavailable(_refusal(str(error))) from error


def _kill(process: subprocess.Popen) -> None:
    """Tue bwrap et son groupe ; le noyau tue alors tout l’espace de noms (--die-with-parent)."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(process: subprocess.Popen) -> str:
    _kill(process)
    os.set_blocking(process.stderr.fileno(), False)
    with contextlib.suppress(OSError):
        return (process.stderr.read() or b"").decode("utf-8", "replace").strip()[-300:]
    return ""


def _command(stack: contextlib.ExitStack) -> list[str]:
    """La commande qui ouvre l’enceinte, précédée de ce qui abandonne les droits de root."""
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(
            "l’enceinte demande Linux et bubblewrap : sous macOS ou Windows, travaillez dans une "
            "machine virtuelle, ou sous WSL 2 (sudo apt install bubblewrap)"
        )
    is_root = os.geteuid() == 0
    for tool in ("bwrap", "setpriv", "unshare", "mount")[: None if is_root else 1]:
        if shutil.which(tool) is None:
            package = "bubblewrap" if tool == "bwrap" else "util-linux"
            raise SandboxUnavailable(
                f"{tool} manque, et rien ne s’exécute sans enceinte : "
                f"sudo apt install {package} (Debian, Ubuntu), sudo dnf install {package} (Fedora)"
            )
    prefix = sys.base_prefix
    if not is_root:
        return _bwrap(prefix)
    drop = f"setpriv --reuid={UID} --regid={UID} --clear-groups --".split()
    if _reachable(prefix):
        return [*drop, *_bwrap(prefix)]
    # Un interpréteur dans /root, que l’utilisateur 65534 ne peut pas atteindre : nous le montons
    # ailleurs, dans un espace de montage privé, que la machine ne voit pas.
    place = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="enceinte-", dir=place if _reachable(place) else "/tmp")
    stack.callback(os.rmdir, folder)  # jamais rmtree : ce dossier sert de point de montage
    os.chmod(folder, 0o755)
    mount = 'mount --bind "$0" "$1" && shift && exec "$@"'
    private = ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", mount]
    return [*private, os.path.realpath(prefix), folder, *drop, *_bwrap(folder)]


def _reachable(path: str) -> bool:
    """Tout utilisateur peut-il traverser ce chemin ?"""
    path = Path(path).resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _bwrap(prefix: str) -> list[str]:
    """prefix : où trouver l’interpréteur ; dans l’enceinte, il est à sa place habituelle."""
    options = "--unshare-all --unshare-user --disable-userns --cap-drop ALL --clearenv".split()
    options += f"--uid {UID} --gid {UID} --die-with-parent --new-session".split()
    options += "--hostname enceinte --setenv PYTHONHASHSEED 0 --ro-bind /usr /usr".split()
    for folder in ("/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(folder):
            options += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            options += ["--ro-bind", folder, folder]
    options += "--ro-bind-try /etc/ld.so.cache /etc/ld.so.cache".split()
    home = sys.base_prefix
    if not Path(home).resolve().is_relative_to("/usr"):
        options += ["--ro-bind", prefix, home]
    options += f"--dev /dev --size {TMP_BYTES} --tmpfs /tmp".split()
    options += "--remount-ro /dev --remount-ro / --chdir /tmp".split()
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    inside = os.path.join(home, os.path.relpath(executable, os.path.realpath(home)))
    # -s -P et un environnement vide valent -I, qui ignorerait aussi PYTHONHASHSEED.
    python = [inside, "-S", "-s", "-P", "-B", "-X", "utf8", "-c", _pilot_source()]
    return ["bwrap", *options, "--", *python]


@functools.cache
def _pilot_source() -> str:
    return Path(__file__).with_name("sandbox_pilot.py").read_text(encoding="utf-8")


def _refusal(said: str) -> str:
    last = said.splitlines()[-1] if said else "aucun message"
    if "nknown option" in said:
        return f"bubblewrap est trop ancien ({last}) : il faut la version 0.8, sudo apt upgrade"
    return (
        f"bubblewrap n’a pas pu ouvrir d’enceinte ({last}). Si ce système interdit les espaces de "
        "noms : sous Ubuntu 24.04, sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 ; "
        "dans un conteneur, lancez-le avec --security-opt seccomp=unconfined ; Colab ne le permet pas"
    )
