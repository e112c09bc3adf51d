"""L’enceinte : ce qui s’y exécute, ce qui s’en échappe (rien), et ce qui ne passe pas pour réussi.

Toutes les attaques sont lancées dans l’enceinte, où elles sont l’utilisateur 65534, sans droits.
"""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from llmbook import sandbox, sandbox_pilot
from llmbook.sandbox import Outcome, check_many, check_program, run_many, run_python

ROOT = Path(__file__).resolve().parents[1]
WHY_NOT = sandbox.available()
enclosed = pytest.mark.skipif(WHY_NOT is not None, reason=f"pas d’enceinte : {WHY_NOT}")
FINE = Outcome(True, "ok\n", "", "")


def run(source: str, **limits) -> Outcome:
    return run_python(textwrap.dedent(source), **dict(timeout_s=10) | limits)


def seen(expression: str, imports: str = "os, sys") -> object:
    """La valeur d’une expression, calculée dans l’enceinte."""
    done = run(f"import {imports}\nprint(repr({expression}))")
    assert done.ok, done
    return eval(done.stdout)


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8")


# Ce qui s’exécute


@enclosed
def test_a_program_runs_with_the_same_python():
    assert run("print('ok')") == FINE
    assert seen("sys.version_info[:3]") == sys.version_info[:3]
    assert seen("[sys.path[-1].startswith(sys.prefix), sys.stdin.read()]") == [True, ""]
    assert seen("hash('a')") == seen("hash('a')")  # deux enceintes, le même hasard
    assert run("import dataclasses, json\n@dataclasses.dataclass\nclass A:\n  x: int\nA(1)").ok


FAILURES = {
    "x = = 1": "syntaxe",
    "\0": "syntaxe",
    "'\ud800'": "syntaxe",
    "(" * 5000: "syntaxe",
    "import numpy": "exception",  # ni venv, ni paquets
    "input()": "exception",
    "def f(): f()\nf()": "exception",
    "raise KeyboardInterrupt": "exception",
    "raise SystemExit(3)": "arrêt",
    "import os; os._exit(3)": "arrêt",
    "import os; os.abort()": "tué",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "tué",
    "b'a' * (1 << 30)": "mémoire",
    "x = []\nwhile True: x.append(b'a' * (1 << 20))": "mémoire",
    "print('a' * 20_000)": "sortie",
    "import sys\nwhile True: print('a')": "sortie",
    "import os\nwhile True: os.write(2, b'a' * 4096)": "sortie",
}


@enclosed
def test_why_a_program_failed():
    found = run_many(list(FAILURES), timeout_s=30)  # aucun n’attend son délai
    assert {source: x.reason for source, x in zip(FAILURES, found, strict=True)} == FAILURES
    assert not any(x.ok for x in found)
    assert max(len(x.stdout) for x in found) <= 10_000 >= max(len(x.stderr) for x in found)


@enclosed
@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        "import signal\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)\n"
        "  except OSError: pass\nwhile True: pass",
        "import os\nif os.fork() == 0: os.setsid()\nwhile True: pass",
    ],
)
def test_endless_programs_are_killed_with_their_children(source):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    start = time.monotonic()
    assert run(source, timeout_s=0.3).reason == "délai"
    assert time.monotonic() - start < 30
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


@enclosed
def test_the_traceback_shows_the_line():
    done = run("x = 0\n1 / x\n")
    assert "line 2" in done.stderr and "1 / x" in done.stderr
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "pilot" not in done.stderr


@enclosed
def test_many_programs_in_order():
    """Un échec, un délai, un pilote tué : les suivants s’exécutent, dans l’ordre."""
    killer = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    sources = [f"print({i})" for i in range(6)] + ["1/0", killer, "print(8)", "while True: pass"]
    progress = []
    for workers in (1, 3):
        options = dict(timeout_s=1, workers=workers)
        found = run_many(sources, on_progress=lambda *n: progress.append(n), **options)
        assert [x.stdout for x in found] == [f"{i}\n" for i in range(6)] + ["", "", "8\n", ""]
        assert [x.reason for x in found[6:]] == ["exception", "tué", "", "délai"]
    assert sorted(progress) == sorted(2 * [(i, 10) for i in range(1, 11)])
    assert run_many([]) == []


@enclosed
def test_the_output_is_cut_where_asked():
    for size, reason in ((10, ""), (9, "sortie")):
        done = run("print('a' * 9)", max_output=size)
        assert (done.stdout, done.reason) == (("a" * 9 + "\n")[:size], reason)


@enclosed
def test_nothing_stays_on_the_machine(monkeypatch):
    """Ni processus, ni montage, ni dossier."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", place)
        before = mounts()
        children = {child.pid for child in psutil.Process().children(recursive=True)}
        run("import os\nif os.fork() == 0: os.setsid()\nopen('/tmp/x', 'w')", timeout_s=0.5)
        assert mounts() == before and not os.listdir(place)
        assert {child.pid for child in psutil.Process().children(recursive=True)} <= children


@enclosed
def test_a_program_sees_nothing_of_the_previous_one():
    litter = """
        import os, time
        os.makedirs("/tmp/a/b"); open("/tmp/a/b/c", "w").write("x"); os.chmod("/tmp/a", 0)
        os.symlink("/usr", "/tmp/lien")
        if os.fork() == 0:
            os.setsid()
            while True:
                open("/tmp/vivant", "w").write("x")
        print("ok")
    """
    look = "import os, time; time.sleep(0.1); print(os.listdir('/tmp'), os.getcwd())"
    spoil = "import builtins, sys; builtins.print = None; sys.path.clear()"
    first, second, _, third = run_many([textwrap.dedent(litter), look, spoil, look])
    assert first == FINE and second.stdout == third.stdout == "[] /tmp\n"


# Ce qui ne s’échappe pas


@enclosed
def test_who_and_where_we_are():
    assert seen("[os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]")[:3] == [65534] * 3
    assert seen("sorted(os.environ)") == ["LC_CTYPE", "PWD", "PYTHONHASHSEED"]
    assert set(seen("os.listdir('/')")) <= {
        "dev", "etc", "lib", "lib32", "lib64", "libx32", "tmp", "usr",
        Path(sys.base_prefix).parts[1],
    }  # fmt: skip
    assert set(seen("os.listdir('/etc')")) <= {"ld.so.cache"}


@enclosed
def test_files_cannot_be_read():
    places = ["/etc/passwd", "/etc/hosts", "/proc/self/status", "/sys", str(ROOT), sys.prefix]
    places += [str(ROOT / "README.md"), str(Path.home() / ".ssh"), "/var", "/home", "/run"]
    assert seen(f"[p for p in {places!r} if os.path.exists(p)]") == []


@enclosed
def test_nothing_can_be_written_outside_the_private_tmp():
    attack = f"""
        import os, sys
        places = ["/x", "/usr/x", "/etc/x", "/dev/x", "/dev/shm/x", "/lib/x", "/proc", "/var/x"]
        places += [{str(ROOT / "x")!r}, os.path.join(sys.prefix, "x"), os.__file__]
        for place in places:
            try:
                open(place, "a").write("x")
            except OSError:
                continue
            print("écrit", place)
        for act in (lambda: os.remove(os.__file__), lambda: os.chmod("/", 0o777),
                    lambda: os.mkdir("/y"), lambda: os.mknod("/tmp/disque", 0o60600, 0x800)):
            try:
                act()
            except OSError:
                continue
            print("fait", act.__code__.co_firstlineno)
        open("/tmp/enceinte-x", "w").write("x")
        print("ok")
    """
    assert run(attack) == FINE
    assert not (ROOT / "x").exists() and not Path("/tmp/enceinte-x").exists()


@enclosed
def test_files_and_tmp_are_bounded():
    grow = """
        data, total = b"a" * (1 << 20), 0
        try:
            for i in range(8):
                with open(f"/tmp/{i}", "wb") as file:
                    for _ in range(6):
                        total += file.write(data)
        except OSError as error:
            print(error.errno, total <= 16 << 20)
    """
    assert run(grow).stdout == "28 True\n"  # plus de place
    one = """
        try:
            with open("/tmp/x", "wb") as file:
                file.write(b"a" * (9 << 20))
        except OSError as error:
            print(error.errno)
    """
    assert run(one).stdout == "27\n"  # fichier trop grand


@enclosed
def test_there_is_no_network():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        attack = f"""
            import socket
            for place in (("127.0.0.1", {server.getsockname()[1]}), ("192.0.2.1", 80)):
                try:
                    socket.create_connection(place, timeout=1)
                    print("connecté", place)
                except OSError:
                    pass
            try:
                socket.getaddrinfo("example.org", 80)
                print("résolu")
            except OSError:
                print("ok")
        """
        assert run(attack) == FINE
        with pytest.raises(TimeoutError):
            server.accept()


@enclosed
def test_processes_are_counted():
    attack = """
        import os, time
        born = 0
        try:
            for _ in range(100):
                if os.fork() == 0:
                    time.sleep(60)
                born += 1
        except BlockingIOError:
            print(born < 16)
    """
    assert run(attack).stdout == "True\n"


@enclosed
def test_a_fork_bomb_dies():
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    found = run_many([bomb, "print('ok')", bomb, "print('ok')"], timeout_s=1)
    assert [x.ok for x in found] == [False, True, False, True]
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


@enclosed
def test_no_right_can_be_gained():
    """Monter, changer de racine, ouvrir un espace de noms, prendre un identifiant : tout est refusé."""
    attack = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        calls = {
            "mount": (b"none", b"/tmp", b"tmpfs", 0, None),
            "umount2": (b"/tmp", 2),
            "unshare": (0x10000000,),          # CLONE_NEWUSER
            "chroot": (b"/tmp",),
            "setuid": (0,),
            "sethostname": (b"x", 1),
            "ptrace": (16, os.getppid(), 0, 0),  # PTRACE_ATTACH, sur le pilote
        }
        gained = [name for name, args in calls.items() if getattr(libc, name)(*args) == 0]
        print(gained or "ok")
    """
    before = mounts()
    assert run(attack) == FINE
    assert mounts() == before  # et rien de monté chez nous


@enclosed
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSTOP"])
def test_a_program_that_stops_the_pilot_fails_alone(name, monkeypatch):
    monkeypatch.setattr(sandbox, "GRACE_S", 0.5)
    attack = f"import os, time; os.kill(os.getppid(), {int(getattr(signal, name))}); time.sleep(5)"
    first, second = run_many([attack, "print('ok')"], timeout_s=1)
    assert not first.ok and first.reason in ("tué", "délai")
    assert second == FINE


@enclosed
def test_killing_everything_kills_only_the_enclosure():
    attack = "import os\nfor pid in (1, -1):\n  os.kill(pid, 9)"
    first, second = run_many([attack, "print('ok')"], timeout_s=1)
    assert not first.ok and second == FINE


# Ce qui ne passe pas pour réussi

TESTS = ["assert f(2) == 4", "assert f(0) == 0"]


@enclosed
def test_a_right_program_succeeds():
    assert check_program("def f(x):\n    return 2 * x", TESTS) == Outcome(True, "", "", "")
    assert check_program("print('é')\ndef f(x): return x", "f(1)") == Outcome(True, "é\n", "", "")
    raises = "try:\n    f(1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError"
    assert check_program("def f(x): raise ValueError", raises).ok
    assert check_program("if __name__ == '__main__': f = abs", "assert f(-2) == 2").ok
    long = f"x = {'a' * 200_000!r}\nassert f(len(x)) == 400_000"  # plus long qu’un tuyau
    assert check_program("def f(x): return 2 * x", long).ok


FEIGNED = [
    ("def f(x): return x", "faux"),
    ("def f(x)", "syntaxe"),
    ("def g(x): return 2 * x", "exception"),
    ("def f(x): return 1 / 0", "exception"),
    ("import os; os._exit(0)", "arrêt"),
    ("import sys; sys.exit(0)", "arrêt"),
    ("import sys\ndef f(x): sys.exit(0)", "arrêt"),
    ("import os\ndef f(x): os._exit(0)", "arrêt"),
    ("raise SystemExit", "arrêt"),
    ("import os\nif os.fork(): os._exit(0)\nf = lambda x: 1", None),
    ("AssertionError = ValueError\ndef f(x): return 1", "faux"),
    ("import builtins; builtins.AssertionError = int\ndef f(x): return 1", "faux"),
    ("__debug__\ndef f(x): return 1", "faux"),
    ("class A:\n  __eq__ = lambda *_: True\ndef f(x): return A()", "faux"),
    ("import os\nfor d in range(3, 64):\n  try: os.write(d, b'pret')\n  except OSError: pass", None),
    ("import os\nfor d in range(3, 64):\n  try: os.write(d, b'0' * 32)\n"
     "  except OSError: pass\nos._exit(0)", None),
    ("import os\nos.closerange(0, 64)\nf = lambda x: 2 * x", None),
    ("import builtins\nbuiltins.exec = builtins.compile = print\ndef f(x): return 1", "faux"),
    ("import sys\nsys.excepthook = lambda *_: None\ndef f(x): return 1", "faux"),
    ("import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 1", "faux"),
    ("import sys\nsys.settrace(lambda *_: sys.exit(0))\ndef f(x): return 1", None),
    ("import sys\ndel sys.modules['__main__']\ndef f(x): return 1", "faux"),
    ("print('réussi : 2 tests sur 2')\nimport os, signal; os.kill(os.getppid(), 9)", "tué"),
]  # fmt: skip


@enclosed
def test_what_is_not_a_success():
    """Une raison None est celle que le hasard des processus donne."""
    found = check_many([(code, TESTS) for code, _ in FEIGNED], timeout_s=30)
    told = [
        (code, x.reason if reason else None)
        for (code, reason), x in zip(FEIGNED, found, strict=True)
    ]
    assert told == FEIGNED
    assert not any(x.ok or not x.reason for x in found)
    endless = check_program("def f(x):\n  while True: pass", TESTS, timeout_s=0.3)
    assert (endless.ok, endless.reason) == (False, "délai")


@enclosed
def test_the_code_cannot_find_its_tests_in_memory():
    """Ni le jeton, ni les tests ne sont là quand le code s’exécute : frames, objets, fichiers."""
    code = """
        import gc, os, sys
        frame, found = sys._getframe(), []
        while frame:
            found.append(repr(frame.f_locals) + repr(frame.f_globals))
            frame = frame.f_back
        found += [repr(x) for x in gc.get_objects() if isinstance(x, (dict, list, tuple))]
        print("".join(reversed("39271")) in "".join(found), os.listdir("/tmp"))
        def f(x): return 0
    """
    done = check_program(textwrap.dedent(code), "assert f(1) == 17293", timeout_s=20)
    assert (done.reason, done.stdout) == ("faux", "False []\n")


@enclosed
def test_verdicts_stay_in_order():
    right, wrong = "def f(x): return 2 * x", "def f(x): return 1"
    found = check_many([(right, TESTS), (wrong, TESTS)] * 20, workers=2)
    assert [x.ok for x in found] == [True, False] * 20


# Sans enceinte, rien ne s’exécute


def test_without_bubblewrap_nothing_runs(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    monkeypatch.setattr(sandbox.subprocess, "Popen", lambda *_, **__: pytest.fail("exécuté"))
    monkeypatch.setattr(sandbox.sys, "platform", "linux")
    monkeypatch.setattr(sandbox.os, "geteuid", lambda: 1000, raising=False)
    with pytest.raises(sandbox.SandboxUnavailable, match="apt install bubblewrap"):
        run_python("print(1)")
    assert "bubblewrap" in sandbox.available()
    for platform in ("darwin", "win32"):
        monkeypatch.setattr(sandbox.sys, "platform", platform)
        with pytest.raises(sandbox.SandboxUnavailable, match="Linux"):
            check_program("x = 1", TESTS)


@pytest.mark.skipif(sys.platform == "win32", reason="pas de /bin/sh")
@pytest.mark.parametrize(
    "said, told",
    [
        ("bwrap: No permissions to create new namespace", "espaces de noms"),
        ("bwrap: Unknown option --disable-userns", "0.8"),
        ("", "aucun message"),
    ],
)
def test_a_bubblewrap_that_fails_is_explained(said, told, monkeypatch):
    command = ["/bin/sh", "-c", 'echo "$0" >&2; exit 1', said]
    monkeypatch.setattr(sandbox, "_command", lambda _: command)
    with pytest.raises(sandbox.SandboxUnavailable, match=told):
        run_python("print(1)")


def test_the_pilot_refuses_to_run_outside(monkeypatch):
    """Il tue tout ce qu’il voit : hors de l’enceinte, il ne fait rien."""
    monkeypatch.setattr(sandbox_pilot.os, "kill", lambda *_: pytest.fail("kill"))
    monkeypatch.setattr(sandbox_pilot.os, "waitpid", lambda *_: pytest.fail("waitpid"))
    for act in (sandbox_pilot.main, sandbox_pilot._check_place, lambda: sandbox_pilot._sweep(2)):
        with contextlib.suppress(ImportError), pytest.raises(SystemExit, match="enceinte"):
            act()


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: run_python("x", timeout_s=0), "timeout_s"),
        (lambda: run_python("x", memory_mb=1), "memory_mb"),
        (lambda: run_many("print(1)"), "liste"),
        (lambda: run_many([b"x"]), "bytes"),
        (lambda: check_program("x = 1", []), "aucun test"),
        (lambda: check_program("x = 1", " \n"), "aucun test"),
        (lambda: check_program("x = 1", "assert ("), "analysent"),
    ],
)
def test_impossible_requests(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_only_root_gives_its_rights_away(monkeypatch):
    """L’enceinte s’ouvre en utilisateur 65534 : la commande abandonne root avant bwrap."""
    if not sys.platform.startswith("linux") or WHY_NOT:
        pytest.skip("l’enceinte demande Linux et bubblewrap")
    for user, drops in ((0, True), (1000, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        with contextlib.ExitStack() as stack:
            command = sandbox._command(stack)
        before = command[: command.index("bwrap")]
        assert ("--reuid=65534" in before) == drops and "--disable-userns" in command
