"""La rétropropagation sur des nombres : chaque `Value` se souvient de ce qui l’a produite.

D’après micrograd (A. Karpathy, 2020, licence MIT), réécrit : dérivées locales gardées comme des
nombres, parcours du graphe sans récursion.
"""

import math


class Value:
    """Un nombre, son gradient, et les nombres dont il dépend.

    parents : couples (valeur, dérivée locale de ce nombre par rapport à elle).
    """

    def __init__(self, data: float, parents=(), label: str = ""):
        self.data = float(data)
        self.grad = 0.0
        self.parents = tuple(parents)
        self.label = label

    def __add__(self, other):
        other = _value(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = _value(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, exponent: float):
        """Puissance d’exposant constant."""
        if isinstance(exponent, Value):
            raise ValueError("l’exposant doit être un nombre : écrivez (b * a.log()).exp()")
        slope = exponent * self.data ** (exponent - 1) if exponent else 0.0
        return Value(self.data**exponent, [(self, slope)])

    def exp(self):
        result = math.exp(self.data)
        return Value(result, [(self, result)])

    def log(self):
        if self.data <= 0:
            raise ValueError(
                f"logarithme de {self.data} : un nombre strictement positif est attendu"
            )
        return Value(math.log(self.data), [(self, 1 / self.data)])

    def tanh(self):
        result = math.tanh(self.data)
        return Value(result, [(self, 1 - result**2)])

    def relu(self):
        return Value(max(self.data, 0.0), [(self, float(self.data > 0))])

    def backward(self) -> None:
        """Ajoute à `grad`, partout en amont, la dérivée de ce nombre.

        Les gradients s’accumulent d’un appel à l’autre, comme dans torch : voir `zero_grad`.
        """
        order = self.topological_order()
        flow = {id(node): 0.0 for node in order}  # dérivée de self par rapport à chaque nœud
        flow[id(self)] = 1.0
        for node in reversed(order):  # un nœud passe après tous ceux qui l’utilisent
            node.grad += flow[id(node)]
            for parent, slope in node.parents:
                flow[id(parent)] += slope * flow[id(node)]

    def topological_order(self) -> list["Value"]:
        """Les nœuds en amont, une fois chacun, parents avant enfants ; self est le dernier."""
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            node, parents_done = stack.pop()
            if parents_done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend((parent, False) for parent, _ in node.parents)
        return order

    def zero_grad(self) -> None:
        """Remet à zéro les gradients de ce nombre et de tout ce qui est en amont."""
        for node in self.topological_order():
            node.grad = 0.0

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -_value(other)

    def __truediv__(self, other):
        return self * _value(other) ** -1.0

    def __rsub__(self, other):
        return _value(other) - self

    def __rtruediv__(self, other):
        return _value(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __float__(self) -> float:
        return self.data

    def __repr__(self) -> str:
        name = f"{self.label} : " if self.label else ""
        return f"Value({name}{self.data:.6g}, grad={self.grad:.6g})"


def _value(x) -> Value:
    return x if isinstance(x, Value) else Value(x)
