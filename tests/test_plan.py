"""Le plan du livre et ses directives : données cohérentes, pages rendues, carte accessible."""

import json
import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from projet_sphinx import build

from tools.sphinx_ext.map_layout import (
    NODE_H,
    NODE_W,
    ancestors,
    lay_out,
    layered,
    reduced,
    shortened,
)
from tools.sphinx_ext.plan import (
    MEASURES,
    PLAN,
    docname_of,
    duration,
    graph_of,
    hours_of,
    label_of,
    load_plan,
    memory_fr,
    seconds_fr,
)

ROOT = Path(__file__).parents[1]
LEVELS = {"débutant", "intermédiaire", "avancé", "expert"}
SVG = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="module")
def plan():
    return load_plan(ROOT)


# --- les données -------------------------------------------------------------------------------

def test_douze_parties_trente_huit_chapitres_quinze_projets(plan):
    assert [p["numero"] for p in plan["parties"]] == list(range(1, 13))
    assert [c["numero"] for c in plan["chapitres"]] == list(range(1, 39))
    assert [p["numero"] for p in plan["projets"]] == list(range(1, 16))
    assert len(plan["annexes"]) == 9
    parts = {c["partie"] for c in plan["chapitres"]}
    assert parts == {1, 2, 3, 4, 5, 6, 7, 9, 10, 11}       # VIII : projets ; XII : étude de cas
    order = [c["partie"] for c in plan["chapitres"]]
    assert order == sorted(order)


def test_les_champs_sont_remplis(plan):
    slugs = [c["slug"] for c in plan["chapitres"]]
    assert len(set(slugs)) == 38
    for c in plan["chapitres"]:
        assert re.fullmatch(rf"ch{c['numero']:02d}-[a-z0-9-]+", c["slug"])
        assert c["niveau"] in LEVELS - {"expert"} and 1 <= c["heures"] <= 20
        assert 2 <= len(c["construit"]) <= 4
        assert c["promesse"].endswith(".") and c["promesse"].count(".") == 1
        assert len(c["court"]) <= 30
    for p in plan["projets"]:
        assert p["niveau"] in LEVELS and p["prerequis"]


def test_les_textes_sont_tapes_a_la_francaise(plan):
    source = (ROOT / PLAN).read_text(encoding="utf-8")
    body = "\n".join(line for line in source.splitlines() if not line.startswith("#"))
    assert "'" not in body and "\u00a0" not in body and "..." not in body


def test_le_graphe_est_acyclique_et_remonte_toujours(plan):
    graph = graph_of(plan)
    for number, direct in graph.items():
        assert all(p in graph and p < number for p in direct)
        assert number not in ancestors(graph, number)
        assert number == 1 or 1 in ancestors(graph, number)
    for project in plan["projets"]:
        assert set(project["prerequis"]) <= set(graph)


def test_les_chapitres_prets_ont_leur_page(plan):
    ready = [c for c in plan["chapitres"] if c["statut"] == "pret"]
    assert [c["numero"] for c in ready] == [1, 3, 5, 7, 11, 12, 13, 15]
    for c in ready:
        assert (ROOT / f"{c['page']}.md").exists()
    for entry in [*plan["chapitres"], *plan["projets"]]:
        assert entry["statut"] in {"pret", "a-venir"}
        assert (entry["statut"] == "pret") == ("page" in entry)
    for annexe in plan["annexes"]:
        if "page" in annexe and annexe["page"] != "genindex":
            assert (ROOT / f"{annexe['page']}.md").exists()


def test_les_parcours_respectent_les_prerequis(plan):
    graph = graph_of(plan)
    assert [p["role"] for p in plan["parcours"]] == [
        "Développeur backend", "Tech lead", "Data scientist ou ingénieur ML", "DevOps ou SRE",
        "Product manager"]
    for path in plan["parcours"]:
        seen = set()
        for step in path["chapitres"]:
            missing = set(graph[step["chapitre"]]) - seen
            assert not missing, f"{path['id']} : le chapitre {step['chapitre']} suppose {missing}"
            assert step["chapitre"] not in seen and step["pourquoi"]
            seen.add(step["chapitre"])


def test_heures(plan):
    assert hours_of(plan, {"chapitre": 1}) == plan["par_numero"][1]["heures"]
    assert hours_of(plan, {"chapitre": 1, "survol": True}) == 3
    assert hours_of(plan, {"chapitre": 16, "survol": True}) == 2.5       # 9 h / 4, à la demi-heure
    assert [duration(h) for h in (2, 2.5, 0.5, 12)] == ["2 h", "2 h 30", "30 min", "12 h"]
    assert (seconds_fr(3.21), seconds_fr(75.2), seconds_fr(60), seconds_fr(None)) == (
        "3,2\u00a0s", "75\u00a0s", "60\u00a0s", "—")
    assert memory_fr(1210) == "1\u202f210\u00a0Mo"


# --- la mise en page ---------------------------------------------------------------------------

def test_la_reduction_ne_perd_aucun_prerequis(plan):
    graph = graph_of(plan)
    small = reduced(graph)
    assert all(ancestors(small, n) == ancestors(graph, n) for n in graph)
    assert sum(map(len, small.values())) <= sum(map(len, graph.values()))


def test_les_rangees(plan):
    graph = graph_of(plan)
    rows = shortened(graph, layered(graph, 5), 5)
    place = {n: r for r, row in enumerate(rows) for n in row}
    assert set(place) == set(graph) and max(map(len, rows)) <= 5
    assert all(place[p] < place[n] for n in graph for p in graph[n])


def test_les_boites_ne_se_touchent_pas(plan):
    layout = lay_out(graph_of(plan))
    corners = list(layout.nodes.values())
    for i, (x1, y1) in enumerate(corners):
        assert 0 <= x1 and x1 + NODE_W <= layout.width and y1 + NODE_H <= layout.height
        for x2, y2 in corners[i + 1:]:
            assert abs(x1 - x2) >= NODE_W + 8 or abs(y1 - y2) >= NODE_H + 8
    for s in layout.segments:                    # un couloir ne traverse aucune boîte
        if s.straight:
            assert not any(y == s.y1 - NODE_H and x - 2 < s.x1 < x + NODE_W + 2
                           for x, y in corners)
    assert lay_out(graph_of(plan)) == layout     # la même carte à chaque fois
    assert layout.width <= 760


def test_petits_graphes():
    assert lay_out({1: []}).nodes.keys() == {1}
    assert lay_out({1: [], 2: [1], 3: [2, 1]}).segments[0].targets == {2}


# --- les pages ---------------------------------------------------------------------------------

FILES = {
    "book/index.md": "# Accueil\n\n```{chiffres}\n```\n\n"
                     "```{carte}\n```\n\n```{toctree}\nsommaire\nparcours\ntemps\n"
                     "ch01-mathematiques/index\nglossaire\n```\n",
    "book/sommaire.md": "# Sommaire\n\n```{sommaire}\n```\n",
    "book/parcours.md": "# Parcours\n\n```{parcours}\n```\n",
    "book/temps.md": "# Temps\n\n```{temps-execution}\n```\n",
    "book/glossaire.md": "# Glossaire\n\nVide.\n",
    "book/ch01-mathematiques/index.md": "# Mathématiques pour les LLM\n\n"
        "```{ouverture} ch01-mathematiques\n```\n\n```{toctree}\nvecteurs\n```\n",
    "book/ch01-mathematiques/vecteurs.md": "# Vecteurs, l'essai\n\nTexte.\n",
    PLAN: (ROOT / PLAN).read_text(encoding="utf-8"),
    MEASURES: json.dumps({"ch01-mathematiques/vecteurs": {
        "seconds": 3.2, "memory_mb": 1210, "code_cells": 38,
        "budget": {"seconds": 60, "memory_mb": 1900}}, "version": 1}),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build(tmp_path_factory.mktemp("plan"), FILES)


def tree_of(html: str, pattern: str):
    """Le fragment SVG, analysé comme du XML : il doit être bien formé."""
    fragment = re.search(pattern, html, re.DOTALL)[0]
    return ElementTree.fromstring(fragment.replace("<svg", '<svg xmlns="http://www.w3.org/1999/xhtml"'))


def test_construit_sans_avertissement(site):
    assert site.warnings == ""


def test_chaque_chapitre_de_la_carte_est_un_lien_nomme(site, plan):
    svg = tree_of(site.html("book/index"), r"<svg viewBox.*?</svg>")
    assert svg.get("role") == "group" and svg.get("aria-label")
    items = [g for g in svg.iter(f"{SVG}g") if g.get("role") == "listitem"]
    assert len(items) == 38
    pages = {c["numero"]: c for c in plan["chapitres"]}
    seen = set()
    for item in items:
        (link,) = item.findall(f"{SVG}a")
        number = int(re.match(r"c(\d+) ", item.get("class"))[1])
        seen.add(number)
        name = label_of(plan, pages[number])
        assert link.get("aria-label") == link.find(f"{SVG}title").text == name
        ready = pages[number]["statut"] == "pret"
        assert ("prêt" if ready else "à venir") in link.get("aria-label")
        if number == 1:  # le seul chapitre prêt dont ce petit site a la page
            assert link.get("href") == "ch01-mathematiques/index.html"
        else:
            assert link.get("href") == f"sommaire.html#chapitre-{number}"
    assert seen == set(pages)
    style = svg.find(f"{SVG}style").text
    assert "\u00a0" not in style and all(f".c{n}:is(:hover" in style for n in pages)
    hidden = [g for g in svg.iter(f"{SVG}g") if g.get("aria-hidden") == "true"]
    assert all(f.tag == f"{SVG}path" for f in hidden[0])


def test_la_carte_existe_aussi_en_liste(site):
    html = site.html("book/index")
    listing = html[html.index("bible-carte-liste"):]
    assert len(re.findall(r'class="bible-entree"', listing)) == 38
    assert 'href="sommaire.html#chapitre-38"' in listing


def test_les_ancres_du_sommaire_existent(site, plan):
    html = site.html("book/sommaire")
    for number in range(1, 39):
        assert f'id="chapitre-{number}"' in html
    assert len(re.findall(r'id="projet-\d+"', html)) == 15
    assert len(re.findall(r'id="partie-\d+"', html)) == 12
    text = unescape(re.sub(r"<[^>]+>", "", html))
    ready = sum(c["statut"] == "pret" for c in plan["chapitres"])
    assert f"{ready} chapitres sur 38 sont prêts" in text
    assert 'href="ch01-mathematiques/vecteurs.html">Vecteurs, l’essai' in html
    projects = sum(p["statut"] == "a-venir" for p in plan["projets"])
    assert html.count("bible-statut-a-venir") == 38 - ready + projects + 6 + 1
    assert 'href="../genindex.html"' in html


def test_ouverture(site, plan):
    html = unescape(site.html("book/ch01-mathematiques/index"))
    assert html.index("bible-surtitre") < html.index("<h1>")
    assert "Partie I, Fondations · Chapitre 1" in html
    for words in (plan["par_numero"][1]["promesse"], *plan["par_numero"][1]["construit"],
                  "À la fin, vous saurez construire", "intermédiaire", "environ 12\u00a0h",
                  "aucun autre chapitre"):
        assert words in html
    assert 'href="../sommaire.html#chapitre-3"' in html
    assert 'href="../index.html#carte"' in html
    svg = tree_of(html, r'<svg class="bible-miniature".*?</svg>')
    assert svg.get("role") == "img" and "37 chapitres en dépendent" in svg.get("aria-label")
    kinds = [r.get("class") for r in svg.iter(f"{SVG}rect")]
    assert kinds.count("ici") == 1 and kinds.count("apres") == 37


def test_ouverture_inconnue(tmp_path):
    site = build(tmp_path, {"book/index.md": "# A\n\n```{ouverture} ch99-rien\n```\n",
                            PLAN: FILES[PLAN]})
    assert "aucun chapitre « ch99-rien »" in site.warnings


def test_parcours(site, plan):
    html = unescape(site.html("book/parcours"))
    for path in plan["parcours"]:
        total = sum(hours_of(plan, s) for s in path["chapitres"])
        start = html.index(f'id="parcours-{path["id"]}"')
        block = html[start:html.index("</section>", start)]
        assert duration(total).replace(" ", "\u00a0", 1) in block
        assert block.count("<li") == len(path["chapitres"])


def test_temps_execution(site):
    html = unescape(site.html("book/temps"))
    assert 'href="ch01-mathematiques/vecteurs.html">Vecteurs, l’essai' in html
    for value in ("3,2\u00a0s", "60\u00a0s", "1\u202f210\u00a0Mo", "1\u202f900\u00a0Mo", ">38<"):
        assert value in html


def test_temps_execution_suit_le_sommaire(tmp_path):
    names = ("b", "a", "z")
    entry = {"seconds": 1, "memory_mb": 10}
    files = {
        "book/index.md": "# T\n\n```{temps-execution}\n```\n",
        **{f"book/{name}.md": f"---\norphan: true\n---\n# {name}\n" for name in names},
        "_toc.yml": "root: book/index\nchapters:\n- file: book/z\n- file: book/b\n",
        PLAN: FILES[PLAN],
        MEASURES: json.dumps(dict.fromkeys(names, entry)),
    }
    html = build(tmp_path, files).html("book/index")
    places = [html.index(f'href="{name}.html"') for name in ("z", "b", "a")]
    assert places == sorted(places)


def test_les_chiffres_de_la_couverture_viennent_des_pages(site):
    html = site.html("book/index")
    assert "<strong>1</strong> notebook exécuté</li>" in html
    assert "équation" not in html  # ce que le livre n’a pas n’est pas annoncé
    assert "bible-couverture.css" in html


def test_temps_execution_sans_mesures(tmp_path):
    page = "# T\n\n```{temps-execution}\n```\n"
    site = build(tmp_path, {"book/index.md": page, PLAN: FILES[PLAN]})
    assert "Aucun notebook n’a encore été mesuré" in site.html("book/index")
    assert site.warnings == ""


def test_feuille_de_style_seulement_ou_elle_sert(site):
    assert "bible-plan.css" in site.html("book/sommaire")
    assert "bible-plan.css" not in site.html("book/glossaire")


def test_latex(tmp_path):
    site = build(tmp_path, FILES, builder="latex")
    tex = next(site.out.glob("*.tex")).read_text(encoding="utf-8")
    assert site.warnings == ""
    assert "Histoire et évolution" in tex and "<svg" not in tex
    assert "saurez construire" in tex


def test_docname_of(site):
    env, page = site.app.env, "ch01-mathematiques"
    assert docname_of(env, f"{page}/vecteurs") == f"book/{page}/vecteurs"
    assert docname_of(env, page) == f"book/{page}/index"
    assert docname_of(env, "rien") is None
