"""Une figure à manipuler, seule dans un petit livre d’essai servi en local, puis dans Chromium."""

import os
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.test_directives import build

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "book" / "_explorables"
NANO = ROOT / "models" / "nano"
IN_CI = os.environ.get("CI", "").lower() in ("true", "1")
READY = "[data-module={}][data-etat=pret]"


def absent(reason):
    """Passe le test, sauf en CI où ce qui manque est un échec."""
    (pytest.fail if IN_CI else pytest.skip)(reason)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def serve(folder, handler=Quiet):
    """L’adresse, finie par « / », d’un serveur de ce dossier sur 127.0.0.1, le temps d’un bloc."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/"
    finally:
        httpd.shutdown()


def build_figure(folder, page):
    """Construit un livre d’une page, essai.html, avec toutes nos figures ; rend le dossier HTML."""
    shutil.copytree(SOURCE, folder / "book" / "_explorables")
    book = build(folder, {"essai": page})
    assert book.log == ""
    return book.output


@contextmanager
def serve_figure(folder, page):
    """L’adresse de essai.html."""
    with serve(build_figure(folder, page)) as url:
        yield f"{url}essai.html"


@contextmanager
def serve_with_model(folder, page):
    """L’adresse de essai.html, avec le modèle du livre et le moteur qui l’exécute."""
    from tools import web_model

    html = build_figure(folder, page)
    web_model.write_model(NANO, html / "_static" / "modele" / "nano")
    if reason := web_model.write_engine(html / "_static" / "onnxruntime"):
        absent(f"onnxruntime-web manque ({reason})")
    with serve(html) as url:
        yield f"{url}essai.html"


@contextmanager
def small_figure(browser, url, module):
    """La figure prête, à 375 px. `requests` : ce que la page a demandé. Aucune erreur permise."""
    with pages(browser, url, module) as open_page:
        page = open_page(viewport={"width": 375, "height": 800})
        found = page.locator(READY.format(module))
        found.requests = page.requests
        yield found


@contextmanager
def pages(browser, url, module, timeout=None):
    """open_page(script, **options) : une page dont la figure est prête ; script passe d’abord.

    timeout : attente maximale de Chromium, en ms ; 30 s sinon.
    """
    contexts, errors = [], []

    def open_page(script=None, **options):
        context = browser.new_context(locale="fr-FR", **options)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        if timeout:
            page.set_default_timeout(timeout)
        page.requests = []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.locator(READY.format(module)).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
