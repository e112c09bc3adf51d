"""Une expression régulière devient un automate fini sur des octets.

Le lecteur descend dans l’expression, et chaque règle rend un morceau d’automate.

Le langage est celui de `re.fullmatch(expression, texte, re.ASCII)` pour : caractères, `.`, classes
`[a-z]` et `[^…]`, `\\d \\w \\s \\D \\W \\S \\n \\r \\t`, groupes, `|`, `* + ? {m} {m,} {m,n}`. Ni ancres,
ni références, ni regards en avant : un motif y mêle plus qu’un automate fini.
"""

from llmbook.generation_automata import Dfa, Nfa, Ranges, complement

CLASSES: dict[str, Ranges] = {
    "d": [(48, 57)],
    "w": [(48, 57), (65, 90), (95, 95), (97, 122)],
    "s": [(9, 13), (32, 32)],
}
CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}


def compile_regex(pattern: str) -> Dfa:
    """L’automate des textes qui s’écrivent exactement selon `pattern` (en UTF-8).

    ValueError si l’expression est mal formée, sort de la grammaire, ou demande trop d’états.
    """
    nfa = Nfa()
    return nfa.determinized(*_Parser(pattern, nfa).parse())


class _Parser:
    """Descente récursive ; chaque règle rend un morceau d’automate (entrée, sortie)."""

    def __init__(self, pattern: str, nfa: Nfa):
        self.text, self.at, self.nfa = pattern, 0, nfa

    def parse(self) -> tuple[int, int]:
        piece = self.alternatives()
        if self.at < len(self.text):
            self.fail("parenthèse fermée sans être ouverte")
        return piece

    def fail(self, why: str):
        raise ValueError(f"expression {self.text!r}, caractère {self.at + 1} : {why}")

    def peek(self, *expected: str) -> bool:
        return any(self.text.startswith(word, self.at) for word in expected)

    def take(self, word: str) -> bool:
        found = self.peek(word)
        self.at += len(word) * found
        return found

    def next(self) -> str:
        if self.at == len(self.text):
            self.fail("l’expression s’arrête trop tôt")
        self.at += 1
        return self.text[self.at - 1]

    def alternatives(self) -> tuple[int, int]:
        first, last = self.nfa.new(), self.nfa.new()
        while True:
            a, b = self.sequence()
            self.nfa.free[first].append(a)
            self.nfa.free[b].append(last)
            if not self.take("|"):
                return first, last

    def sequence(self) -> tuple[int, int]:
        first = last = self.nfa.new()
        while self.at < len(self.text) and not self.peek("|", ")"):
            a, b = self.repeated()
            self.nfa.free[last].append(a)
            last = b
        return first, last

    def repeated(self) -> tuple[int, int]:
        begin = self.at
        piece = self.atom()
        end = self.at
        low, high = self.bounds()
        if (low, high) == (1, 1):
            return piece
        if self.peek("*", "+", "?", "{"):
            self.fail("répétition d’une répétition : ajoutez des parenthèses")
        after, free = self.at, self.nfa.free
        first = here = self.nfa.new()
        last = self.nfa.new()
        copies = max(low, 1) if high is None else high
        for copy in range(copies):  # l’atome est relu pour chaque copie
            self.at = begin
            a, b = self.atom()
            assert self.at == end
            free[here].append(a)
            if copy >= low:
                free[here].append(last)
            if high is None and copy == copies - 1:
                free[b].append(a)  # la dernière copie peut recommencer
            here = b
        free[here].append(last)
        self.at = after
        return first, last

    def bounds(self) -> tuple[int, int | None]:
        for sign, pair in {"*": (0, None), "+": (1, None), "?": (0, 1)}.items():
            if self.take(sign):
                return pair
        if not self.take("{"):
            return 1, 1
        inside, brace, _ = self.text[self.at :].partition("}")
        low, comma, high = inside.partition(",")
        if not brace or not low.isdecimal() or (high and not high.isdecimal()):
            self.fail("{m}, {m,} ou {m,n} est attendu ; pour une accolade, écrivez \\{")
        self.at += len(inside) + 1
        top = int(high) if high else None if comma else int(low)
        if top is not None and top < int(low):
            self.fail("bornes de répétition inversées")
        return int(low), top

    def atom(self) -> tuple[int, int]:
        character = self.next()
        if character == "(":
            if self.take("?") and not self.take(":"):
                self.fail("seul (?:…) est permis après « (? »")
            piece = self.alternatives()
            if not self.take(")"):
                self.fail("parenthèse ouverte sans être fermée")
            return piece
        if character in "*+?{":
            self.fail(f"rien à répéter avant « {character} »")
        if character in "^$":
            self.fail("pas d’ancre : l’automate lit toujours le texte entier")
        if character == "[":
            return self.nfa.characters(self.bracket())
        if character == ".":
            return self.nfa.characters(complement([(10, 10)]))
        if character == "\\":
            return self.nfa.characters(self.escape())
        return self.nfa.characters([(ord(character), ord(character))])

    def escape(self) -> Ranges:
        letter = self.next()
        if letter in CLASSES:
            return CLASSES[letter]
        if letter.lower() in CLASSES:
            return complement(CLASSES[letter.lower()])
        if letter in CONTROLS:
            return [(ord(CONTROLS[letter]),) * 2]
        if letter.isalnum():
            self.fail(f"échappement \\{letter} inconnu")
        return [(ord(letter), ord(letter))]

    def bracket(self) -> Ranges:
        negated, ranges = self.take("^"), []
        while not (ranges and self.take("]")):  # « ] » en tête est un caractère, comme dans re
            low = self.escape() if self.take("\\") else [(ord(self.next()),) * 2]
            if self.peek("-") and not self.peek("-]"):
                self.take("-")
                high = self.escape() if self.take("\\") else [(ord(self.next()),) * 2]
                single = len(low) == len(high) == 1 and low[0][0] == low[0][1]
                if not single or high[0][0] != high[0][1] or low[0][0] > high[0][0]:
                    self.fail("intervalle mal formé ou aux bornes inversées")
                low = [(low[0][0], high[0][0])]
            ranges += low
        return complement(ranges) if negated else ranges
