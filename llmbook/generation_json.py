"""Le langage JSON (RFC 8259) par un automate à pile : un automate fini ne compte pas les crochets.

Un état est (mode, détail, pile) ; la pile est la suite des « { » et « [ » ouverts. Deux choix
retirent des textes sans changer les valeurs possibles : rien ne suit la valeur de tête, et les
demi-codets (\\\\ud800 à \\\\udfff) sont interdits, car ils ne s’écrivent pas en UTF-8.
"""

from llmbook.generation_automata import LAST, utf8_ranges

State = tuple[str, object, str]
SPACE = b" \t\n\r"
DIGITS = b"0123456789"
HEX = b"0123456789abcdefABCDEF"
ESCAPES = b'n"\\/bfrtu'
LITERALS = {word[0]: word[1:] for word in (b"true", b"false", b"null")}
TAILS = {  # premier octet d’un caractère UTF-8 -> octets permis pour chacun des suivants
    lead: tuple(bytes(range(a, b + 1)) for a, b in tail)
    for (low, high), *tail in utf8_ranges(0x80, LAST)
    for lead in range(low, high + 1)
}
# Les nombres : mode -> (octets, mode suivant) ; ceux de COMPLETE peuvent finir là.
NUMBERS = {
    "minus": ((b"0", "zero"), (b"123456789", "int")),
    "zero": ((b".", "dot"), (b"eE", "e")),
    "int": ((DIGITS, "int"), (b".", "dot"), (b"eE", "e")),
    "dot": ((DIGITS, "fraction"),),
    "fraction": ((DIGITS, "fraction"), (b"eE", "e")),
    "e": ((b"+-", "sign"), (DIGITS, "exponent")),
    "sign": ((DIGITS, "exponent"),),
    "exponent": ((DIGITS, "exponent"),),
}
COMPLETE = {"zero", "int", "fraction", "exponent"}


class JsonAutomaton:
    """Les textes que json.loads accepte. container : un objet ou une liste en tête, rien d’autre.

    max_depth : crochets et accolades ouverts à la fois.
    """

    def __init__(self, container: bool = False, max_depth: int = 64):
        if max_depth < 1:
            raise ValueError(f"max_depth={max_depth} : au moins un niveau est attendu")
        self.start: State = ("root" if container else "value", None, "")
        self.max_depth = max_depth

    def accepts(self, state: State) -> bool:
        mode, _, stack = state
        return not stack and (mode == "after" or mode in COMPLETE)

    def completion(self, state: State, alphabet: frozenset[int]) -> int | None:
        """Longueur de `ending(state)` en octets ; None si `alphabet` ne suffit pas à l’écrire."""
        text = self.ending(state)
        return len(text) if alphabet.issuperset(text) else None

    def ending(self, state: State) -> bytes:
        """Une façon courte de finir le texte."""
        mode, detail, stack = state
        if mode == "string":
            is_key, expected = detail
            text = bytes(choices[0] for choices in expected) + (b'":0' if is_key else b'"')
        elif mode == "literal":
            text = detail
        elif mode in NUMBERS:
            text = b"" if mode in COMPLETE else b"0"
        elif mode == "root":
            return b"[]"
        else:
            text = {"value": b"0", "key": b'"":0', "colon": b":0"}.get(mode, b"")
        return text + "".join("}" if c == "{" else "]" for c in reversed(stack)).encode()

    def step(self, state: State, byte: int) -> State | None:
        """L’état suivant, ou None si l’octet est interdit."""
        mode, detail, stack = state
        if mode == "string":
            return self._in_string(detail, stack, byte)
        if mode == "literal":
            if byte != detail[0]:
                return None
            return ("literal", detail[1:], stack) if detail[1:] else ("after", None, stack)
        if mode in NUMBERS:
            for accepted, after in NUMBERS[mode]:
                if byte in accepted:
                    return after, None, stack
            return self._after(stack, byte) if mode in COMPLETE else None
        if mode == "after":
            return self._after(stack, byte)
        if byte in SPACE:
            return state
        if mode in ("key", "first key"):
            if byte == ord('"'):
                return "string", (True, ()), stack
            closes = mode == "first key" and byte == ord("}")
            return ("after", None, stack[:-1]) if closes else None
        if mode == "colon":
            return ("value", None, stack) if byte == ord(":") else None
        if mode == "first" and byte == ord("]"):
            return "after", None, stack[:-1]
        return self._value(stack, byte, container=mode == "root")

    def _value(self, stack: str, byte: int, container: bool) -> State | None:
        if byte in b"{[" and len(stack) < self.max_depth:
            return "first key" if byte == ord("{") else "first", None, stack + chr(byte)
        if container or byte in b"{[":
            return None
        if byte == ord('"'):
            return "string", (False, ()), stack
        if byte in LITERALS:
            return "literal", LITERALS[byte], stack
        if byte in b"-0":
            return "minus" if byte == ord("-") else "zero", None, stack
        return ("int", None, stack) if byte in DIGITS else None

    def _after(self, stack: str, byte: int) -> State | None:
        if not stack:
            return None
        if byte in SPACE:
            return "after", None, stack
        if byte == ord(","):
            return "key" if stack[-1] == "{" else "value", None, stack
        closes = byte == (ord("}") if stack[-1] == "{" else ord("]"))
        return ("after", None, stack[:-1]) if closes else None

    def _in_string(self, detail, stack: str, byte: int) -> State | None:
        """detail : (est une clé, octets permis pour chacun des prochains ; vide : tous)."""
        is_key, expected = detail
        if expected:
            if byte not in expected[0]:
                return None
            rest = expected[1:]
            if expected[0] == ESCAPES and byte == ord("u"):
                rest = (HEX,) * 4
            elif len(expected) == 4 and byte in b"dD":
                rest = (b"01234567", HEX, HEX)  # de d800 à dfff : les demi-codets
            return "string", (is_key, rest), stack
        if byte == ord('"'):
            return "colon" if is_key else "after", None, stack
        if byte == ord("\\"):
            return "string", (is_key, (ESCAPES,)), stack
        if byte >= 0x80:
            return ("string", (is_key, TAILS[byte]), stack) if byte in TAILS else None
        return ("string", (is_key, ()), stack) if byte >= 0x20 else None
