"""Le pilote : il s’exécute DANS l’enceinte de `llmbook.sandbox`, et fourche un enfant par programme.

Chaque enfant a ses limites, ses tuyaux et son délai. Quand il rend la main, tout ce qu’il a laissé
(processus, fichiers de /tmp) est effacé, puis vient le programme suivant. L’hôte lui parle par ses
entrée et sortie, que les enfants n’ont pas. Ce module ne sert à rien hors de l’enceinte : il s’y
refuse, car il tue tous les processus qu’il voit.
"""

import ast
import contextlib
import json
import linecache
import os
import select
import shutil
import signal
import sys
import time
import traceback
import types

UID = 65534  # nobody
N_PROCESSES, N_FILES, FILE_BYTES = 16, 64, 8 << 20
READY = b"pret"
# Pris avant tout programme : en redéfinir les noms ne change rien ici.
_compile, _exec, _isinstance, _Wrong = compile, exec, isinstance, AssertionError
_read, _write, _leave = os.read, os.write, os._exit


# Les messages : leur longueur sur quatre octets, puis leur contenu


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def read_frame(fd: int) -> bytes:
    return _exactly(fd, int.from_bytes(_exactly(fd, 4), "big"))


def _exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += (piece := _read(fd, size - len(data)))
        if not piece:
            raise EOFError
    return data


# Dans l’enfant


def _child(job: dict, report: int, orders: int) -> None:
    """Exécute le programme, puis ses tests s’il en a. Ne revient jamais."""
    _limit(job)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
    sys.argv = ["programme"]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    last = _attempt(job["source"], "<programme>", module.__dict__, whole=job["check"])
    if last == b"" and job["check"]:
        # Le jeton et les tests n’entrent dans cette mémoire qu’ici, le programme terminé.
        _write(report, READY)
        token, tests = _exactly(orders, 32), read_frame(orders).decode("utf-8", "replace")
        last = _attempt(tests, "<tests>", module.__dict__, whole=True) or token
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    if last:
        _write(report, last)
    _leave(0 if last == b"" or len(last) == 32 else 1)


def _limit(job: dict) -> None:
    import resource

    seconds = int(job["timeout_s"]) + 2
    for name, value in {
        "RLIMIT_AS": job["memory_mb"] << 20,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_CORE": 0,
    }.items():
        resource.setrlimit(getattr(resource, name), (value, value))


def _attempt(source: str, name: str, namespace: dict, *, whole: bool = False) -> bytes:
    """Exécute une source ; b"" si elle va au bout, sinon le mot qui dit pourquoi.

    whole : sys.exit(0) n’est pas aller au bout.
    """
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    tests = name == "<tests>"
    try:
        code = _compile(_strict(source, namespace) if tests else source, name, "exec")
    except BaseException:
        _print_error()
        return b"exception" if tests else b"syntaxe"  # l’hôte a vérifié la syntaxe des tests
    try:
        _exec(code, namespace)
    except SystemExit as stop:
        return "arrêt".encode() if whole or stop.code not in (None, 0) else b""
    except MemoryError:
        _print_error()
        return "mémoire".encode()
    except BaseException as error:
        _print_error()
        return b"faux" if tests and _isinstance(error, _Wrong) else b"exception"
    return b""


def _strict(source: str, namespace: dict) -> ast.Module:
    """Les tests, où `assert a == b` refuse un objet qui se dit égal à tout."""
    tree = _compile(source, "<tests>", "exec", ast.PyCF_ONLY_AST)
    name = "_egal_" + os.urandom(8).hex()
    namespace[name] = _equal
    for node in ast.walk(tree):
        match node:
            case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
                call = ast.Call(ast.Name(name, ast.Load()), [left, right], [])
                node.test = ast.copy_location(call, node.test)
    return ast.fix_missing_locations(tree)


def _equal(left, right) -> bool:
    stranger = object()
    return bool(left == right) and not (left == stranger or right == stranger)


def _print_error() -> None:
    """La trace, sans nos propres lignes."""
    kind, error, trace = sys.exc_info()
    with contextlib.suppress(BaseException):
        trace = trace.tb_next
        traceback.print_exception(kind, error, trace, limit=-8)
        sys.stderr.flush()


# Dans le pilote


def run(job: dict, read_tests) -> dict:
    """Un programme, de sa naissance à ce qu’il a dit."""
    out, err, report, orders = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    pid = _fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_RDONLY)
            for number, fd in enumerate((null, out[1], err[1])):
                os.dup2(fd, number)
            _close_all_but(report[1], orders[0])
            _child(job, report[1], orders[0])
        finally:
            _leave(1)
    for fd in (out[1], err[1], report[1], orders[0]):
        os.close(fd)
    token = os.urandom(16).hex().encode()  # tiré après la fourche : l’enfant n’en a pas la copie
    answer = token + frame(read_tests())
    told = {out[0]: b"", err[0]: b"", report[0]: b""}
    ended = os.pidfd_open(pid)
    os.set_blocking(orders[1], False)
    reason = _follow(job, ended, told, report[0], orders[1], answer)
    status = _sweep(pid)
    for fd in (*told, orders[1], ended):
        os.close(fd)
    said = told[report[0]].removeprefix(READY)
    if not reason:
        reason = _reason(job, said, status, token)
    texts = [told[fd][: job["max_output"]].decode("utf-8", "replace") for fd in (out[0], err[0])]
    return dict(ok=reason == "", stdout=texts[0], stderr=texts[1], reason=reason)


def _fork() -> int:
    """Fourche ; attend un peu si les morts du programme précédent comptent encore."""
    for _ in range(500):
        try:
            return os.fork()
        except BlockingIOError:
            time.sleep(0.002)
    raise RuntimeError("plus de place pour un processus")


def _close_all_but(*kept: int) -> None:
    for fd in range(3, N_FILES):
        if fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)


def _follow(
    job: dict, ended: int, told: dict[int, bytes], report: int, orders: int, answer: bytes
) -> str:
    """Recueille ce que dit l’enfant jusqu’à sa fin ; « délai » ou « sortie » s’il exagère."""
    end = time.monotonic() + job["timeout_s"]
    limits = {fd: 64 if fd == report else job["max_output"] for fd in told}
    poll, alive, asked = select.poll(), True, False
    for fd in (*told, ended):
        poll.register(fd, select.POLLIN)
    while True:
        left = max(0, end - time.monotonic()) if alive else 0  # mort, il reste à vider ses tuyaux
        events = poll.poll(left * 1000)
        if alive and (not events or time.monotonic() > end):
            return "délai"
        if not events:
            return ""
        for fd, _ in events:
            if fd == ended:
                alive = False
            elif fd == orders:
                answer = answer[_send(orders, answer) :]
            else:
                piece = _read(fd, 65536)
                told[fd] += piece
            if fd == ended or (fd == orders and not answer) or (fd in told and not piece):
                poll.unregister(fd)
        if job["check"] and told[report] == READY and not asked:
            asked = True
            poll.register(orders, select.POLLOUT)
        if any(len(text) > limits[fd] for fd, text in told.items()):
            return "sortie"


def _send(fd: int, data: bytes) -> int:
    """Écrit ce qui passe ; si plus personne ne lit, tout est réputé envoyé."""
    try:
        return _write(fd, data)
    except BrokenPipeError:
        return len(data)


def _reason(job: dict, said: bytes, status: int, token: bytes) -> str:
    if said == token or (not job["check"] and status == 0):
        return ""
    if os.WIFSIGNALED(status):
        return "délai" if os.WTERMSIG(status) == signal.SIGXCPU else "tué"
    word = said.decode("utf-8", "replace")
    return word if word in ("syntaxe", "exception", "faux", "mémoire") else "arrêt"


def _sweep(pid: int) -> int:
    """Tue tout ce qui vit dans l’enceinte, sauf le pilote ; renvoie l’état de fin de l’enfant."""
    _check_place()
    ended, status = os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    return status if ended else os.waitpid(pid, 0)[1]


def _check_place() -> None:
    """Seul dans son espace de noms (bubblewrap est le 1, nous le 2), et sans droits."""
    if os.getpid() != 2 or getattr(os, "getuid", int)() != UID:
        raise SystemExit("sandbox_pilot ne s’exécute que dans l’enceinte de llmbook.sandbox")


def main() -> None:
    """Répond à l’hôte jusqu’à ce qu’il se taise. Toute anomalie y met fin : il en ouvre une autre."""
    import resource

    _check_place()
    resource.setrlimit(resource.RLIMIT_NPROC, (N_PROCESSES, N_PROCESSES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (N_FILES, N_FILES))
    _forbid_tracing()
    while True:
        os.write(1, frame(READY))
        try:
            job = json.loads(read_frame(0))
        except EOFError:
            return
        result = run(job, lambda: read_frame(0))
        os.write(1, frame(json.dumps(result).encode()))
        for entry in os.scandir("/tmp"):
            is_folder = entry.is_dir(follow_symlinks=False)
            shutil.rmtree(entry.path) if is_folder else os.unlink(entry.path)


def _forbid_tracing() -> None:
    """Un enfant, du même utilisateur, ne pourra ni lire ni écrire notre mémoire (PR_SET_DUMPABLE)."""
    try:
        import ctypes
    except ImportError:  # un Python sans ctypes : le noyau (Yama) l’interdit souvent de lui-même
        return
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


if __name__ == "__main__":
    main()
