"""Schedules against their formulas, at their ends and at their limits."""

import io
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dropkit import schedule

RATES = st.floats(0.0, 1.0)
STEPS = st.floats(0.0, 1e9)
LENGTHS = st.floats(1e-3, 1e6)

EVERY = [
    schedule.constant(0.3),
    schedule.linear(0.1, 0.7, 10),
    schedule.cosine(0.1, 0.7, 10),
    schedule.early(0.3, 5),
    schedule.late(0.3, 5),
    schedule.inverse_time_decay(1.0, 10.0),
    schedule.momentum_ramp(0.5, 0.99, 10.0),
]


@pytest.mark.parametrize("one", EVERY, ids=str)
def test_survives_pickling_and_is_pure(one):
    twin = pickle.loads(pickle.dumps(one))
    assert twin == one
    assert hash(twin) == hash(one)
    assert (
        [twin(t) for t in range(20)] == [one(t) for t in range(20)] == [one(t) for t in range(20)]
    )


@pytest.mark.parametrize("one", [*EVERY, schedule.early(0.1, torch.tensor(3))], ids=str)
def test_torch_loads_it_with_a_scheduler(one):
    def scheduler(by):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, by)

    file = io.BytesIO()
    torch.save(scheduler(one).state_dict(), file)
    file.seek(0)
    other = scheduler(schedule.constant(0.2))
    other.load_state_dict(torch.load(file))
    assert other.lr_lambdas == [one]


@pytest.mark.parametrize("one", EVERY, ids=str)
def test_repr_builds_it_again(one):
    assert eval(repr(one), vars(schedule)) == one


@pytest.mark.parametrize("one", EVERY, ids=str)
@pytest.mark.parametrize("step", [-1, -1e-9, math.nan])
def test_refuses_a_step_before_the_first(one, step):
    with pytest.raises(ValueError, match="step must be 0 or more"):
        one(step)


def test_distinct_schedules_differ():
    assert schedule.linear(0.1, 0.7, 10) != schedule.cosine(0.1, 0.7, 10)
    assert schedule.early(0.3, 5) != schedule.early(0.3, 6)


@given(start=RATES, end=RATES, steps=LENGTHS, step=STEPS)
def test_ways_stay_between_their_ends_and_hit_them(start, end, steps, step):
    for build in (schedule.linear, schedule.cosine):
        rate = build(start, end, steps)
        assert rate(0) == start
        assert rate(steps) == rate(2 * steps) == end
        # An ulp of slack on each side: the two weights sum to one only up to rounding.
        low, high = sorted((start, end))
        assert low - 1e-16 - math.ulp(low) <= rate(step) <= high + math.ulp(high)
        assert 0.0 <= rate(step) <= 1.0


def test_linear_by_hand():
    rate = schedule.linear(0.5, 0.1, steps=4)
    assert [round(rate(t), 12) for t in range(6)] == [0.5, 0.4, 0.3, 0.2, 0.1, 0.1]


def test_cosine_by_hand():
    rate = schedule.cosine(0.0, 1.0, steps=6)
    # cos(π/3) = 1/2, cos(2π/3) = -1/2
    assert rate(2) == pytest.approx(0.25, abs=1e-15)
    assert rate(4) == pytest.approx(0.75, abs=1e-15)


def test_early_and_late_switch_at_the_named_step():
    assert [schedule.early(0.4, 2)(t) for t in range(4)] == [0.4, 0.4, 0.0, 0.0]
    assert [schedule.late(0.4, 2)(t) for t in range(4)] == [0.0, 0.0, 0.4, 0.4]
    assert schedule.early(0.4, 0)(0) == 0.0
    assert schedule.late(0.4, 0)(0) == 0.4


@given(p=RATES, switch=st.integers(0, 100), step=st.integers(0, 200))
def test_early_and_late_share_the_steps(p, switch, step):
    assert schedule.early(p, switch)(step) + schedule.late(p, switch)(step) == p


def test_inverse_time_decay_of_the_paper():
    rate = schedule.inverse_time_decay(1.0, tau=10_000)
    assert rate(0) == 1.0
    assert rate(30_000) == 0.25
    assert rate(990_000) == pytest.approx(0.01, rel=1e-15)


def test_momentum_ramp_of_the_paper():
    momentum = schedule.momentum_ramp(0.5, 0.99, tau=100_000)
    assert momentum(0) == 0.5
    assert momentum(200_000) == pytest.approx(0.99 - 0.49 * math.exp(-2), rel=1e-15)
    assert momentum(10**9) == 0.99


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: schedule.constant(1.5), "p must lie in"),
        (lambda: schedule.constant(math.nan), "p must lie in"),
        (lambda: schedule.linear(-0.1, 0.5, 10), "start must lie in"),
        (lambda: schedule.linear(0.1, 50, 10), "end must lie in"),
        (lambda: schedule.linear(0.1, 0.5, 0), "steps must be a finite number above 0"),
        (lambda: schedule.cosine(0.1, 0.5, -3), "steps must be a finite number above 0"),
        (lambda: schedule.cosine(0.1, 0.5, math.inf), "steps must be a finite number above 0"),
        (lambda: schedule.early(0.1, -1), "until must be 0 or more"),
        (lambda: schedule.early(0.1, math.nan), "until must be 0 or more"),
        (lambda: schedule.late(0.1, -1), "start must be 0 or more"),
        (lambda: schedule.late(2, 1), "p must lie in"),
        (lambda: schedule.inverse_time_decay(0, 10), "initial must be"),
        (lambda: schedule.inverse_time_decay(1, 0), "tau must be"),
        (lambda: schedule.momentum_ramp(0.5, 1.0, 10), r"final must lie in \[0, 1\)"),
        (lambda: schedule.momentum_ramp(-0.5, 0.9, 10), r"initial must lie in \[0, 1\)"),
        (lambda: schedule.momentum_ramp(0.5, 0.9, 0), "tau must be"),
        (lambda: schedule.Schedule("linaer", ()), "formula must be one of constant, linear"),
    ],
)
def test_refuses_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: schedule.constant("0.5"), "p must be a number"),
        (lambda: schedule.linear(0, 0.5, steps="10"), "steps must be a number, got '10'"),
        (lambda: schedule.cosine(0, 0.5, steps=True), "steps must be a number, got True"),
        (lambda: schedule.early(0.5, until="x"), "until must be a number, got 'x'"),
        (lambda: schedule.late(0.5, start=None), "start must be a number, got None"),
        (lambda: schedule.inverse_time_decay("1", 10), "initial must be a number, got '1'"),
        (lambda: schedule.momentum_ramp("a", 0.9, 10), "initial must be a number, got 'a'"),
        (lambda: schedule.momentum_ramp(0.5, 0.9, [1]), r"tau must be a number, got \[1\]"),
    ],
)
def test_refuses_what_is_no_number(build, message):
    with pytest.raises(TypeError, match=message):
        build()
