"""Les quiz et la page de progression dans un vrai Chromium, sur un petit livre d’essai."""


import pytest

from tests.navigateur.conftest import page_of
from tests.navigateur.essai import Quiet, serve
from tests.test_directives import PAGES, build

PROGRESS = '{"version": 1, "exercises": {"ex-vecteurs-cosinus": {"passed": true, "attempts": 2}}}'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("essai")
    book = build(folder, {name: PAGES[name] for name in ("quiz", "exercice", "progression")})

    class Handler(Quiet):
        def do_GET(self):
            if self.path != "/progression.json":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(PROGRESS.encode())

    with serve(book.output, Handler) as url:
        yield url


@pytest.fixture
def context(browser):
    found = browser.new_context(locale="fr-FR")
    yield found
    found.close()


@pytest.fixture
def page(context, site):
    found = context.new_page()
    found.goto(f"{site}quiz.html")
    return found


def answer(page, number, *choices):
    question = page.locator(".bible-question").nth(number - 1)
    for choice in choices:
        question.locator("input").nth(choice - 1).check()
    question.locator(".bible-verifier").click()
    return question


def test_right_answer(page):
    question = answer(page, 1, 2)
    assert question.locator(".bible-resultat").inner_text().startswith("Juste")
    verdicts = question.locator(".bible-verdict").all_inner_texts()
    assert verdicts == ["Faux", "Juste"]  # chaque choix est expliqué
    assert question.get_by_text("C’est écrit.").is_visible()
    assert "il reste 1 question" in page.locator(".bible-score").inner_text()


def test_wrong_then_partial_answer(page):
    assert answer(page, 1, 1).locator(".bible-resultat").inner_text().startswith("Faux")
    partial_answer = answer(page, 2, 1).locator(".bible-resultat").inner_text()
    assert "une partie de la réponse" in partial_answer
    assert page.locator(".bible-score").inner_text().endswith("0 sur 2.")


def test_nothing_chosen(page):
    question = answer(page, 1)
    assert "Choisissez" in question.locator(".bible-resultat").inner_text()
    assert not question.locator("details").first.is_visible()


def test_keyboard_only(page):
    page.locator(".bible-question input").first.focus()
    page.keyboard.press("ArrowDown")  # deuxième choix
    page.keyboard.press("Tab")  # le bouton « Vérifier »
    page.keyboard.press("Enter")
    focused = page.evaluate("document.activeElement.textContent")
    assert focused.startswith("Juste")  # lu aussitôt, et focus conservé
    page.keyboard.press("Tab")  # question suivante
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")  # Entrée sur un choix vérifie
    assert "terminé\u00a0: 2 sur 2" in page.locator(".bible-score").inner_text()


def test_answers_are_remembered_and_erased(page):
    answer(page, 1, 2)
    answer(page, 2, 1, 2)
    page.reload()
    assert "2 sur 2" in page.locator(".bible-score").inner_text()
    assert page.locator(".bible-question input").nth(1).is_checked()
    page.get_by_role("button", name="Recommencer").click()
    assert page.locator(".bible-verifier:visible").count() == 2
    assert page.evaluate("document.activeElement.tagName") == "INPUT"
    page.reload()
    assert page.evaluate("localStorage.length") == 0
    assert page.locator("input:checked").count() == 0


def test_damaged_storage(page):
    page.evaluate("localStorage.setItem('bible:quiz:quiz-bon', '{')")
    page.reload()
    assert answer(page, 1, 2).locator(".bible-resultat").inner_text().startswith("Juste")


@pytest.mark.parametrize(
    "value", ["null", "3", "[]", '{"reponses": null}', '{"reponses": {"1": 2}}']
)
def test_unexpected_storage(page, value):
    page.evaluate("v => localStorage.setItem('bible:quiz:quiz-bon', v)", value)
    page.reload()
    assert answer(page, 1, 2).locator(".bible-resultat").inner_text().startswith("Juste")
    assert '"score":1' in page.evaluate("localStorage.getItem('bible:quiz:quiz-bon')")


def test_without_javascript(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}quiz.html")
    assert page.locator(".bible-verifier:visible").count() == 0
    page.locator("details summary").first.click()
    assert page.get_by_text("Zéro est").is_visible()
    context.close()


def test_progress_page(context, site):
    page = context.new_page()
    page.goto(f"{site}quiz.html")
    answer(page, 1, 2)
    page.goto(f"{site}progression.html")
    tables = page.locator(".bible-tableau")
    assert "commencé, 1 question sur 2" in tables.nth(0).inner_text()
    assert "réussi" in tables.nth(1).inner_text()
    page.get_by_role("button", name="Effacer mes quiz").click()
    page.get_by_role("button", name="Confirmer").click()
    assert "à faire" in page.locator(".bible-tableau").nth(0).inner_text()
    assert page.evaluate("localStorage.length") == 0


def test_progress_page_on_a_static_host(context, site):
    """Un site publié n’a pas le fichier : la page le dit, sans rien demander."""
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    public = "http://livre.example/"
    local = context.request
    page.route(
        f"{public}**",
        lambda route: route.fulfill(response=local.get(route.request.url.replace(public, site))),
    )
    page.goto(f"{public}progression.html")
    page.get_by_text("make livre").wait_for()
    assert not [url for url in asked if "progression.json" in url]


def test_quiz_of_the_book(visit, html_root):
    """Dans le livre construit, répondre juste à tout donne le meilleur score."""
    name = page_of("quiz")
    if name is None:
        pytest.skip("aucun quiz dans le livre construit")
    page = visit(name).page
    questions = page.locator(".bible-question")
    for i in range(questions.count()):
        for box in questions.nth(i).locator(".bible-choix[data-valeur=juste] input").all():
            box.check()
        questions.nth(i).locator(".bible-verifier").click()
    total = questions.count()
    assert f"{total} sur {total}" in page.locator(".bible-score").inner_text()
