"""Automates finis sur des octets : ce qui peut suivre, et ce qu’il manque pour finir.

Un automate non déterministe, bâti morceau par morceau (Thompson, 1968), devient déterministe en
suivant des ensembles d’états (Rabin et Scott, 1959).
"""

from collections import deque
from dataclasses import dataclass, field

Ranges = list[tuple[int, int]]  # intervalles de caractères, bornes comprises
LAST = 0x10FFFF
MAX_STATES = 20_000


@dataclass(frozen=True)
class Dfa:
    """Automate fini déterministe ; l’état 0 est le départ.

    table : pour chaque état, octet -> état suivant ; final : les états où le texte est complet.
    """

    table: list[dict[int, int]]
    final: frozenset[int]
    start: int = 0
    known: dict = field(default_factory=dict, compare=False, repr=False)

    def step(self, state: int, byte: int) -> int | None:
        """L’état suivant, ou None si l’octet est interdit."""
        return self.table[state].get(byte)

    def accepts(self, state: int) -> bool:
        return state in self.final

    def completion(self, state: int, alphabet: frozenset[int]) -> int | None:
        """Le moins d’octets de `alphabet` qui mènent à un état final ; None s’il n’y en a pas."""
        if alphabet not in self.known:
            self.known[alphabet] = self._distances(alphabet)
        return self.known[alphabet].get(state)

    def _distances(self, alphabet: frozenset[int]) -> dict[int, int]:
        """Parcours en largeur à rebours, depuis les états finals."""
        before: dict[int, set[int]] = {}
        for state, edges in enumerate(self.table):
            for byte, after in edges.items():
                if byte in alphabet:
                    before.setdefault(after, set()).add(state)
        found, queue = dict.fromkeys(self.final, 0), deque(self.final)
        while queue:
            state = queue.popleft()
            for previous in before.get(state, ()):
                if previous not in found:
                    found[previous] = found[state] + 1
                    queue.append(previous)
        return found

    def __and__(self, other: "Dfa") -> "Dfa":
        """L’automate des textes que les deux acceptent. ValueError s’il n’y en a aucun."""
        numbers, table = {(0, 0): 0}, []
        for here, there in (pairs := [(0, 0)]):  # la liste grandit pendant qu’on la lit
            edges = {}
            for byte in self.table[here].keys() & other.table[there].keys():
                pair = self.table[here][byte], other.table[there][byte]
                if pair not in numbers:
                    check_size(numbers)
                    numbers[pair] = len(numbers)
                    pairs.append(pair)
                edges[byte] = numbers[pair]
            table.append(edges)
        final = frozenset(
            n for (a, b), n in numbers.items() if a in self.final and b in other.final
        )
        if not final:
            raise ValueError("contraintes contradictoires : aucun texte ne satisfait les deux")
        return Dfa(table, final)


def check_size(numbers) -> None:
    if len(numbers) >= MAX_STATES:
        raise ValueError(
            f"l’automate dépasse {MAX_STATES} états : réduisez les répétitions {{m,n}} emboîtées"
        )


class Nfa:
    """edges[état] : (octet bas, octet haut, état suivant) ; free[état] : passages sans rien lire."""

    def __init__(self):
        self.edges: list[list[tuple[int, int, int]]] = []
        self.free: list[list[int]] = []

    def new(self) -> int:
        check_size(self.edges)
        self.edges.append([])
        self.free.append([])
        return len(self.edges) - 1

    def closure(self, states: set[int]) -> frozenset[int]:
        seen, todo = set(states), list(states)
        while todo:
            for after in self.free[todo.pop()]:
                if after not in seen:
                    seen.add(after)
                    todo.append(after)
        return frozenset(seen)

    def determinized(self, first: int, last: int) -> Dfa:
        """L’automate déterministe du morceau (first, last)."""
        start = self.closure({first})
        numbers, table = {start: 0}, []
        for states in (sets := [start]):  # la liste grandit pendant qu’on la lit
            targets: dict[int, set[int]] = {}
            for state in states:
                for low, high, after in self.edges[state]:
                    for byte in range(low, high + 1):
                        targets.setdefault(byte, set()).add(after)
            edges, closed = {}, {}
            for byte, after in targets.items():
                key = frozenset(after)
                if key not in closed:
                    closed[key] = self.closure(after)
                    if closed[key] not in numbers:
                        check_size(numbers)
                        numbers[closed[key]] = len(numbers)
                        sets.append(closed[key])
                edges[byte] = numbers[closed[key]]
            table.append(edges)
        return Dfa(table, frozenset(n for states, n in numbers.items() if last in states))

    def characters(self, ranges: Ranges) -> tuple[int, int]:
        """Un morceau (entrée, sortie) qui lit un caractère UTF-8 de ces intervalles."""
        first, last = self.new(), self.new()
        for low, high in ranges:
            for sequence in utf8_ranges(low, high):
                here = first
                for i, (a, b) in enumerate(sequence):
                    after = last if i == len(sequence) - 1 else self.new()
                    self.edges[here].append((a, b, after))
                    here = after
        return first, last


def utf8_ranges(low: int, high: int) -> list[list[tuple[int, int]]]:
    """Un intervalle de caractères en suites d’intervalles d’octets UTF-8, sans les demi-codets."""
    if low > high:
        return []
    for edge in (0x80, 0x800, 0xD800, 0xE000, 0x10000):  # longueur du code, demi-codets
        if low < edge <= high:
            return utf8_ranges(low, edge - 1) + utf8_ranges(edge, high)
    if 0xD800 <= low <= 0xDFFF:
        return []
    a, b = chr(low).encode(), chr(high).encode()
    for i in range(1, len(a)):  # i octets de suite libres : ils doivent aller de 80 à BF en entier
        tail = (1 << 6 * i) - 1
        if low & ~tail != high & ~tail:
            if low & tail:
                return utf8_ranges(low, low | tail) + utf8_ranges((low | tail) + 1, high)
            if high & tail != tail:
                return utf8_ranges(low, (high & ~tail) - 1) + utf8_ranges(high & ~tail, high)
    return [list(zip(a, b, strict=True))]


def complement(ranges: Ranges) -> Ranges:
    """Tous les autres caractères."""
    result, here = [], 0
    for low, high in sorted(ranges):
        if here < low:
            result.append((here, low - 1))
        here = max(here, high + 1)
    return [*result, (here, LAST)] if here <= LAST else result
