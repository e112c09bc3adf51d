"""`python -m tools notebooks` : tenir les carnets égaux au texte et leurs sorties fraîches.

    python -m tools notebooks                                toutes les pages
    python -m tools notebooks ch01-mathematiques/vecteurs    une page (ou un dossier)
    python -m tools notebooks --verifier                     dire ce qui manque, ne rien écrire

Une page en échec n’arrête pas les autres, et ses anciennes sorties restent en place.
"""

import argparse
import contextlib
import difflib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tools.kernels import ROOT
from tools.pages import RUN, Page, PageError, find_pages, read
from tools.pairing import Pair
from tools.refresh import Plan, measures_text, plan, run, save, write_measures


def select(names: list[str], root: Path) -> list[Page]:
    """Les pages demandées : un nom, un chemin sous book/ ou notebooks/, ou un dossier."""
    pages = find_pages(root)
    if not names:
        return pages
    chosen = {}
    for name in names:
        path = Path(name)
        if path.is_absolute():
            path = Path(os.path.relpath(path, root))
        pieces = path.parts[1:] if path.parts[:1] in (("book",), ("notebooks",)) else path.parts
        short = "/".join(pieces).removesuffix(".md").removesuffix(".ipynb")
        found = [p for p in pages if p.name == short or p.name.startswith(f"{short}/")]
        if not found:
            near = difflib.get_close_matches(short, [page.name for page in pages], n=3, cutoff=0.4)
            hint = f" Peut-être : {', '.join(near)}." if near else ""
            raise PageError(f"« {name} » n’est pas une page exécutable (book/{short}.md).{hint}")
        chosen |= {page.name: page for page in found}
    return list(chosen.values())


def verify(root: Path, pages: list[Page]) -> list[str]:
    """Ce qui n’est pas à jour, une phrase par défaut, avec la commande qui répare."""
    found = []
    for page in pages:
        found += page_problems(page)
    path = root / "book" / "_data" / "notebooks.json"
    if not found and pages and read(path) != measures_text(root):
        found.append("book/_data/notebooks.json n’est pas à jour.\n  → python -m tools notebooks")
    return found


def page_problems(page: Page) -> list[str]:
    try:
        pair, todo = Pair(page), plan(page)
    except PageError as error:
        return [str(error)]
    remedy = f"\n  → {page.command}"
    if pair.state != "égale":
        changed = "le texte" if pair.state == "texte" else "le carnet"
        if pair.notebook is None:
            return [f"{page.name} : pas encore de carnet exécuté.{remedy}"]
        return [f"{page.name} : {changed} a changé et l’autre forme ne suit pas.{remedy}"]
    if todo.reasons:
        return [f"{page.name} : sorties plus vieilles que leur source ({todo.reasons[0]}).{remedy}"]
    if todo.text is not None or todo.serialized_differs:
        return [f"{page.name} : carnet à normaliser (cellule de Colab, identifiants).{remedy}"]
    return []


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools notebooks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("pages", nargs="*", help="pages ou dossiers (toutes par défaut)")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="noyaux à la fois")
    parser.add_argument("--forcer", action="store_true", help="exécuter même ce qui est frais")
    parser.add_argument("--depuis", choices=("book", "notebooks"), help="forme à garder")
    parser.add_argument(
        "--verifier", action="store_true", help="ne rien écrire, dire ce qui manque"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Renvoie 0 si tout est à jour, 1 si une page demande une correction, 130 si interrompu."""
    options = parse(argv)
    start = time.perf_counter()
    try:
        pages = select(options.pages, root)
        if options.verifier:
            return report(verify(root, pages), len(pages))
        if options.depuis and not options.pages:
            raise PageError("--depuis demande le nom des pages : il efface l’autre forme.")
    except PageError as error:
        print(error, file=sys.stderr)
        return 1
    plans, failures = prepare(pages, options.depuis, options.forcer)
    carried = sum(save(todo) for todo in plans if not todo.reasons)
    stale = [todo for todo in plans if todo.reasons]
    try:
        with terminated_as_interrupted():
            remarks = run_all(stale, options.jobs or cores(), failures)
    except KeyboardInterrupt:
        print("Interrompu : rien n’est à moitié écrit ; la même commande reprendra.", flush=True)
        return 130
    write_measures(root)
    executed = len(stale) - sum(todo.page.name in failures for todo in stale)
    message = (
        f"{count(len(pages), 'page')} : {count(executed, 'exécutée')}, "
        f"{count(carried, 'recopiée')} sans exécuter, {count(len(failures), 'en échec', '')}, "
        f"{count(remarks, 'remarque')}, en {time.perf_counter() - start:.0f} s."
    )
    print(message, flush=True)
    return 1 if failures else 0


def prepare(pages: list[Page], source: str | None, force: bool) -> tuple[list[Plan], dict]:
    plans, failures = [], {}
    for page in pages:
        try:
            plans.append(plan(page, source, force))
        except PageError as error:
            failures[page.name] = str(error)
            print(error, file=sys.stderr, flush=True)
    return plans, failures


def run_all(stale: list[Plan], jobs: int, failures: dict) -> int:
    """Exécute les pages périmées, `jobs` à la fois, les plus longues d’abord."""
    from tools.execution import ExecutionError, stop_kernels

    def duration(todo: Plan) -> float:
        return -todo.notebook.metadata.get(RUN, {}).get("seconds", 1e9)

    remarks = 0
    pool = ThreadPoolExecutor(max_workers=max(1, jobs))
    try:
        futures = {}
        for todo in sorted(stale, key=duration):
            futures[pool.submit(timed, todo)] = todo
        for rank, future in enumerate(as_completed(futures), start=1):
            todo = futures[future]
            name = todo.page.name
            try:
                seconds, found = future.result()
            except (ExecutionError, PageError, OSError) as error:
                failures[name] = str(error)
                print(f"[{rank}/{len(stale)}] échec de {error}", file=sys.stderr, flush=True)
                continue
            print(f"[{rank}/{len(stale)}] {name} : exécutée en {seconds:.0f} s", flush=True)
            for remark in found:
                print(f"    à corriger · {remark}", flush=True)
            remarks += len(found)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop_kernels()
        raise
    pool.shutdown()
    return remarks


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Un arrêt demandé par le système (SIGTERM) se traite comme Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def timed(todo: Plan) -> tuple[float, list[str]]:
    print(f"{todo.page.name} : exécution ({', '.join(todo.reasons[:3])})…", flush=True)
    start = time.perf_counter()
    found = run(todo)
    return time.perf_counter() - start, found


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count(n: int, word: str, plural: str = "s") -> str:
    return f"{n} {word}{plural if n > 1 else ''}"


def report(found: list[str], pages: int) -> int:
    for problem in found:
        print(problem)
    if found:
        print(f"{count(len(found), 'défaut')} sur {count(pages, 'page')}.")
        return 1
    print(f"{count(pages, 'page')} : textes et carnets égaux, sorties fraîches.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
