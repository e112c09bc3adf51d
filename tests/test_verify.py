"""llmbook.verify : une ligne stable si l’équation tient, un message utile sinon."""

import numpy as np
import pytest
import torch

from llmbook.autograd import Value
from llmbook.verify import verify


@pytest.mark.parametrize(
    ("left", "right", "options", "line"),
    [
        (np.ones(1000), 1.0, {}, "égalité à 1e-09 près sur 1 000 valeurs"),
        (1, 1 + 1e-12, {}, "égalité à 1e-09 près sur 1 valeur"),
        ([1.0, 2.0], [1.001, 2.0], {"tol": 0.01}, "égalité à 0.01 près sur 2 valeurs"),
        ([100.0], [101.0], {"rtol": 0.1}, "égalité à 1e-09 + 10 % près sur 1 valeur"),
        ([1, 2], [1, 2], {"tol": 0}, "égalité exacte sur 2 valeurs"),
        ([np.inf, -np.inf], [np.inf, -np.inf], {}, "égalité à 1e-09 près sur 2 valeurs"),
        (
            [np.inf, 1.0],
            [np.inf, 1.0],
            {"rtol": 0.1},
            "égalité à 1e-09 + 10 % près sur 2 valeurs",
        ),
        (1j * np.ones(3), 1j, {}, "égalité à 1e-09 près sur 3 valeurs"),
        (
            torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True),
            np.ones((2, 2)),
            {},
            "égalité à 1e-09 près sur 4 valeurs",
        ),
        (Value(2) * 3, 6, {}, "égalité à 1e-09 près sur 1 valeur"),
        (np.arange(3) < 5, None, {}, "vrai dans 3 cas"),
        (True, None, {}, "vrai dans 1 cas"),
        (torch.tensor([True]), None, {}, "vrai dans 1 cas"),
    ],
)
def test_true_equation_prints_one_line(capsys, left, right, options, line):
    verify("eq-svd-eckart", left, right, **options)
    assert capsys.readouterr().out == f"vérifié · eq-svd-eckart : {line}\n"


@pytest.mark.parametrize(
    ("left", "right", "options", "words"),
    [
        (np.zeros((2, 3)), np.array([[0, 0, 0], [0, 0, 0.5]]), {}, ["écart de 0.5", "(1, 2)"]),
        (1.0, 2.0, {}, ["écart de 1 ", "seule valeur"]),
        ([1.0, np.nan], [1.0, np.nan], {}, ["nan", "(1,)"]),
        ([1.0, np.inf], [1.0, -np.inf], {}, ["écart de inf", "(1,)"]),
        ([1.0], [np.inf], {"rtol": 0.1}, ["écart de inf"]),
        # Le plus grand écart n’est pas le plus grand dépassement quand la tolérance est relative.
        ([1e6 + 1, 1.5], [1e6, 1.0], {"rtol": 1e-3}, ["écart de 0.5", "(1,)"]),
        ([True, False, False], None, {}, ["faux dans 2 cas sur 3", "(1,)"]),
        (False, None, {}, ["faux dans 1 cas sur 1"]),
    ],
)
def test_false_equation_says_where(capsys, left, right, options, words):
    with pytest.raises(AssertionError) as error:
        verify("eq-x", left, right, **options)
    assert "eq-x" in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("svd", 1, 1), {}, "commence par"),
        (("eq-x", np.ones(3), np.ones(4)), {}, "formes différentes"),
        (("eq-x", np.ones((3, 1)), np.ones(3)), {}, "formes différentes"),  # pas de diffusion
        (("eq-x", [], []), {}, "aucune valeur"),
        (("eq-x", np.array([], dtype=bool)), {}, "aucune valeur"),
        (("eq-x", 1.0), {}, "booléenne"),
        (("eq-x", 1, 1), {"tol": -1}, "tolérances"),
        (("eq-x", 1, 1), {"tol": float("inf")}, "tolérances"),
        (("eq-x", 1, 1), {"rtol": float("nan")}, "tolérances"),
    ],
)
def test_meaningless_comparison_is_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        verify(*arguments, **options)
