"""Recherche en français, insensible aux accents, à la casse et aux flexions.

Le même traitement sert à l’index (Python, pendant la construction) et à la requête (JavaScript,
dans la page) : minuscules, sans accents, sans mots vides, puis racine. La racine vient de tables
de suffixes ; Python les lit et JavaScript les reçoit en JSON : les deux ne peuvent pas diverger.
"""

import json
import re
import unicodedata
from functools import lru_cache

from sphinx.search import SearchLanguage
from sphinx.search.fr import french_stopwords

# Pluriels que les règles ne devinent pas.
IRREGULAR = {"travaux": "travail", "yeux": "oeil", "cieux": "ciel", "vraie": "vrai"}

# Trois étapes. À chacune, la première règle (suffixe, remplacement, longueur minimale de ce qui
# reste) qui convient s’applique, puis on passe à l’étape suivante.
PLURAL = [
    ("eaux", "eau", 1),
    ("yaux", "yau", 2),
    ("aux", "al", 2),
    ("oux", "ou", 1),
    ("eux", "eu", 1),
    ("ss", "ss", 1),
    ("s", "", 3),
]
FEMININE = [
    ("atrice", "ateur", 3),
    ("euse", "eu", 3),
    ("iere", "ier", 2),
    ("elle", "el", 2),
    ("ive", "if", 2),
]
SUFFIXES = [
    (suffix, "", 4)
    for suffix in sorted(
        "ation ition issement ement "
        "eraient erait erai eras eront erons erez era iraient irait irai iront irons irez ira "
        "issaient issait issant issante issent isson issez aient ait ant ante ent ient iez "
        "ion on er ez ee e ie ir it i ai a".split(),
        key=lambda suffix: (-len(suffix), suffix),
    )
]

WORD = re.compile(r"[^\W_]+")


@lru_cache(maxsize=None)
def normalise(text: str) -> str:
    """Minuscules sans accents ; les ligatures sont ouvertes (« œ » devient « oe »)."""
    text = text.lower().replace("œ", "oe").replace("æ", "ae").replace("ß", "ss")
    text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", text)


STOPWORDS = frozenset(normalise(word) for word in french_stopwords) | {
    "est",
    "sont",
    "etre",
    "avoir",
}


@lru_cache(maxsize=None)
def stem(word: str) -> str:
    """Racine d’un mot français (ou d’un identifiant, traité pareil)."""
    word = normalise(word)
    if len(word) < 4 or not word.isalpha():
        return word
    word = IRREGULAR.get(word, word)
    for table in (PLURAL, FEMININE, SUFFIXES):
        for suffix, replacement, least in table:
            if word.endswith(suffix) and len(word) - len(suffix) >= least:
                word = word[: len(word) - len(suffix)] + replacement
                break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouy":
        word = word[:-1]
    return word


def words(text: str) -> list[str]:
    """Mots utiles d’un texte, normalisés : ni mots vides, ni lettres isolées."""
    found = WORD.findall(normalise(text))
    return [word for word in found if len(word) > 1 and word not in STOPWORDS]


JAVASCRIPT = """
/* Même traitement que tools/sphinx_ext/search.py : tables communes. */
const BIBLE_RACINES = %(tables)s;
const BIBLE_MOTS_VIDES = new Set(%(stopwords)s);
function bibleNormaliser(texte) {
  return texte.toLowerCase().replace(/œ/g, "oe").replace(/æ/g, "ae").replace(/ß/g, "ss")
    .normalize("NFD").replace(/\\p{M}/gu, "").normalize("NFC");
}
function bibleRacine(mot) {
  mot = bibleNormaliser(mot);
  if (mot.length < 4 || !/^\\p{L}+$/u.test(mot)) return mot;
  mot = Object.hasOwn(BIBLE_RACINES.irreguliers, mot) ? BIBLE_RACINES.irreguliers[mot] : mot;
  for (const table of BIBLE_RACINES.tables) {
    for (const [suffixe, remplacement, reste] of table) {
      if (mot.endsWith(suffixe) && mot.length - suffixe.length >= reste) {
        mot = mot.slice(0, mot.length - suffixe.length) + remplacement;
        break;
      }
    }
  }
  const fin = mot.slice(-1);
  if (mot.length > 4 && fin === mot.slice(-2, -1) && !"aeiouy".includes(fin)) {
    mot = mot.slice(0, -1);
  }
  return mot;
}
function bibleMots(texte) {
  return (bibleNormaliser(texte).match(/[\\p{L}\\p{N}]+/gu) || [])
    .filter((mot) => mot.length > 1 && !BIBLE_MOTS_VIDES.has(mot));
}
var Stemmer = function () { this.stemWord = bibleRacine; };
"""


class FrenchSearch(SearchLanguage):
    """Remplace la langue « fr » de Sphinx."""

    lang = "fr"
    language_name = "French"
    stopwords: set[str] = set()
    js_stemmer_code = JAVASCRIPT % {
        "tables": json.dumps(
            {"irreguliers": IRREGULAR, "tables": [PLURAL, FEMININE, SUFFIXES]},
            separators=(",", ":"),
        ),
        "stopwords": json.dumps(sorted(STOPWORDS), separators=(",", ":")),
    }
    js_splitter_code = "function splitQuery(query) { return bibleMots(query); }"

    def split(self, input: str) -> list[str]:
        return words(input)

    def stem(self, word: str) -> str:
        return stem(word)

    def word_filter(self, word: str) -> bool:
        return bool(word)


def setup(app):
    app.add_search_language(FrenchSearch)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
