"""La bibliographie et les citations, en français : « et », « et coll. », « dans », « p. »."""

import re
from dataclasses import dataclass, field

from pybtex.plugin import register_plugin as register_pybtex
from pybtex.richtext import Symbol, Text
from pybtex.style.formatting import toplevel
from pybtex.style.formatting.unsrt import Style as Unsrt
from pybtex.style.names import plain
from pybtex.style.sorting.author_year_title import SortingStyle
from pybtex.style.template import (
    field as entry_field,
)
from pybtex.style.template import (
    first_of,
    href,
    join,
    names,
    optional,
    optional_field,
    sentence,
    tag,
    words,
)
from sphinxcontrib.bibtex.plugin import register_plugin as register_bibtex
from sphinxcontrib.bibtex.style.names import last
from sphinxcontrib.bibtex.style.referencing import PersonStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

NAME = "bible"


def dashes(text):
    """« 379--423 » devient « 379–423 »."""
    return Text(Symbol("ndash")).join(text.split(re.compile(r"-+")))


def edition(number):
    """Le champ `edition`, écrit en chiffres : « 1re édition », « 4e édition »."""
    return f"{number}{'re' if str(number) == '1' else 'e'} édition"


YEAR = entry_field("year")
PAGES = words["p.", entry_field("pages", apply_func=dashes)]
VOLUME = join["vol. ", entry_field("volume")]
NUMBER = join["nº ", entry_field("number", apply_func=dashes)]


class PlainNames(plain.NameStyle):
    """Prénom et nom ; « and others », dans le fichier .bib, se lit « et coll. »."""

    def format(self, person, abbr=False):
        return Text("coll.") if str(person) == "others" else super().format(person, abbr)


class LastNames(last.LastNameStyle):
    """Le nom seul, pour les citations."""

    def format(self, person, abbr=False):
        return Text("coll.") if str(person) == "others" else super().format(person, abbr)


class FrenchStyle(Unsrt):
    """Une référence par ligne, triée par auteur ; les titres restent tels qu’ils sont écrits."""

    default_sorting_style = SortingStyle
    default_name_style = PlainNames

    def format_names(self, role, as_sentence=True):
        listed = names(role, sep=", ", sep2=" et ", last_sep=" et ")
        return sentence[listed] if as_sentence else listed

    def format_title(self, e, which_field, as_sentence=True):
        title = entry_field(which_field)
        return sentence[title] if as_sentence else title

    def authors(self):
        return first_of[
            optional[self.format_names("author")],
            optional[sentence[join[self.format_names("editor", as_sentence=False), " (dir.)"]]],
        ]

    def get_article_template(self, e):
        place = sentence(sep=", ")[
            tag("em")[entry_field("journal")],
            optional[VOLUME],
            optional[NUMBER],
            optional[PAGES],
            YEAR,
        ]
        return self.assembled(self.format_title(e, "title"), place, e)

    def get_book_template(self, e):
        place = sentence(sep=", ")[
            optional_field("publisher"),
            optional[entry_field("edition", apply_func=edition)],
            YEAR,
        ]
        return self.assembled(self.format_btitle(e, "title"), place, e)

    def get_inproceedings_template(self, e):
        editors = join[self.format_names("editor", as_sentence=False), " (dir.)"]
        place = sentence(sep=", ")[
            join["Dans ", tag("em")[entry_field("booktitle")]],
            optional[editors],
            optional[VOLUME],
            optional[PAGES],
            optional_field("publisher"),
            YEAR,
        ]
        return self.assembled(self.format_title(e, "title"), place, e)

    def get_misc_template(self, e):
        place = sentence(sep=", ")[
            optional_field("howpublished"),
            optional_field("institution"),
            optional_field("school"),
            optional[NUMBER],
            YEAR,
        ]
        return self.assembled(self.format_title(e, "title"), place, e)

    get_incollection_template = get_inproceedings_template
    get_techreport_template = get_misc_template
    get_phdthesis_template = get_misc_template
    get_mastersthesis_template = get_misc_template

    def assembled(self, title, place, e):
        return toplevel[
            self.authors(),
            title,
            place,
            optional[sentence[entry_field("note")]],
            self.format_web_refs(e),
        ]

    def format_web_refs(self, e):
        """Une adresse arXiv répétée par le numéro arXiv n’est écrite qu’une fois."""
        if e.fields.get("eprint") and "arxiv.org" in e.fields.get("url", ""):
            return sentence[
                optional[self.format_eprint(e)],
                optional[self.format_doi(e)],
            ]
        return super().format_web_refs(e)

    def format_url(self, e):
        url = entry_field("url", raw=True)
        return href(url)[url]


@dataclass
class FrenchReferenceStyle(AuthorYearReferenceStyle):
    """Citations auteur-année : [Hu et coll., 2022], [Eckart et Young, 1936]."""

    person: PersonStyle = field(
        default_factory=lambda: PersonStyle(
            style=NAME, sep=", ", sep2=" et ", last_sep=" et ", other=Text(" et coll.")
        )
    )


def setup(app):
    register_pybtex("pybtex.style.formatting", NAME, FrenchStyle, force=True)
    register_pybtex("pybtex.style.names", NAME, LastNames, force=True)
    register_bibtex(
        "sphinxcontrib.bibtex.style.referencing", NAME, FrenchReferenceStyle, force=True
    )
    app.setup_extension("sphinxcontrib.bibtex")
    return {"parallel_read_safe": True}
