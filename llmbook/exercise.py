"""Les exercices du livre, côté lecteur : vérifier, demander un indice, voir la solution.

    from llmbook.exercise import check, hint, solution, progress

    check("ex-vecteurs-cosinus", cosine_similarity)   # juste ? sinon, pourquoi ?
    hint("ex-vecteurs-cosinus")                       # un indice de plus à chaque appel
    solution("ex-vecteurs-cosinus")                   # la solution du livre
    progress()                                        # ce qui est fait, ce qui reste

`python -m llmbook.exercise` affiche le même tableau. Pour écrire un exercice, voir
`llmbook.exercise_registry`.
"""

import argparse
import re
import sys

from llmbook import exercise_progress as store
from llmbook.exercise_judge import BLANK, PASSED, judge
from llmbook.exercise_registry import (
    LEVELS,
    Exercise,
    UnknownExercise,
    load_all,
    lookup,
    metadata,
    sources,
)

__all__ = ["LEVELS", "Exercise", "UnknownExercise", "check", "hint", "load_all", "lookup",
           "metadata", "progress", "progress_table", "solution", "sources"]  # fmt: skip


def check(label: str, answer: object) -> None:
    """Vérifie la réponse à un exercice, affiche un compte rendu et retient le résultat."""
    exercise = lookup(label)
    verdict = judge(exercise, answer)
    head = f"{verdict.status} · {label} : {exercise.title}"
    if verdict.status == BLANK:
        print(f"{head} ({exercise.level}, {exercise.minutes} min)")
        return
    problem = store.record(label, passed=verdict.status == PASSED)
    right = f"{verdict.passed} cas juste{'s' * (verdict.passed > 1)}"
    count = f" ({right} sur {verdict.total})" if verdict.total > 1 else ""
    print(head + count)
    print(*verdict.details, sep="\n", end="\n" if verdict.details else "")
    if verdict.status != PASSED:
        print(f'Pour avancer : hint("{label}")')
    if problem:
        print(problem)


def hint(label: str) -> None:
    """Affiche l’indice suivant ; une fois le dernier donné, le répète."""
    exercise = lookup(label)
    total = len(exercise.hints)
    rank = min(store.next_hint(label, total), total)
    print(f"indice {rank} sur {total} · {label} : {exercise.hints[rank - 1]}")
    if rank == total:
        print(f'C’est le dernier indice. La solution : solution("{label}")')


def solution(label: str) -> None:
    """Affiche la solution du livre."""
    print(sources(label))


def progress(chapter: str = "") -> None:
    """Affiche ce qui est réussi, tenté ou à faire, section par section."""
    print(progress_table(chapter))


def progress_table(chapter: str = "") -> str:
    """Le tableau de progression ; `chapter` est le début d’un nom de chapitre ou de section."""
    entries = store.read()
    rows = []
    for section, exercises in _by_section(chapter).items():
        done = sum(bool(entries.get(e.label, {}).get("passed")) for e in exercises)
        tried = sum(bool(entries.get(e.label, {}).get("attempts")) for e in exercises) - done
        left = sum(e.minutes for e in exercises if not entries.get(e.label, {}).get("passed"))
        rows.append((section, done, tried, len(exercises) - done - tried, left))
    if not rows:
        return f"Aucun exercice{f' pour « {chapter} »' if chapter else ''}."
    rows.append(("total", *(sum(row[i] for row in rows) for i in range(1, 5))))
    width = max(len(row[0]) for row in rows)
    head = f"{'section':<{width}}  réussis  tentés  à faire  minutes restantes"
    lines = [f"{name:<{width}}  {done:>7}  {tried:>6}  {todo:>7}  {left:>17}"
             for name, done, tried, todo, left in rows]  # fmt: skip
    rule = "-" * len(head)
    return "\n".join([head, rule, *lines[:-1], rule, lines[-1]])


def _by_section(chapter: str) -> dict[str, list[Exercise]]:
    """Les exercices du livre par « chapitre/section », dans l’ordre du livre."""
    root = store.repository()
    toc = root / "_toc.yml" if root else None
    text = toc.read_text("utf-8") if toc and toc.exists() else ""
    pages = re.findall(r"notebooks/([\w/-]+)", text)
    page_of = {page.rpartition("/")[2]: page for page in pages}
    sections: dict[str, list[Exercise]] = {page: [] for page in pages}
    for exercise in load_all():
        section = exercise.section()
        if section:
            sections.setdefault(page_of.get(section, section), []).append(exercise)
    return {
        name: found
        for name, found in sections.items()
        if found and (name.startswith(chapter) or name.rpartition("/")[2].startswith(chapter))
    }


class _FrenchParser(argparse.ArgumentParser):
    """L’aide et les erreurs d’argparse, en français."""

    def format_help(self) -> str:
        return (
            "python -m llmbook.exercise : les exercices réussis, tentés et à faire.\n\n"
            "  --chapitre NOM     seulement ce chapitre ou cette section\n"
            "  --remise-a-zero    oublie la progression\n"
        )

    def error(self, message: str):
        self.exit(2, f"option inconnue ou incomplète.\n\n{self.format_help()}")


def main(arguments: list[str] | None = None) -> int:
    """`python -m llmbook.exercise` : le tableau de progression, ou sa remise à zéro."""
    parser = _FrenchParser()
    parser.add_argument("--chapitre", default="")
    parser.add_argument("--remise-a-zero", action="store_true")
    options = parser.parse_args(arguments)
    if options.remise_a_zero:
        labels = [e.label for found in _by_section(options.chapitre).values() for e in found]
        store.reset(labels)
        print(f"Progression effacée pour {len(labels)} exercices.")
    print(progress_table(options.chapitre))
    return 0


if __name__ == "__main__":
    sys.exit(main())
