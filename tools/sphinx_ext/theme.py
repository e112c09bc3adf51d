"""Thème du livre : ce que les gabarits de tools/theme/bible attendent, page par page.

Le thème ne charge que ses deux fichiers (bible.css, bible.js), ceux des pages qui le demandent
(noms en « bible- ») et MathJax là où il y a des formules. Tout le reste, que jupyter-book et
ses extensions ajoutent d’office, est écarté puis effacé du dossier _static.
"""

import html
import re
import shutil
import unicodedata
import zlib
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import quote, urlsplit

from docutils import nodes
from sphinx import addnodes
from sphinx.builders.html._assets import _JavaScript
from sphinx.util import logging
from sphinx.util.osutil import relative_uri

from tools.sphinx_ext import search

logger = logging.getLogger(__name__)

NARROW = "\u202f"  # devant ; ! ?
NBSP = "\u00a0"  # devant : et dans « »

# MathJax : seulement ce que demande une page de formules (3.2.2, paquet sphinx-mathjax-offline).
MATHJAX_FILES = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions/*.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "output/chtml/fonts/woff-v2/*.woff",
    "a11y/assistive-mml.js",
)
MATHJAX_EXCLUDED = {"all-packages.js"}

# Fichiers que les thèmes et extensions de jupyter-book copient et que le livre n’utilise pas.
UNUSED = re.compile(
    r"^(?!bible)("
    r"basic\.css|pygments\.css|exercise\.css|proof\.css|copybutton.*|clipboard\.min\.js"
    r"|design-tabs\.js|sphinx-design.*|sphinx-thebe.*|togglebutton.*|mystnb.*\.css"
    r"|(check|play)-solid\.svg|copy-button\.svg|doctools\.js|documentation_options\.js"
    r"|searchtools\.js|sphinx_highlight\.js|(base|french)-stemmer\.js|translations\.js"
    r"|(file|minus|plus)\.png"
    r")$"
)


# --- réglages --------------------------------------------------------------------------------


def configure(app, config):
    """Chaînes françaises que les extensions prennent dans la configuration."""
    config.html_permalinks_icon = "#"
    config.html_secnumber_suffix = "\u2002"
    defaults = {
        "nb_code_prompt_show": ("Show code cell {type}", "Afficher le code"),
        "nb_code_prompt_hide": ("Hide code cell {type}", "Masquer le code"),
    }
    for name, (english, french) in defaults.items():
        if getattr(config, name, None) == english:
            setattr(config, name, french)
    config.html_copy_source = True


# --- adresses publiques ----------------------------------------------------------------------


class Repository:
    """Adresses construites depuis `repository` de _config.yml, seul endroit où elle figure."""

    def __init__(self, url, branch, folder=""):
        self.url = (url or "").rstrip("/").removesuffix(".git")
        self.branch = branch or "main"
        self.folder = f"{folder.strip('/')}/" if folder and folder.strip("/") else ""
        parts = urlsplit(self.url)
        self.github = parts.hostname == "github.com"
        self.slug = parts.path.strip("/")

    def file(self, path):
        return quote(self.folder + path)

    def colab(self, path):
        if not self.github:
            return None
        return (
            f"https://colab.research.google.com/github/{self.slug}/blob/"
            f"{quote(self.branch)}/{self.file(path)}"
        )

    def binder(self, path):
        if self.github:
            start = f"https://mybinder.org/v2/gh/{self.slug}"
        else:
            start = f"https://mybinder.org/v2/git/{quote(self.url, safe='')}"
        return f"{start}/{quote(self.branch, safe='')}?urlpath=lab/tree/{self.file(path)}"

    def edit(self, path):
        return f"{self.url}/edit/{quote(self.branch)}/{self.file(path)}"

    def issue(self, title, path):
        text = f"Page{NBSP}: {path}\n\nCe que j’ai lu, et ce que j’attendais{NBSP}:\n"
        return f"{self.url}/issues/new?title={quote(title)}&body={quote(text)}"


def actions(app, pagename, title, context):
    """Boutons de la page : lancer, télécharger, modifier, signaler."""
    repository = Repository(
        context.get("theme_repository_url"),
        context.get("theme_repository_branch"),
        context.get("theme_path_to_docs"),
    )
    source = Path(app.env.doc2path(pagename))
    try:
        path = source.relative_to(app.srcdir).as_posix()
    except ValueError:
        return []
    pathto = context["pathto"]
    found = []

    def add(icon, text, hint, url, **more):
        if url:
            found.append({"icon": icon, "text": text, "hint": hint, "url": url, **more})

    text = path
    if source.suffix == ".ipynb":
        text = re.sub(r"^notebooks/", "book/", path).removesuffix(".ipynb") + ".md"
        if repository.url:
            add(
                "lancer",
                "Colab",
                "Exécuter cette page dans Google Colab (nouvel onglet)",
                repository.colab(path),
                outside=True,
            )
            add(
                "lancer",
                "Binder",
                "Exécuter cette page dans Binder (nouvel onglet)",
                repository.binder(path),
                outside=True,
            )
        add(
            "telecharger",
            "Notebook",
            "Télécharger le notebook (.ipynb)",
            pathto(f"_sources/{context.get('sourcename') or path}", 1),
            download=source.name,
        )
        origin = Path(app.srcdir, text)
        if origin.is_file():
            copy = Path(app.outdir, "_sources", text)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin, copy)
            add(
                "telecharger",
                "Texte",
                "Télécharger le texte source (.md)",
                pathto(f"_sources/{text}", 1),
                download=origin.name,
            )
    if repository.url:
        add(
            "modifier",
            "Modifier",
            "Proposer une modification de cette page (nouvel onglet)",
            repository.edit(text),
            outside=True,
        )
        add(
            "signaler",
            "Signaler",
            "Signaler un problème dans cette page (nouvel onglet)",
            repository.issue(title, text),
            outside=True,
        )
    return found


# --- navigation ------------------------------------------------------------------------------


def number_of(env, docname):
    number = env.toc_secnumbers.get(docname, {}).get("")
    return ".".join(map(str, number)) if number else ""


def book_tree(app):
    """Parties, chapitres et sections : [{caption, pages: [{doc, title, number, pages}]}]."""
    env = app.env
    if getattr(app, "_bible_tree", None) is not None:
        return app._bible_tree
    seen = set()

    def page(docname, title):
        if docname not in env.titles or docname in seen:
            return None
        seen.add(docname)
        return {
            "doc": docname,
            "title": title or env.titles[docname].astext(),
            "number": number_of(env, docname),
            "pages": [p for _, pages in trees(docname) for p in pages],
        }

    def trees(docname):
        for toctree in env.get_doctree(docname).findall(addnodes.toctree):
            pages = [page(target, text) for text, target in toctree["entries"]]
            yield toctree.get("caption") or "", [p for p in pages if p]

    root = app.config.root_doc
    seen.add(root)
    app._bible_tree = [{"caption": c, "pages": p} for c, p in trees(root) if p]
    return app._bible_tree


def holds(page, docname):
    return page["doc"] == docname or any(holds(child, docname) for child in page["pages"])


def navigation_html(app, pagename):
    """Arbre de navigation : des listes et des `<details>`, la page lue repérée."""
    builder = app.builder
    here = builder.get_target_uri(pagename)

    def link(page, text=None):
        uri = relative_uri(here, builder.get_target_uri(page["doc"])) or "#"
        current = ' aria-current="page"' if page["doc"] == pagename else ""
        label = html.escape(text or page["title"])
        number = f'<span class="numero">{page["number"]}</span> ' if page["number"] else ""
        if text:
            number = ""
        return f'<a href="{html.escape(uri)}"{current}>{number}<span>{label}</span></a>'

    def item(page):
        if not page["pages"]:
            return f"<li>{link(page)}</li>"
        inside = holds(page, pagename)
        number = f'<span class="numero">{page["number"]}</span> ' if page["number"] else ""
        children = "".join(map(item, page["pages"]))
        return (
            f"<li><details{' open' if inside else ''}><summary>{number}"
            f"<span>{html.escape(page['title'])}</span></summary>"
            f"<ol><li>{link(page, 'Ouverture du chapitre')}</li>{children}</ol></details></li>"
        )

    parts = []
    for part in book_tree(app):
        items = "".join(map(item, part["pages"]))
        if part["caption"]:
            parts.append(f'<p class="partie">{html.escape(part["caption"])}</p>')
        parts.append(f"<ol>{items}</ol>")
    return "".join(parts)


# --- numérotation ----------------------------------------------------------------------------


def hide_headings(app, env):
    """Les titres d’une ouverture ne comptent pas : sa première section porte le numéro 1.1."""
    app._bible_tocs = {}
    for docname in env.toctree_includes:
        toc = env.tocs.get(docname)
        if toc is None or docname == app.config.root_doc:
            continue
        app._bible_tocs[docname] = toc
        shown = toc.deepcopy()
        env.tocs[docname] = shown
        for item in shown.children[:1]:
            for listing in [c for c in item.children if isinstance(c, nodes.bullet_list)]:
                listing.children = []
                for toctree in [
                    t
                    for kept in toc.children[0].children
                    if isinstance(kept, nodes.bullet_list)
                    for t in kept.findall(addnodes.toctree)
                ]:
                    listing += toctree.deepcopy()
                break
    return []


def restore_headings(app, env):
    env.tocs.update(app._bible_tocs)
    return []


def breadcrumbs(app, pagename):
    """De la couverture à la page : [(titre, adresse ou None)]."""
    if pagename == app.config.root_doc:
        return []
    here = app.builder.get_target_uri(pagename)

    def uri(docname):
        return relative_uri(here, app.builder.get_target_uri(docname)) or "#"

    def search_in(pages, trail):
        for page in pages:
            label = f"{page['number']} {page['title']}".strip()
            if page["doc"] == pagename:
                return trail
            if found := search_in(page["pages"], [*trail, (label, uri(page["doc"]))]):
                return found
        return None

    for part in book_tree(app):
        trail = [("Accueil", uri(app.config.root_doc))]
        if part["caption"]:
            trail.append((part["caption"], None))
        if found := search_in(part["pages"], trail):
            return found
    return [("Accueil", uri(app.config.root_doc))]


def local_contents(app, pagename):
    """Titres de la page sur deux niveaux, rendus en HTML."""
    toc = app.env.tocs.get(pagename)
    if toc is None:
        return ""

    def entries(items, depth):
        parts = []
        for item in items.children:
            if not isinstance(item, nodes.list_item):
                continue
            reference = next(iter(item.findall(nodes.reference)), None)
            if reference is None or not reference.get("anchorname"):
                continue
            label = app.builder.render_partial(
                nodes.inline("", "", *[child.deepcopy() for child in reference.children])
            )["fragment"].strip()
            label = re.sub(r"</?(?:p|div|a)\b[^>]*>", "", label)
            inner = ""
            if depth > 1:
                for child in item.children:
                    if isinstance(child, nodes.bullet_list):
                        inner += entries(child, depth - 1)
            parts.append(
                f'<li><a href="{html.escape(reference["anchorname"])}">'
                f"<span>{label}</span></a>{inner}</li>"
            )
        return f"<ol>{''.join(parts)}</ol>" if parts else ""

    first = next((c for c in toc.children if isinstance(c, nodes.list_item)), None)
    lists = [c for c in first.children if isinstance(c, nodes.bullet_list)] if first else []
    return "".join(entries(item, 2) for item in lists)


def neighbour(app, pagename, docname):
    if not docname or docname not in app.env.titles:
        return None
    here = app.builder.get_target_uri(pagename)
    return {
        "link": relative_uri(here, app.builder.get_target_uri(docname)) or "#",
        "number": number_of(app.env, docname),
        "title": app.env.titles[docname].astext(),
    }


# --- corps de la page ------------------------------------------------------------------------

HEADERLINK = re.compile(r'<a class="headerlink" href="([^"]*)" title="[^"]*">[^<]*</a>')
PERMALINK = (
    r'<a class="headerlink" href="\1" title="Lien permanent" aria-label="Lien permanent">#</a>'
)
EQUATION = re.compile(
    r'<span class="eqno">\(([^)<]*)\)<a class="headerlink" href="([^"]*)"[^>]*>[^<]*</a></span>'
)
NUMBER = (
    r'<span class="eqno"><a href="\2" title="Lien permanent" '
    r'aria-label="Équation \1, lien permanent">(\1)</a></span>'
)
IMAGE = re.compile(r"<img (?![^>]*\bloading=)")
TABLE = re.compile(r"<table\b")
PLAIN = re.compile(r'<span class="(?:n|p|o|w|nn|nb|nv|na|py|vm|pm|x)">([^<]*)</span>')
TOGGLE = '<summary aria-label="Toggle hidden content">'


@lru_cache(maxsize=None)
def png_size(path):
    """Largeur et hauteur d’un PNG, lues dans son en-tête ; None pour un autre format."""
    with open(path, "rb") as file:
        head = file.read(24)
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def image_sizes(app, body):
    """Dimensions des images différées : la page ne saute pas quand elles arrivent."""
    sources = {name: Path(app.srcdir, path) for path, name in app.builder.images.items()}

    def sized(match):
        tag = match.group(0)
        source = sources.get(match.group(1))
        if "width=" in tag or source is None or not source.is_file():
            return tag
        size = png_size(str(source))
        return tag if size is None else f'{tag[:4]} width="{size[0]}" height="{size[1]}"{tag[4:]}'

    return re.sub(r'<img [^>]*src="[^"]*/_images/([^"/]+)"[^>]*>', sized, body)


def improve(body):
    """Retouches du HTML produit : liens permanents, tableaux et images dans leur boîte."""
    body = EQUATION.sub(NUMBER, body)
    body = HEADERLINK.sub(PERMALINK, body)
    body = TABLE.sub('<div class="defile defile-tableau"><table', body)
    body = body.replace("</table>", "</table></div>")
    body = PLAIN.sub(
        r"\1", body
    )  # jetons que la feuille de style ne colore pas : un tiers du poids
    body = IMAGE.sub('<img loading="lazy" decoding="async" ', body)
    return body.replace(TOGGLE, "<summary>")


def own(filename):
    return bool(filename) and Path(str(filename).split("?")[0]).name.startswith("bible-")


def scripts_of(assets):
    """Scripts demandés par les pages du livre, toujours différés."""
    kept = []
    for script in assets:
        filename = getattr(script, "filename", script)
        if not own(filename):
            continue
        attributes = dict(getattr(script, "attributes", {}))
        if not {"defer", "async", "type"} & set(attributes):
            attributes["defer"] = "defer"
        if attributes not in [k.attributes for k in kept if k.filename == filename]:
            kept.append(
                _JavaScript(filename, priority=getattr(script, "priority", 500), **attributes)
            )
    return kept


@lru_cache(maxsize=None)
def version_of(path):
    return f"{zlib.crc32(Path(path).read_bytes()):08x}"


def alphabetical(entries):
    """Les entrées d’une lettre de l’index dans l’ordre du dictionnaire : é se range avec e."""

    def key(entry):
        name = unicodedata.normalize("NFD", entry[0].casefold().replace("œ", "oe"))
        return "".join(c for c in name if not unicodedata.combining(c)), entry[0]

    return sorted(entries, key=key)


def page_context(app, pagename, templatename, context, doctree):
    if app.builder.format != "html":
        return
    if "genindexentries" in context:
        context["genindexentries"] = [
            (letter, alphabetical(entries)) for letter, entries in context["genindexentries"]
        ]
    static = Path(__file__).parents[1] / "theme" / "bible" / "static"
    body = image_sizes(app, improve(context.get("body") or ""))
    context["body"] = body
    root = pagename == app.config.root_doc
    known = pagename in app.env.titles
    title = app.env.titles[pagename].astext() if known else ""

    context["script_files"] = scripts_of(context.get("script_files", []))
    context["css_files"] = [
        css for css in context.get("css_files", []) if own(getattr(css, "filename", css))
    ]
    classes = []
    if root:
        classes.append("cover")
    if re.search(r'class="[^"]*(?<![\w-])(?:bible-)?ouverture(?![\w-])', body):
        classes.append("page-ouverture")
    if re.search(
        r'<(?:aside|div) class="[^"]*(?<![\w-])(?:margin|sidebar|bible-marge)(?![\w-])', body
    ):
        classes.append("avec-marges")
    related = app.builder.relations.get(pagename) or (None, None, None)
    context["bible"] = {
        "classes": " ".join(classes),
        "root": root,
        "known": known,
        "number": number_of(app.env, pagename) if known else "",
        "title": title,
        "math": 'class="math' in body,
        "navigation": navigation_html(app, pagename),
        "breadcrumbs": breadcrumbs(app, pagename) if known else [],
        "contents": local_contents(app, pagename) if known and not root else "",
        "actions": actions(app, pagename, title, context) if known else [],
        "prev": neighbour(app, pagename, related[1]) if known else None,
        "next": neighbour(app, pagename, related[2]) if known else None,
        "versions": {path.name: version_of(str(path)) for path in static.iterdir()},
    }


# --- fichiers --------------------------------------------------------------------------------


def copy_mathjax(target):
    """Copie les composants utiles de MathJax, une fois."""
    origin = Path(
        distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax")
    )
    for pattern in MATHJAX_FILES:
        for path in origin.glob(pattern):
            if path.name in MATHJAX_EXCLUDED:
                continue
            copy = target / path.relative_to(origin)
            if not copy.exists() or copy.stat().st_size != path.stat().st_size:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)


HOME = """<!DOCTYPE html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={target}">
<title>{title}</title>
</head>
<body><main><p><a href="{target}">{title}</a></p></main></body>
</html>
"""


def finish(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    copy_mathjax(static / "vendor" / "mathjax")
    for path in static.iterdir():
        if path.is_file() and UNUSED.match(path.name):
            path.unlink()
    home = Path(app.outdir, "index.html")
    target = f"{app.config.root_doc}.html"
    if app.config.root_doc != "index" and "index" not in app.env.all_docs:
        home.write_text(
            HOME.format(target=target, title=html.escape(app.config.html_title)), encoding="utf-8"
        )
    for name in ("styles", "scripts", "images", "vendor/fontawesome"):
        folder = static / name
        if any(
            (folder / mark).exists()
            for mark in ("sphinx-book-theme.css", "sphinx-book-theme.js", "webfonts")
        ):
            shutil.rmtree(folder)


def reset_tree(app, *_):
    app._bible_tree = None


def setup(app):
    search.setup(app)
    app.connect("config-inited", configure, priority=900)
    app.connect("env-get-updated", hide_headings, priority=400)
    app.connect("env-get-updated", restore_headings, priority=600)
    app.connect("env-updated", reset_tree)
    app.connect("html-page-context", page_context, priority=950)
    app.connect("build-finished", finish, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
