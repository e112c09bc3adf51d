"""Le livre construit, servi en local, et un Chromium qui note tout ce que la page demande.

`LLMBOOK_HTML` désigne un autre dossier HTML ; sans lui, `_build/html`, construit s’il manque.
"""

import os
import re
import subprocess
import time
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.navigateur.essai import ROOT, absent, serve
from tools import build, chromium

HTML = Path(os.environ.get("LLMBOOK_HTML") or ROOT / "_build" / "html").resolve()
AXE = ROOT / "tools" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
# Fichier que la page de progression cherche sans l’exiger : il naît au premier exercice.
OPTIONAL = "/progression.json"

# Ce qui fait reconnaître chaque page clé, dans l’ordre de la table des matières.
ROLES = {
    "couverture": r'<body class="cover',
    "ouverture": r'class="[^"]*(?<![\w-])(?:bible-)?ouverture(?![\w-])',
    "formules": r'class="math[^"]*" id="equation-',
    "exercice": r'class="[^"]*(?<![\w-])exercise(?![\w-])',
    "quiz": r'class="[^"]*(?<![\w-])(?:bible-)?quiz(?![\w-])',
    "glossaire": r'<dl class="[^"]*(?<![\w-])glossary',
    "prose": r'<body class="(?!cover)[^"]*">.*<article class="texte">(?:(?!class="math).)*</article>',
}


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.navigateur)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="session")
def html_root():
    if not (HTML / "search.html").exists():
        if os.environ.get("LLMBOOK_HTML"):
            pytest.fail(f"LLMBOOK_HTML ne contient pas de livre construit : {HTML}")
        build_once()
    return HTML


def build_once():
    """Construit le livre ; avec pytest-xdist, un seul processus construit, l’autre attend."""
    HTML.parent.mkdir(exist_ok=True)
    lock = HTML.parent / ".construction"
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        deadline = time.monotonic() + 300
        while lock.exists() and time.monotonic() < deadline:
            time.sleep(0.5)
        return
    try:
        subprocess.run(build.SPHINX, cwd=ROOT, check=True, capture_output=True)
    finally:
        lock.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def server(html_root):
    with serve(html_root) as url:
        yield url


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = chromium.find()
    if path is None:
        absent(f"Aucun Chromium. Pour en avoir un : {chromium.how_to()}")
    with playwright.sync_playwright() as api:
        found = api.chromium.launch(executable_path=path, args=chromium.FLAGS)
        yield found
        found.close()


@cache
def all_pages():
    """Pages du livre, dans l’ordre du sommaire de la couverture."""
    cover = next(
        path
        for path in sorted(HTML.rglob("*.html"))
        if '<body class="cover' in path.read_text(encoding="utf-8")
    )
    text = cover.read_text(encoding="utf-8")
    tree = text[text.index('id="navigation"') : text.index("</nav>", text.index('id="navigation"'))]
    found = [cover.relative_to(HTML).as_posix()]
    for link in re.findall(r'href="([^"#]+\.html)', tree):
        page = Path(os.path.normpath(cover.parent / link)).relative_to(HTML).as_posix()
        if page not in found and page != "genindex.html":
            found.append(page)
    return found


@cache
def page_of(role):
    """Première page qui tient ce rôle, ou None."""
    if role == "recherche":
        return "search.html?q=vecteurs"
    if role == "index":
        return "genindex.html"
    pattern = re.compile(ROLES[role], re.DOTALL)
    for page in all_pages():
        if pattern.search((HTML / page).read_text(encoding="utf-8")):
            return page
    return None


class Visit:
    """Une page ouverte, avec ce qu’elle a demandé et ce qu’elle a dit dans la console."""

    def __init__(self, context, server, page, scripts=True):
        self.page = context.new_page()
        self.responses, self.outside, self.messages = [], [], []
        host = urlsplit(server).netloc

        def note(request):
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob", "about") and parts.netloc != host:
                self.outside.append(request.url)

        self.page.on("request", note)
        self.page.on("response", self.note_response)
        self.page.on("console", self.note_message)
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.goto(server + page)
        if scripts:  # sans JavaScript, aucune promesse ne se résout
            self.ready()

    def note_message(self, message):
        where = (message.location or {}).get("url", "")
        if message.type in ("error", "warning") and not where.endswith(OPTIONAL):
            self.messages.append(message.text)

    def note_response(self, response):
        self.responses.append(response)
        if response.status >= 400 and not response.url.endswith(OPTIONAL):
            self.messages.append(f"{response.status} {response.url}")

    def ready(self):
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")
        self.page.evaluate("() => new Promise((r) => setTimeout(r, 180))")

    def resize(self, width, height=900):
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate("() => new Promise((r) => setTimeout(r, 250))")

    def weight(self):
        """Octets décodés du chargement ; les pages que la recherche lit ensuite n’en sont pas."""
        total = 0
        for response in self.responses:
            if response.status == 200 and response.request.resource_type != "fetch":
                total += len(response.body())
        return total


@pytest.fixture
def visit(browser, server):
    """visit(page, theme="clair", width=1280, …) ouvre une page ; rien ne doit partir dehors."""
    contexts, visits = [], []

    def open_page(page, theme="clair", width=1280, height=900, **options):
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale="fr-FR", **options
        )
        if options.get("java_script_enabled", True):
            context.add_init_script(
                "try { if (!localStorage.getItem('bible-theme'))"
                f" localStorage.setItem('bible-theme', '{theme}') }} catch (e) {{}}"
            )
        contexts.append(context)
        visits.append(Visit(context, server, page, options.get("java_script_enabled", True)))
        return visits[-1]

    yield open_page
    outside = [url for found in visits for url in found.outside]
    messages = [text for found in visits for text in found.messages]
    for context in contexts:
        context.close()
    assert not outside, f"requêtes hors du livre : {outside}"
    assert not messages, f"messages de la console : {messages}"


@pytest.fixture
def key_page(request, html_root):
    page = page_of(request.param)
    if page is None:
        absent(f"aucune page du livre pour le rôle « {request.param} »")
    return page


@pytest.fixture(scope="session")
def axe():
    if not AXE.exists():
        absent("axe-core manque : npm ci dans tools/npm")
    return AXE.read_text(encoding="utf-8")
