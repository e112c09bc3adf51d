"""llmbook.schedules, comparé à transformers."""

import pytest
import torch
import transformers.optimization as hf

from llmbook.schedules import SCHEDULES, constant, cosine, inverse_sqrt, linear, wsd

STEPS = 40


def factors(build, **options):
    """Les facteurs de transformers, du pas 0 au dernier."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    (rule,) = build(optimizer, **options).lr_lambdas
    return [rule(step) for step in range(STEPS + 1)]


def ours(schedule, *args, **options):
    return [schedule(step, STEPS, *args, **options) for step in range(STEPS + 1)]


@pytest.mark.parametrize("warmup", [0, 1, 7, STEPS - 1])
def test_equal_transformers(warmup):
    same = dict(num_warmup_steps=warmup)
    until = same | dict(num_training_steps=STEPS)
    pairs = [
        (ours(constant, warmup), factors(hf.get_constant_schedule_with_warmup, **same)),
        (ours(linear, warmup), factors(hf.get_linear_schedule_with_warmup, **until)),
        (ours(cosine, warmup, floor=0), factors(hf.get_cosine_schedule_with_warmup, **until)),
        (
            ours(cosine, warmup),
            factors(hf.get_cosine_with_min_lr_schedule_with_warmup, **until, min_lr_rate=0.1),
        ),
    ]
    if warmup:
        pairs.append((ours(inverse_sqrt, warmup), factors(hf.get_inverse_sqrt_schedule, **same)))
    for result, expected in pairs:
        assert result == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize(("shape", "theirs"), [("linear", "linear"), ("sqrt", "1-sqrt")])
@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_wsd_equals_transformers(warmup, shape, theirs, floor):
    expected = factors(
        hf.get_wsd_schedule,
        num_warmup_steps=warmup,
        num_decay_steps=10,
        num_training_steps=STEPS,
        decay_type=theirs,
        min_lr_ratio=floor,
    )
    result = ours(wsd, warmup, decay=0.25, floor=floor, shape=shape)
    # L’échauffement de transformers part du plancher ; le nôtre, de 0 comme les autres.
    assert result[warmup:] == pytest.approx(expected[warmup:], abs=1e-12)
    if not floor:
        assert result == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_climbs_then_never_climbs_again(name):
    values = [SCHEDULES[name](step, STEPS, 8) for step in range(STEPS + 20)]
    assert values[0] == 0 and values[8] == max(values) == 1
    assert values[:9] == sorted(values[:9]) and values[8:] == sorted(values[8:], reverse=True)
    assert len(set(values[STEPS:])) == 1  # plus rien ne bouge après la fin


def test_wsd_without_decay_stays_up():
    assert ours(wsd, decay=0.0)[:-1] == [1.0] * STEPS


def test_wsd_plateau_does_not_know_the_end():
    longer = [wsd(step, 10 * STEPS, 5) for step in range(STEPS // 2)]
    assert longer == ours(wsd, 5)[: STEPS // 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine(-1, 10), "step=-1"),
        (lambda: linear(0, 0), "steps=0"),
        (lambda: constant(0, 10, 11), "warmup=11"),
        (lambda: cosine(0, 10, floor=1.5), "floor=1.5"),
        (lambda: wsd(0, 10, decay=2), "decay=2"),
        (lambda: wsd(0, 10, shape="cube"), "shape='cube'"),
        (lambda: wsd(0, 10, 9, decay=0.5), "se recouvrent"),
        (lambda: inverse_sqrt(0, 10, 0), "échelle de temps"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
