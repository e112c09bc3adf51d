"""Lire la réponse d’un lecteur avant de l’exécuter : est-elle encore à écrire ?"""

import ast
import dis
import inspect
import textwrap
from types import CodeType


def is_blank(answer: object) -> bool:
    """La réponse est-elle encore à écrire ? Corps réduit à `...`, pass, return ou raise."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, type):  # une classe est à écrire quand toutes ses méthodes le sont
        return all(map(is_blank, _methods(answer)))
    definition = definition_of(answer)
    if definition is not None:
        return all(map(_is_empty, definition.body))
    code = getattr(answer, "__code__", None)
    return code is not None and _is_empty_code(code)


def has_placeholder(answer: object) -> bool:
    """Reste-t-il un trou (`...`) quelque part dans une réponse commencée ?"""
    if isinstance(answer, type):
        return any(map(has_placeholder, _methods(answer)))
    definition = definition_of(answer)
    return definition is not None and has_hole(definition)


def _methods(answer: type) -> list:
    return [value for value in vars(answer).values() if inspect.isfunction(value)]


def has_hole(tree: ast.AST) -> bool:
    """Ce code contient-il une instruction `...`, `x = ...` ou `raise NotImplementedError` ?"""
    return any(_is_hole(node) for node in ast.walk(tree) if isinstance(node, ast.stmt))


def definition_of(answer: object) -> ast.FunctionDef | None:
    try:
        text = textwrap.dedent(inspect.getsource(inspect.unwrap(answer)))
        definition = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, ValueError):
        return None
    return definition if isinstance(definition, ast.FunctionDef) else None


def _is_empty(node: ast.stmt) -> bool:
    if isinstance(node, ast.Pass) or _is_hole(node):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # la docstring
    return isinstance(node, ast.Return) and (node.value is None or _is_constant(node.value, None))


def _is_hole(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        return node.exc is not None and "NotImplementedError" in ast.unparse(node.exc)
    return _is_constant(getattr(node, "value", None), ...)


def _is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_empty_code(code: CodeType) -> bool:
    """Comme `is_blank`, sur le bytecode, quand le texte de la fonction n’est pas accessible."""
    steps = [step for step in dis.get_instructions(code)
             if step.opname not in ("RESUME", "NOP", "PRECALL", "CACHE")]  # fmt: skip
    if any(step.opname == "RAISE_VARARGS" for step in steps):
        return code.co_names == ("NotImplementedError",) and len(steps) <= 5
    return all("CONST" in step.opname and step.argval in (None, ...) or (
        step.opname == "RETURN_VALUE") for step in steps)  # fmt: skip


def loop_around(answer: object, line: int) -> str:
    """La boucle la plus large autour d’une ligne de la réponse : « ligne 3, while True: »."""
    definition, code = definition_of(answer), getattr(answer, "__code__", None)
    if definition is None or code is None:
        return ""
    shift = code.co_firstlineno - 1
    loops = [node for node in ast.walk(definition) if isinstance(node, (ast.While, ast.For))
             and node.lineno + shift <= line <= node.end_lineno + shift]  # fmt: skip
    if not loops:
        return ""
    text = textwrap.dedent(inspect.getsource(inspect.unwrap(answer))).splitlines()
    return f"ligne {loops[0].lineno + shift}, {text[loops[0].lineno - 1].strip()}"
