"""Juger une réponse : est-elle juste, à compléter, ou fausse, et alors pourquoi ?

La réponse passe chaque cas ; si elle se trompe, on cherche le piège qui donne exactement les
mêmes valeurs qu’elle, puis, à défaut, une erreur de calcul reconnaissable.
"""

import inspect
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass

from llmbook.exercise_blank import has_placeholder, is_blank, loop_around
from llmbook.exercise_compare import describe, mismatch
from llmbook.exercise_diagnose import EXCEPTIONS, diagnose
from llmbook.exercise_registry import Exercise
from llmbook.exercise_run import SHOWN_CHARS, Outcome, run

PASSED, FAILED, BLANK = "réussi", "à revoir", "à compléter"
MUTATED = "argument modifié"
SHOWN_LINES = 12


@dataclass(frozen=True)
class Verdict:
    """status vaut PASSED, FAILED ou BLANK ; details sont les lignes à montrer au lecteur."""

    status: str
    passed: int = 0
    total: int = 0
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """Un cas : ses arguments, ce qu’il fallait, ce qui est venu, et ce qui ne va pas."""

    args: tuple
    expected: Outcome
    got: Outcome
    trouble: str | None


def judge(exercise: Exercise, answer: object) -> Verdict:
    """Le verdict sur une réponse, sans rien afficher ni enregistrer."""
    if is_blank(answer):
        return Verdict(BLANK)
    misuse = _misuse(exercise, answer)
    if misuse:
        return Verdict(FAILED, details=(misuse,))
    cases = exercise.arguments()
    results = _results(exercise, answer if exercise.kind == "function" else lambda: answer, cases)
    failed = [result for result in results if result.trouble]
    if not failed:
        return Verdict(PASSED, len(results), len(cases), _printed(results[0].got))
    first = failed[0].got
    if has_placeholder(answer) and (first.failure or first.value is None or first.value is ...):
        return Verdict(BLANK)
    passed = len(results) - len(failed)
    rank = 1 + next(i for i, result in enumerate(results) if result is failed[0])
    cause = _explain(exercise, answer, results, failed)
    details = (
        *_first_failure(exercise, failed[0], rank, len(cases)),
        f"Ce qui est probablement faux :\n{textwrap.indent(cause, '  ')}",
        *_printed(first),
    )
    return Verdict(FAILED, passed, len(cases), details)


def _results(exercise: Exercise, function: Callable, cases: list[tuple]) -> list[Result]:
    """Passe les cas dans l’ordre, jusqu’au bout ou jusqu’à ce que le temps soit écoulé."""
    results, left_s = [], exercise.timeout_s
    for args in cases:
        expected = _run(exercise, exercise.solution, args)
        start = time.perf_counter()
        got = _run(exercise, function, args, left_s)
        left_s = max(left_s - (time.perf_counter() - start), 0.01)
        results.append(Result(args, expected, got, _trouble(exercise, args, expected, got)))
        if got.timed_out:
            break
    return results


def _run(exercise: Exercise, function: Callable, args: tuple, timeout_s=None) -> Outcome:
    return run(function, args, through=exercise.call, memory_mb=exercise.memory_mb,
               timeout_s=timeout_s or exercise.timeout_s)  # fmt: skip


def _trouble(exercise: Exercise, args: tuple, expected: Outcome, got: Outcome) -> str | None:
    """Ce qui ne va pas dans ce cas, ou None."""
    if expected.failure or got.failure:
        same = expected.failure and got.failure and expected.failure.kind == got.failure.kind
        return None if same else "exception"
    trouble = _disagreement(exercise, args, got.value, expected.value)
    if trouble:
        return trouble
    return MUTATED if set(got.mutated) - set(expected.mutated) else None


def _disagreement(exercise: Exercise, args: tuple, got: object, expected: object) -> str | None:
    try:
        if exercise.compare:
            return exercise.compare(got, expected, *args)
        return mismatch(got, expected, exercise.rtol, exercise.atol)
    except Exception as error:  # la réponse n’a pas le type que la comparaison attend
        return f"la réponse ne se compare pas à la valeur attendue ({type(error).__name__})"


# --- Pourquoi c’est faux


def _explain(
    exercise: Exercise, answer: object, results: list[Result], failed: list[Result]
) -> str:
    """La cause la plus probable : boucle sans fin, piège prévu, sinon erreur reconnaissable.

    Le piège doit expliquer tous les cas ou, à défaut, celui que l’on montre : deux erreurs à la
    fois n’en reproduisent aucune partout.
    """
    last = failed[-1].got
    if last.timed_out:
        where = loop_around(answer, last.failure.lineno)
        return (f"Une boucle sans fin, ou un calcul bien trop long : arrêt après "
                f"{exercise.timeout_s:g} s{f', dans la boucle « {where} »' if where else ''}"
                f"{f' ; {last.failure.message}' if last.failure.message else ''}.")  # fmt: skip
    trap = _matching_trap(exercise, results) or _matching_trap(exercise, failed[:1])
    if trap:
        return trap
    cause = _general_cause(exercise, failed)
    return cause[0].upper() + cause[1:]


def _general_cause(exercise: Exercise, failed: list[Result]) -> str:
    first = failed[0]
    if first.got.failure:
        return EXCEPTIONS.get(first.got.failure.kind, "votre fonction s’arrête sur une exception.")
    if first.expected.failure:
        return f"dans ce cas, une exception {first.expected.failure.kind} est attendue."
    wrong = [result for result in failed if result.trouble != MUTATED]
    if not wrong:
        rank = min(set(first.got.mutated) - set(first.expected.mutated))
        name = exercise.parameters(len(first.args))[rank]
        return (f"le résultat est bon, mais votre fonction modifie son argument {name} : "
                "travaillez sur une copie.")  # fmt: skip
    if exercise.compare and wrong[0].got.value is not None:
        return f"{wrong[0].trouble.rstrip('.')}."
    values = [(result.args, result.got.value, result.expected.value) for result in wrong
              if not result.got.failure and not result.expected.failure]  # fmt: skip
    return (values and (diagnose(values) or diagnose(values[:1]))) or (
        "aucune erreur courante reconnue. Refaites à la main le premier cas en échec."
    )


def _matching_trap(exercise: Exercise, results: list[Result]) -> str | None:
    """Le message du piège qui donne les mêmes valeurs que la réponse partout où l’un se trompe."""
    for trap in exercise.traps:
        wrong_somewhere = False
        for result in results:
            fallen = _run(exercise, trap.function, result.args)
            wrong = _trouble(exercise, result.args, result.expected, fallen)
            wrong_somewhere |= bool(wrong)
            if (wrong or result.trouble) and not _alike(exercise, result, fallen):
                break
        else:
            if wrong_somewhere:
                return trap.message
    return None


def _alike(exercise: Exercise, result: Result, fallen: Outcome) -> bool:
    got = result.got
    if got.failure or fallen.failure:
        return bool(got.failure and fallen.failure) and got.failure.kind == fallen.failure.kind
    if not set(fallen.mutated) <= set(got.mutated):
        return False
    try:
        if mismatch(got.value, fallen.value, exercise.rtol, exercise.atol) is None:
            return True
    except Exception:  # des objets qui ne se comparent pas directement
        pass
    return bool(exercise.compare) and not _disagreement(
        exercise, result.args, got.value, fallen.value
    )


# --- Ce que le lecteur voit


def _first_failure(exercise: Exercise, result: Result, rank: int, total: int) -> list[str]:
    names = exercise.parameters(len(result.args))
    rows = list(zip(names, map(describe, result.args), strict=True))
    rows.append(("attendu", _shown(result.expected).partition("\nligne")[0]))
    if not result.got.timed_out:
        rows.append(("reçu", _shown(result.got)))
    by_value = not (result.got.failure or result.expected.failure or exercise.compare)
    if by_value and result.trouble != MUTATED:
        rows.append(("écart", result.trouble))
    width = max(len(name) for name, _ in rows)
    title = [f"Premier cas en échec, le {rank} sur {total} :"] if total > 1 else []
    margin = "\n" + " " * (width + 5)
    return title + [f"  {name:<{width}} : {text.replace(chr(10), margin)}" for name, text in rows]


def _shown(outcome: Outcome) -> str:
    failure = outcome.failure
    if not failure:
        return describe(outcome.value)
    return f"exception {failure.kind}" + (f" : {failure.message}" if failure.message else "") + (
        f"\n{failure.line}" if failure.line else "")  # fmt: skip


def _printed(outcome: Outcome) -> tuple[str, ...]:
    """Ce que la fonction a affiché, utile à qui cherche une erreur avec print."""
    if not outcome.printed.strip():
        return ()
    lines = outcome.printed.rstrip("\n").splitlines()
    title = "Votre fonction affiche :"
    if outcome.printed_chars > SHOWN_CHARS:
        title = f"Votre fonction affiche plus de {SHOWN_CHARS} caractères, dont voici le début :"
    rest = ["…"] if len(lines) > SHOWN_LINES else []
    return title, textwrap.indent("\n".join(lines[:SHOWN_LINES] + rest), "  | ")


# --- Mauvais usages de check


def _misuse(exercise: Exercise, answer: object) -> str | None:
    if exercise.kind == "value":
        if callable(answer) and not callable(exercise.solution()):
            return "Ici, check attend une valeur, pas une fonction : donnez ce qu’elle renvoie."
        return None
    if not callable(answer):
        return (
            f"Ici, check attend la fonction elle-même, sans parenthèses : "
            f'check("{exercise.label}", nom_de_la_fonction) ; reçu : {describe(answer)}.'
        )
    if exercise.call:
        return None
    args = exercise.arguments()[0]
    try:
        inspect.signature(answer).bind(*args)
    except TypeError:
        names = ", ".join(exercise.parameters(len(args)))
        theirs = ", ".join(inspect.signature(answer).parameters)
        return (f"Votre fonction attend ({theirs}) ; l’exercice lui donne "
                f"{len(args)} argument{'s' * (len(args) > 1)} : ({names}).")  # fmt: skip
    except ValueError:  # une fonction écrite en C, sans signature
        pass
    return None
