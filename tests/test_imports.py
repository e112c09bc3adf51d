"""La maison tient debout : les imports de llmbook descendent, sans cycle ni travail à l’import."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "llmbook"

# Étage de chaque module (design : architecture). Un paquet donne le sien à tout ce qu’il contient.
FLOORS = [
    {"runtime", "figures", "verify", "chat", "exercise", "exercise_*", "sandbox*"},
    {
        "maths",
        "autograd",
        "corpus",
        "cooccurrence",
        "ngrams",
        "kneser_ney",
        "tokenizer*",
        "attention*",
        "triton_kernels",
        "ssm",
        "quantization*",
        "word_vectors",
        "text_search",
        "search_queries",
        "instructions",
        "chat_template",
    },
    {"layers", "model", "hf_*", "seq2seq", "onnx_*", "sentence_vectors", "lora*"},
    {
        "batches*",
        "optim*",
        "schedules",
        "losses",
        "training*",
        "finetuning*",
        "checkpoint",
        "generation*",
        "preference",
        "evaluation*",
    },
    {"rag", "agents", "service", "serving", "foundry", "federated", "assistant"},
    {"exercises"},
]
HEAVY = {"torch", "scipy", "sklearn", "pandas", "transformers", "jax"}
# Les modules qui calculent avec torch l’importent en tête ; les autres se lisent sans lui.
NEED_TORCH = {
    "triton_kernels",
    "attention*",
    "quantization*",
    "layers",
    "model",
    "hf_*",
    "seq2seq",
    "word_vectors",
    "sentence_vectors",
    "batches*",
    "optim*",
    "losses",
    "training*",
    "checkpoint",
    "generation*",
    "lora*",
    "finetuning*",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(path: Path, name: str) -> set[str]:
    """Modules de llmbook importés par un fichier, même à l’intérieur d’une fonction."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} : import relatif, écrivez `from llmbook.… import`"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return (found & set(MODULES)) - {"llmbook", name}


def inside(name: str, rooms: set[str]) -> bool:
    room = name.split(".")[1]
    return room in rooms or any(room.startswith(r[:-1]) for r in rooms if r.endswith("*"))


def floor(name: str) -> int:
    for level, rooms in enumerate(FLOORS):
        if inside(name, rooms):
            return level
    raise AssertionError(f"{name} n’a pas d’étage : donnez-lui le sien dans {Path(__file__).name}")


GRAPH = {name: imported_modules(path, name) for name, path in MODULES.items() if name != "llmbook"}


def test_import_graph_is_acyclic():
    list(graphlib.TopologicalSorter(GRAPH).static_order())  # CycleError sinon


@pytest.mark.parametrize("name", GRAPH)
def test_imports_go_down(name):
    above = {other for other in GRAPH[name] if floor(other) > floor(name)}
    assert not above, f"{name} importe un étage supérieur : {above}"


def test_application_packages_do_not_import_each_other():
    for name, others in GRAPH.items():
        for other in others:
            if floor(name) == floor(other) == 4 and not name.startswith("llmbook.assistant"):
                assert name.split(".")[1] == other.split(".")[1], f"{name} importe {other}"


def test_package_root_holds_only_the_version():
    import llmbook

    assert {name for name in vars(llmbook) if name.startswith("__version")} == {"__version__"}
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert [type(node) for node in tree.body] == [ast.Expr, ast.Assign]


IMPORT_ALL = """
import importlib, json, pathlib, sys
opened = []
def spy(event, args):
    if event == "open" and isinstance(args[0], str) and PACKAGE in args[0]:
        if not args[0].endswith((".py", ".pyc")) and ".pyc." not in args[0]:
            opened.append(args[0])
    if event.startswith(("socket.connect", "subprocess", "os.system")):
        opened.append(event)
import numpy
for name in READY:
    importlib.import_module(name)
state = str(numpy.random.get_state())
sys.addaudithook(spy)
for name in MODULES:
    importlib.import_module(name)
loaded = {name.split(".")[0] for name in sys.modules}
untouched = state == str(numpy.random.get_state())
print(json.dumps([opened, sorted(loaded & set(HEAVY)), untouched]))
"""


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def imports_of(modules: list[str], ready: list[str], heavy: set[str]) -> list:
    """[fichiers lus et appels au système, bibliothèques lourdes chargées, hasard intact]."""
    names = {"PACKAGE": str(PACKAGE), "MODULES": modules, "READY": ready, "HEAVY": list(heavy)}
    done = run("".join(f"{key} = {value!r}\n" for key, value in names.items()) + IMPORT_ALL)
    lines = done.stdout.splitlines()
    assert len(lines) == 1 and done.stderr == ""
    return json.loads(lines[0])


def test_importing_does_nothing():
    """Ni bibliothèque lourde, ni fichier lu, ni réseau, ni graine touchée, ni sortie."""
    light = [m for m in MODULES if m not in ("llmbook", "llmbook.figures")]
    light = [m for m in light if not inside(m, NEED_TORCH)]
    assert imports_of(light, [], HEAVY | {"matplotlib"}) == [[], [], True]


def test_importing_what_needs_torch_does_nothing_more():
    """Avec torch déjà là : ni transformers, ni fichier lu, ni réseau, ni graine touchée."""
    needing = [m for m in MODULES if m != "llmbook" and inside(m, NEED_TORCH)]
    ready = ["torch", "torch._dynamo"]  # torch lit ses propres fichiers
    assert imports_of(needing, ready, HEAVY - {"torch"} | {"matplotlib"}) == [[], [], True]


def test_importing_figures_draws_nothing():
    done = run(
        "import matplotlib as mpl; before = dict(mpl.rcParams); import sys, llmbook.figures;"
        f"assert dict(mpl.rcParams) == before; assert not {HEAVY!r} & set(sys.modules)"
    )
    assert done.stdout == done.stderr == ""
