"""llmbook.autograd, comparé à torch et aux différences finies."""

import numpy as np
import pytest
import torch

from llmbook.autograd import Value
from llmbook.maths import numerical_gradient

EXPRESSIONS = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / b,
    lambda a, b: 2 - a + 3 * b - 1,
    lambda a, b: 1 / a + b / 2,
    lambda a, b: -(a**3) + b**-1.5,
    lambda a, b: a.exp() * b.log(),
    lambda a, b: (a * b).tanh() + (a - b).relu(),
    lambda a, b: a * a + a,  # un nœud utilisé trois fois
    lambda a, b: (a + b) * (a + b).exp() / (1 + (a + b).exp()),
    lambda a, b: a**0 + b,
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(("x", "y"), [(0.7, 1.3), (1.9, 0.4)])
def test_value_and_gradient_equal_torch(expression, x, y):
    ours, theirs = (Value(x), Value(y)), torch.tensor([x, y], dtype=float, requires_grad=True)
    result, expected = expression(*ours), expression(theirs[0], theirs[1])
    result.backward()
    expected.backward()
    assert float(result) == pytest.approx(expected.item(), rel=1e-12)
    assert [v.grad for v in ours] == pytest.approx(theirs.grad.tolist(), rel=1e-12, abs=1e-12)
    numeric = numerical_gradient(lambda p: expression(Value(p[0]), Value(p[1])).data, [x, y])
    np.testing.assert_allclose([v.grad for v in ours], numeric, atol=1e-7)


def test_gradients_accumulate_until_reset():
    a = Value(3)
    y = a * a
    y.backward()
    y.backward()
    assert a.grad == 12 and y.grad == 2  # comme torch avec retain_graph
    y.zero_grad()
    assert a.grad == y.grad == 0


def test_topological_order_puts_parents_first():
    a = Value(1)
    b = a + 1
    y = b * a + b
    order = [id(node) for node in y.topological_order()]
    assert len(order) == len(set(order)) and order[-1] == id(y)
    for node in y.topological_order():
        assert all(order.index(id(parent)) < order.index(id(node)) for parent, _ in node.parents)


def test_deep_graph_needs_no_recursion():
    x = y = Value(1.0)
    for _ in range(20_000):
        y = y + x
    y.backward()
    assert x.grad == 20_001


def test_two_neurons_learn_xor_like_torch():
    weights = np.random.default_rng(0).normal(size=9)

    def loss(w, relu_or_tanh):
        total = 0.0
        for x, y, target in [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]:
            hidden = [
                relu_or_tanh(w[3 * i] * x + w[3 * i + 1] * y + w[3 * i + 2]) for i in range(2)
            ]
            total = total + (w[6] * hidden[0] + w[7] * hidden[1] + w[8] - target) ** 2
        return total

    ours, theirs = [Value(w) for w in weights], torch.tensor(weights, requires_grad=True)
    loss(ours, Value.tanh).backward()
    loss(theirs, torch.tanh).backward()
    np.testing.assert_allclose([w.grad for w in ours], theirs.grad, rtol=1e-12)


def test_bad_inputs():
    with pytest.raises(ValueError, match="strictement positif"):
        Value(0).log()
    with pytest.raises(ValueError, match="exposant"):
        Value(2) ** Value(3)


def test_repr_shows_label_value_gradient():
    assert repr(Value(2, label="a")) == "Value(a : 2, grad=0)"
    assert repr(Value(0.5)) == "Value(0.5, grad=0)"
