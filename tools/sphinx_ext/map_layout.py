"""La mise en page de la carte : un graphe de prérequis rangé par couches.

La recette de Sugiyama, en quatre temps : retirer les flèches qu'un chemin plus long dit déjà,
ranger les chapitres par rangées de largeur bornée, ordonner chaque rangée pour peu de croisements,
poser les abscisses. Les flèches longues passent par des couloirs réservés ; celles qui partent d'un
même chapitre partagent le leur. Aucun outil extérieur, aucun hasard : la même carte à chaque fois.
"""

from dataclasses import dataclass
from itertools import pairwise

NODE_W, NODE_H = 126, 62
GAP, LANE, LANE_GAP, ROW_GAP, MARGIN = 14, 2, 9, 46, 6


@dataclass(frozen=True)
class Segment:
    """Un bout de flèche entre deux rangées voisines ; targets : les chapitres où il mène."""

    x1: float
    y1: float
    x2: float
    y2: float
    source: int
    targets: frozenset
    straight: float  # hauteur de couloir à traverser avant y1 (0 : départ d'un chapitre)


@dataclass(frozen=True)
class Layout:
    width: float
    height: float
    nodes: dict  # numéro -> (x, y) du coin supérieur gauche
    segments: list
    rows: list


def ancestors(graph: dict[int, list[int]], number: int) -> set[int]:
    """Tous les prérequis de `number`, directs ou non. graph : chapitre -> prérequis."""
    seen, stack = set(), list(graph[number])
    while stack:
        n = stack.pop()
        if n not in seen:
            seen.add(n)
            stack.extend(graph[n])
    return seen


def reduced(graph):
    """Le graphe sans les flèches impliquées par un chemin plus long."""
    above = {n: ancestors(graph, n) for n in graph}
    return {
        n: [p for p in direct if not any(p in above[q] for q in direct if q != p)]
        for n, direct in graph.items()
    }


def layered(graph, per_row: int) -> list[list[int]]:
    """Des rangées d'au plus `per_row` chapitres, chaque prérequis au-dessus (Coffman et Graham)."""
    children = {n: [m for m in graph if n in graph[m]] for n in graph}
    height: dict[int, int] = {}

    def longest(n):
        if n not in height:
            height[n] = 1 + max((longest(m) for m in children[n]), default=0)
        return height[n]

    rows, done = [], set()
    while len(done) < len(graph):
        free = [n for n in graph if n not in done and done.issuperset(graph[n])]
        free.sort(key=lambda n: (-longest(n), n))
        rows.append(sorted(free[:per_row]))
        done.update(rows[-1])
    return rows


def shortened(graph, rows, per_row: int) -> list[list[int]]:
    """Déplace et échange des chapitres tant que les flèches raccourcissent."""
    children = {n: [m for m in graph if n in graph[m]] for n in graph}
    row = {n: r for r, members in enumerate(rows) for n in members}

    def cost():
        lanes = sum(
            max((row[m] for m in below), default=row[n] + 1) - row[n] - 1
            for n, below in children.items()
        )
        return lanes * 3 + sum(row[n] - row[p] for n in graph for p in graph[n])

    def valid(n):
        return all(row[p] < row[n] for p in graph[n]) and all(row[m] > row[n] for m in children[n])

    best, improved = cost(), True
    while improved:
        improved = False
        for n in graph:
            for r in range(len(rows)):
                members = [m for m in graph if row[m] == r and m != n]
                for other in ([None] if len(members) < per_row else []) + members:
                    old = row[n], row.get(other)
                    row[n] = r
                    if other is not None:
                        row[other] = old[0]
                    if valid(n) and (other is None or valid(other)) and cost() < best:
                        best, improved = cost(), True
                        break
                    row[n] = old[0]
                    if other is not None:
                        row[other] = old[1]
    return [members for r in range(len(rows)) if (members := [n for n in graph if row[n] == r])]


def _with_lanes(graph, rows):
    """Ajoute les couloirs (source, rangée) ; renvoie les rangées et les liens entre voisines."""
    row_of = {n: r for r, row in enumerate(rows) for n in row}
    layers = [list(row) for row in rows]
    links: dict[tuple, set] = {}
    for target, sources in graph.items():
        for source in sources:
            chain = [source]
            chain += [(source, r) for r in range(row_of[source] + 1, row_of[target])]
            chain.append(target)
            for step, (a, b) in enumerate(pairwise(chain)):
                r = row_of[source] + step + 1
                if isinstance(b, tuple) and b not in layers[r]:
                    layers[r].append(b)
                links.setdefault((r, a, b), set()).add(target)
    return layers, links


def _crossings(order_a, order_b, pairs) -> int:
    place_a = {n: i for i, n in enumerate(order_a)}
    place_b = {n: i for i, n in enumerate(order_b)}
    ends = sorted((place_a[a], place_b[b]) for a, b in pairs)
    return sum(1 for i, (_, b1) in enumerate(ends) for (_, b2) in ends[i + 1 :] if b2 < b1)


def _ordered(layers, links):
    """Descentes et remontées par barycentre, puis échanges de voisins, en gardant le meilleur."""
    pairs = {r: [(a, b) for (row, a, b) in links if row == r] for r in range(1, len(layers))}

    def total(state):
        return sum(_crossings(state[r - 1], state[r], pairs[r]) for r in pairs)

    def sweep(state, down):
        span = range(1, len(state)) if down else range(len(state) - 2, -1, -1)
        for r in span:
            fixed = state[r - 1] if down else state[r + 1]
            place = {n: (i + 0.5) / len(fixed) for i, n in enumerate(fixed)}
            near: dict = {}
            for a, b in pairs[r] if down else pairs[r + 1]:
                near.setdefault(b if down else a, []).append(place[a if down else b])
            here = {n: (i + 0.5) / len(state[r]) for i, n in enumerate(state[r])}
            state[r].sort(key=lambda n: sum(near[n]) / len(near[n]) if n in near else here[n])

    state = [list(layer) for layer in layers]
    best, least = [list(x) for x in state], total(state)
    for turn in range(40):
        sweep(state, down=turn % 2 == 0)
        improved = True
        while improved:
            improved = False
            for row in state:
                for i in range(len(row) - 1):
                    before = total(state)
                    row[i], row[i + 1] = row[i + 1], row[i]
                    if total(state) < before:
                        improved = True
                    else:
                        row[i], row[i + 1] = row[i + 1], row[i]
        if (score := total(state)) < least:
            best, least = [list(x) for x in state], score
    return best


def _width(item) -> float:
    return LANE if isinstance(item, tuple) else NODE_W


def _gap(a, b) -> float:
    return LANE_GAP if isinstance(a, tuple) or isinstance(b, tuple) else GAP


def _spread(row, wanted, width):
    """Les centres les plus proches de `wanted`, sans chevauchement ni débordement."""
    offsets, at = [], 0.0
    for i, item in enumerate(row):
        at += _width(item) / 2
        at += _gap(row[i - 1], item) + _width(row[i - 1]) / 2 if i else 0
        offsets.append(at)
    blocks = []  # régression isotone sur wanted - offset
    for item, offset in zip(row, offsets, strict=True):
        weight = 6 if isinstance(item, tuple) else 1  # un couloir veut rester droit
        blocks.append([(wanted[item] - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, weight, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + weight, blocks[-1][2] + count]
    room = width - (offsets[-1] + _width(row[-1]) / 2)
    shifts = [
        min(max(total / weight, 0), room) for total, weight, count in blocks for _ in range(count)
    ]
    return {item: offset + shift for item, offset, shift in zip(row, offsets, shifts, strict=True)}


def lay_out(graph: dict[int, list[int]], per_row: int = 5) -> Layout:
    """graph : chapitre -> prérequis directs."""
    graph = reduced(graph)
    rows = shortened(graph, layered(graph, per_row), per_row)
    layers, links = _with_lanes(graph, rows)
    layers = _ordered(layers, links)
    width = max(sum(map(_width, row)) + sum(_gap(a, b) for a, b in pairwise(row)) for row in layers)
    x = {}
    for row in layers:
        x |= _spread(row, {n: width * (i + 0.5) / len(row) for i, n in enumerate(row)}, width)
    for turn in range(60):
        order = list(enumerate(layers))
        for r, row in order if turn % 2 == 0 else reversed(order):
            wanted = {}
            for n in row:
                near = [x[a] for (k, a, b) in links if b == n and k == r]
                near += [x[b] for (k, a, b) in links if a == n and k == r + 1]
                wanted[n] = sum(near) / len(near) if near else width / 2
            x |= _spread(row, wanted, width)

    def top(r):
        return MARGIN + r * (NODE_H + ROW_GAP)

    nodes = {n: (MARGIN + x[n] - NODE_W / 2, top(r)) for r, row in enumerate(rows) for n in row}
    segments = [
        Segment(
            MARGIN + x[a],
            top(r - 1) + NODE_H,
            MARGIN + x[b],
            top(r),
            a[0] if isinstance(a, tuple) else a,
            frozenset(targets),
            NODE_H if isinstance(a, tuple) else 0,
        )
        for (r, a, b), targets in sorted(links.items(), key=lambda item: (item[0][0], str(item[0])))
    ]
    return Layout(width + 2 * MARGIN, top(len(rows)) - ROW_GAP + MARGIN, nodes, segments, rows)
