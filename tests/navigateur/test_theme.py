"""Le thème dans un vrai Chromium : accessibilité, poids, largeur, formules, clavier, français."""

import json
import re
from pathlib import Path

import pytest

from tests.navigateur.conftest import HTML, ROLES, ROOT, all_pages, page_of
from tools.sphinx_ext import search

KEY = [*ROLES, "recherche", "index"]
by_role = pytest.mark.parametrize("key_page", KEY, indirect=True)
THEMES = ["clair", "sombre"]
PHONE, WIDE = 375, 1280

# Poids décodés, en octets.
PROSE_LIMIT, MATH_LIMIT = 600_000, 1_200_000


def open_everything(visit):
    visit.page.evaluate("document.querySelectorAll('.texte details').forEach(d => d.open = true)")


# --- accessibilité ---------------------------------------------------------------------------


@by_role
@pytest.mark.parametrize("theme", THEMES)
def test_axe(visit, axe, key_page, theme):
    found = visit(key_page, theme, PHONE)
    open_everything(found)
    found.page.evaluate(axe)
    serious = []
    for width in (PHONE, WIDE):
        found.resize(width)
        result = found.page.evaluate(
            "() => axe.run({exclude: [['mjx-math']]}, {resultTypes: ['violations']})"
        )
        serious += [
            f"{width} px : {v['id']} ({v['impact']}), {v['help']} "
            + " | ".join(n["html"][:140] for n in v["nodes"][:4])
            for v in result["violations"]
            if v["impact"] in ("serious", "critical")
        ]
    assert not serious, "\n".join(serious)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("start", [":root {", 'html[data-theme="dark"] {'])
def test_contraste_des_couleurs(start):
    css = (ROOT / "tools/theme/bible/static/bible.css").read_text(encoding="utf-8")
    block = css[css.index(start) : css.index("}", css.index(start))]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9A-Fa-f]{6})", block))
    for ground in ("bg", "code-bg"):
        for name in (
            "text",
            "muted",
            "ink",
            "ochre",
            "green",
            "red",
            "syn-key",
            "syn-str",
            "syn-num",
            "syn-com",
            "syn-def",
        ):
            ratio = contrast(colours[name], colours[ground])
            assert ratio >= 4.5, f"{name} sur {ground} : {ratio:.2f}"
    assert contrast(colours["text"], colours["mark"]) >= 4.5


# --- rien dehors, poids, largeur ---------------------------------------------------------------


@by_role
def test_poids(visit, key_page):
    found = visit(key_page)
    math = found.page.locator(".math").count() > 0
    limit = MATH_LIMIT if math else PROSE_LIMIT
    assert found.weight() < limit, f"{found.weight():,} octets".replace(",", " ")


OVERFLOW = """() => {
  const large = document.documentElement.clientWidth;
  const defile = (el) => {
    for (let p = el.parentElement; p; p = p.parentElement)
      if (/auto|scroll/.test(getComputedStyle(p).overflowX)) return true;
    return false;
  };
  const dehors = [...document.querySelectorAll("main *")].filter((el) => {
    if (!el.checkVisibility({opacityProperty: false}) || el.closest(".invisible, svg, mjx-assistive-mml")) return false;
    const r = el.getBoundingClientRect();
    return r.width > 0 && (r.right > large + 1 || r.left < -1) && !defile(el);
  });
  const coupes = [...document.querySelectorAll(".texte *")].filter((el) => {
    const s = getComputedStyle(el);
    return /hidden|clip/.test(s.overflowX) && el.scrollWidth > el.clientWidth + 1 && el.clientWidth > 1
      && !el.closest(".invisible, mjx-container, svg") && s.position !== "absolute";
  });
  const nom = (el) => el.outerHTML.slice(0, 160);
  return {page: document.documentElement.scrollWidth, large,
          dehors: dehors.slice(0, 5).map(nom), coupes: coupes.slice(0, 5).map(nom)};
}"""


@by_role
def test_rien_ne_deborde(visit, key_page):
    found = visit(key_page)
    open_everything(found)
    for width in (320, PHONE, 768, 1100, WIDE, 1680):
        found.resize(width)
        got = found.page.evaluate(OVERFLOW)
        assert got["page"] <= got["large"], (width, got)
        assert not got["dehors"], (width, got["dehors"])
        assert not got["coupes"], (width, got["coupes"])


def test_une_colonne_lisible(visit):
    """De 60 à 76 caractères par ligne pleine, 17 à 18 px, interligne 1,6 au moins."""
    page = page_of("prose")
    found = visit(page)
    size, height, characters = found.page.evaluate("""() => {
      const texte = document.querySelector('.texte');
      const s = getComputedStyle(texte);
      const p = document.createElement('p');
      p.style.cssText = 'white-space: nowrap; width: max-content';
      p.textContent = 'Nous rangeons chaque mot dans un vecteur, et nous mesurons un angle entre deux.';
      texte.append(p);
      const par = p.getBoundingClientRect().width / p.textContent.length;
      p.remove();
      return [parseFloat(s.fontSize), parseFloat(s.lineHeight), document.querySelector('.texte section > p').clientWidth / par];
    }""")
    assert 17 <= size <= 18
    assert height / size >= 1.59
    assert 60 <= characters <= 78


@pytest.mark.lent
@pytest.mark.timeout(900)  # une à deux secondes par page, davantage sur une machine prise
def test_toutes_les_pages(visit, html_root):
    """Poids, largeurs, formules et console de chaque page, chargée une fois puis élargie."""
    wrong = []
    for page in all_pages():
        found = visit(page, width=PHONE)
        math = found.page.locator(".math").count() > 0
        if found.weight() >= (MATH_LIMIT if math else PROSE_LIMIT):
            wrong.append(f"{page} : {found.weight()} octets")
        alts = found.page.evaluate(
            "[...document.images].filter(i => !i.alt?.trim()).map(i => i.src)"
        )
        wrong += [f"{page} : image sans texte de remplacement {src}" for src in alts]
        for width in (PHONE, WIDE):
            if width != PHONE:
                found.resize(width)
            got = found.page.evaluate(OVERFLOW)
            if got["page"] > got["large"] or got["dehors"] or got["coupes"]:
                wrong.append(f"{page}, {width} px : {got}")
            wrong += [f"{page}, {width} px : {text}" for text in broken_formulas(found)]
        found.page.context.close()  # quatre-vingts onglets ouverts ralentiraient les suivants
    assert not wrong, "\n".join(wrong)


def test_fichiers_charges(visit, html_root):
    """Chaque page ne charge que bible.css, bible.js, ce qu’elle demande, et MathJax au besoin."""
    allowed = re.compile(
        r"_static/(?:bible[\w.-]*\.(?:css|js|svg)|language_data\.js|vendor/mathjax/|explorables/)"
        r"|searchindex\.js|_images/|\.html$|\.html\?|/$"
    )
    for role in KEY:
        if (page := page_of(role)) is None:
            continue
        found = visit(page)
        urls = [r.url.split("?v=")[0] for r in found.responses]
        assert not [u for u in urls if not allowed.search(u)]
        if not found.page.locator(".math").count():
            assert not [u for u in urls if "mathjax" in u], page


# --- formules ----------------------------------------------------------------------------------


def broken_formulas(found):
    return found.page.evaluate(r"""() => {
      const mal = [];
      document.querySelectorAll(".math").forEach((el) => {
        if (!el.querySelector("mjx-container")) mal.push("formule non composée : " + el.textContent.slice(0, 80));
      });
      document.querySelectorAll("mjx-merror, [data-mjx-error]").forEach((el) =>
        mal.push("erreur de formule : " + (el.dataset.mjxError || el.textContent).slice(0, 120)));
      document.querySelectorAll("mjx-container").forEach((el) => {
        if (!el.checkVisibility()) return;
        const s = getComputedStyle(el);
        if (el.scrollWidth > el.clientWidth + 1 && s.display !== "inline" && !/auto|scroll/.test(s.overflowX))
          mal.push("formule coupée : " + el.textContent.slice(0, 60));
        if (s.display !== "inline" && el.scrollHeight > el.clientHeight + 2 && s.overflowY !== "visible")
          mal.push(`formule rognée en hauteur (${el.scrollHeight} > ${el.clientHeight})`);
      });
      const marche = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
      for (let n = marche.nextNode(); n; n = marche.nextNode()) {
        if (n.parentElement.closest("pre, code, script, style, mjx-container")) continue;
        if (/\\\(|\\\[|\\(?:frac|mathbf|sum|top|begin)\b|\$\$/.test(n.data)) mal.push("TeX brut : " + n.data.trim().slice(0, 80));
      }
      return mal;
    }""")


@by_role
def test_formules(visit, key_page):
    found = visit(key_page)
    open_everything(found)
    for width in (PHONE, WIDE):
        found.resize(width)
        assert broken_formulas(found) == []


def test_formule_longue_defile(visit):
    """Sur un téléphone, une formule plus large que l’écran défile, au clavier aussi."""
    page = page_of("formules")
    if page is None:
        pytest.skip("aucune formule numérotée")
    found = visit(page, width=320)
    got = found.page.evaluate("""() => [...document.querySelectorAll("mjx-container[display=true]")]
      .filter((el) => el.scrollWidth > el.clientWidth + 1)
      .map((el) => [el.tabIndex, el.getAttribute("aria-label"), getComputedStyle(el).overflowX])""")
    assert all(index == 0 and label and scroll == "auto" for index, label, scroll in got)


# --- clavier -------------------------------------------------------------------------------------


def focused(found):
    return found.page.evaluate(
        "() => { const e = document.activeElement; return e.id || e.className || e.tagName }"
    )


def test_aller_au_contenu(visit):
    found = visit(page_of("prose"))
    found.page.keyboard.press("Tab")
    assert "aller-contenu" in focused(found)
    box = found.page.locator(".aller-contenu").bounding_box()
    assert box["y"] >= 0
    found.page.keyboard.press("Enter")
    assert focused(found) == "contenu"


@pytest.mark.parametrize("role,width", [("prose", PHONE), ("couverture", WIDE)])
def test_tiroir_du_sommaire(visit, role, width):
    found = visit(page_of(role), width=width)
    keyboard = found.page.keyboard
    button = found.page.locator("#ouvrir-menu")
    menu = found.page.locator("#navigation")
    assert not menu.is_visible()
    button.focus()
    keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert menu.is_visible()
    assert focused(found) == "fermer-menu"
    for _ in range(60):  # la tabulation tourne dans le tiroir
        keyboard.press("Tab")
        assert found.page.evaluate(
            "document.querySelector('#navigation').contains(document.activeElement)"
        )
    keyboard.press("Escape")
    assert not menu.is_visible()
    assert button.get_attribute("aria-expanded") == "false"
    assert focused(found) == "ouvrir-menu"
    button.press("Enter")
    found.page.mouse.click(width - 5, 500)  # le voile ferme aussi
    assert not menu.is_visible()


def test_theme_au_clavier(visit):
    found = visit(page_of("prose"), theme="clair")
    button = found.page.locator("#changer-theme")
    button.focus()
    seen = []
    for _ in range(3):
        button.press("Enter")
        seen.append(
            found.page.evaluate(
                "[document.documentElement.dataset.choix, document.documentElement.dataset.theme]"
            )
        )
    assert seen == [["sombre", "dark"], ["auto", "light"], ["clair", "light"]]
    button.press("Enter")
    assert "sombre" in button.get_attribute("aria-label")
    found.page.reload()
    found.ready()
    assert found.page.evaluate("document.documentElement.dataset.theme") == "dark"
    ground = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(21, 24, 28)"


def test_theme_du_systeme(visit):
    found = visit(page_of("prose"), theme="auto", color_scheme="dark")
    assert found.page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_sans_eclair_de_theme(html_root):
    """Le thème est posé avant la première feuille de style : aucun éclair blanc au chargement."""
    for page in [*all_pages(), "search.html", "genindex.html"]:
        text = (HTML / page).read_text(encoding="utf-8")
        assert text.index("dataset.theme=") < text.index('rel="stylesheet"'), page


def test_boutons_copier(visit):
    page = next(
        (
            p
            for p in all_pages()
            if '<div class="highlight' in (HTML / p).read_text(encoding="utf-8")
        ),
        None,
    )
    if page is None:
        pytest.skip("aucun code dans le livre")
    found = visit(page, permissions=["clipboard-read", "clipboard-write"])
    button = found.page.locator(".copier").first
    button.focus()
    button.press("Enter")
    found.page.wait_for_function("document.querySelector('#annonces').textContent === 'Code copié'")
    copied = found.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == button.locator("xpath=..").locator("pre").inner_text().strip()


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_sans_javascript(visit, width):
    """Sans JavaScript, le texte et le sommaire restent lisibles."""
    found = visit(page_of("prose"), width=width, java_script_enabled=False)
    assert found.page.locator("article.texte h1").is_visible()
    assert found.page.locator("#navigation a").first.is_visible()


# --- recherche -------------------------------------------------------------------------------------


def results(found):
    found.page.wait_for_selector("#recherche-resultats[data-fini]", state="attached")
    return found.page.locator("#recherche-resultats > li > a").evaluate_all(
        "liens => liens.map((a) => a.getAttribute('href'))"
    )


def test_recherche_accents_et_flexions(visit):
    families = [
        ("réseau", "reseaux", "RÉSEAUX", "Réseaux"),
        ("vecteur", "vecteurs", "VECTEURS"),
        ("modèle", "modeles", "MODÈLES"),
        ("exécuter", "execute", "exécutées", "EXÉCUTENT"),
    ]
    filled = 0
    for family in families:
        answers = [results(visit(f"search.html?q={word}")) for word in family]
        assert all(answer == answers[0] for answer in answers), family
        filled += bool(answers[0])
    assert filled >= 2


def test_recherche_depuis_une_page(visit):
    found = visit(page_of("prose"))
    found.page.keyboard.press("/")
    assert focused(found) == "recherche-entete"
    found.page.keyboard.type("Vecteurs")
    found.page.keyboard.press("Enter")
    found.page.wait_for_url("**/search.html?q=Vecteurs")
    assert results(found)
    assert re.match(
        r"\d+ pages? pour « Vecteurs »", found.page.locator("#recherche-bilan").inner_text()
    )
    assert found.page.locator("#recherche-resultats mark").count()


def test_recherche_sans_reponse(visit):
    found = visit("search.html?q=zzyzx")
    assert results(found) == []
    assert "Aucune page" in found.page.locator("#recherche-bilan").inner_text()


def test_memes_racines_en_python_et_en_javascript(visit, html_root):
    """Tous les mots du livre ont la même racine dans l’index et dans la requête."""
    found = visit("search.html")
    text = " ".join(
        re.sub(r"<[^>]+>", " ", (HTML / page).read_text(encoding="utf-8")) for page in all_pages()
    )
    words = sorted(set(re.findall(r"\w+", text)))
    assert len(words) > 200
    got = found.page.evaluate("mots => mots.map((m) => bibleMots(m).map(bibleRacine))", words)
    expected = [[search.stem(w) for w in search.words(word)] for word in words]
    wrong = [(w, e, g) for w, e, g in zip(words, expected, got, strict=True) if e != g]
    assert not wrong, wrong[:10]


# --- français ----------------------------------------------------------------------------------------

ENGLISH = re.compile(
    r"\b(?:search|next|previous|toggle|copy|copied|click|show|hide|download|edit|launch|skip"
    r"|permalink|headerlink|link to|see also|warning|table of contents|contents|navigation menu"
    r"|back to top|powered by|created using|built with|last updated|light mode|dark mode|settings"
    r"|close|open issue|suggest|submit|hint|loading|results?|found|page not|unknown|untitled"
    r"|exercise|proof|theorem|figure [a-z]+ of|the|this|your|with)\b",
    re.IGNORECASE,
)

ATTRIBUTES = """() => [...document.querySelectorAll("*")].flatMap((el) => {
  if (el.closest("pre, code, [lang=en], mjx-container, a[href*='bibliographie.html#']")) return [];
  return ["aria-label", "title", "alt", "placeholder", "aria-roledescription", "value"]
    .filter((nom) => el.hasAttribute(nom) && !(nom === "value" && el.tagName === "LI"))
    .map((nom) => [nom, el.getAttribute(nom), el.outerHTML.slice(0, 120)]);
})"""

CHROME = """() => [...document.querySelectorAll(
  "header, .navigation, .outils, .dans-page > summary, .locale-titre, .voisins .sens, .pied,"
  + ".admonition-title, button, label, .texte summary, legend, caption, .caption-number, noscript")]
  .map((el) => { const c = el.cloneNode(true); c.querySelectorAll("code, em, i, [lang=en]").forEach((x) => x.remove());
    return c.textContent.replace(/\\s+/g, " ").trim(); }).filter(Boolean)"""


@by_role
def test_francais(visit, key_page):
    found = visit(key_page)
    assert found.page.evaluate("document.documentElement.lang") == "fr"
    attributes = found.page.evaluate(ATTRIBUTES)
    assert not [a for a in attributes if ENGLISH.search(a[1])]
    assert not [text for text in found.page.evaluate(CHROME) if ENGLISH.search(text)]
    assert not ENGLISH.search(found.page.title())
    links = found.page.locator(".headerlink").evaluate_all("l => l.map((a) => a.title)")
    assert set(links) <= {"Lien permanent"}


# --- liens, boutons, impression -------------------------------------------------------------------------


def test_boutons_de_lancement(visit):
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    url = re.search(r"^\s+url:\s*(\S+)", config, re.MULTILINE).group(1)
    page = next((p for p in all_pages() if p.startswith("notebooks/")), None)
    if page is None:
        pytest.skip("aucune page exécutable")
    found = visit(page)
    links = dict(
        found.page.locator(".actions a").evaluate_all(
            "liens => liens.map((a) => [a.textContent.trim(), a.href])"
        )
    )
    assert list(links) == ["Colab", "Binder", "Notebook", "Texte", "Modifier", "Signaler"]
    slug = url.removeprefix("https://github.com/")
    assert f"/github/{slug}/blob/" in links["Colab"] and links["Colab"].endswith(".ipynb")
    assert f"/gh/{slug}/" in links["Binder"]
    assert links["Modifier"].startswith(f"{url}/edit/") and links["Modifier"].endswith(".md")
    assert links["Signaler"].startswith(f"{url}/issues/new")
    for name, suffix in (("Notebook", ".ipynb"), ("Texte", ".md")):
        local = HTML / Path(links[name].split("/", 3)[3])
        assert local.suffix == suffix and local.exists()
    json.loads((HTML / links["Notebook"].split("/", 3)[3]).read_text(encoding="utf-8"))
    hints = found.page.locator(".actions a").evaluate_all("l => l.map((a) => a.title)")
    assert all(len(hint) > 15 for hint in hints)


def test_boutons_d_une_page_de_prose(visit):
    found = visit(page_of("prose"))
    if page_of("prose") == page_of("couverture"):
        pytest.skip("la couverture n’a pas d’outils")
    assert found.page.locator(".actions a").all_inner_texts() == ["Modifier", "Signaler"]


def test_liens_internes(html_root):
    """Chaque lien et chaque fichier cité par une page existe dans le site."""
    wrong = []
    for page in [*all_pages(), "search.html", "genindex.html", "index.html"]:
        text = (HTML / page).read_text(encoding="utf-8")
        for target in re.findall(r'(?:href|src)="([^"#?]+)', text):
            if re.match(r"[a-z]+:", target):
                continue
            if not ((HTML / page).parent / target).exists():
                wrong.append(f"{page} : {target}")
    assert not wrong, "\n".join(wrong)


@by_role
def test_impression(visit, key_page):
    found = visit(key_page, theme="sombre")
    closed = found.page.locator(".texte details:not([open])").count()
    found.page.emulate_media(media="print")
    found.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    for selector in (".entete", "#navigation", ".droite", ".outils", ".voisins"):
        assert (
            not found.page.locator(selector).first.is_visible()
            if found.page.locator(selector).count()
            else True
        )
    assert found.page.locator(".texte details:not([open])").count() == 0
    assert (
        found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    found.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert found.page.locator(".texte details:not([open])").count() == closed
