"""Weights are at least 0, keep the order of signals where they should, and never sum above 1 once normalised."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput
from trading_dagster.strategy.weighting import (
    clip_to_one,
    to_fractions,
    weight_by_1_slash_n,
    weight_by_1_slash_signal,
    weight_by_blend,
    weight_by_inverse_volatility,
    weight_by_log,
    weight_by_softmax,
    weight_equal,
    weight_passthrough,
)

ALPHAS = {1: 0.5, 2: -2.0, 3: 2.0, 4: 0.1}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (weight_passthrough, {1: 0.5, 2: 2.0, 3: 2.0, 4: 0.1}),
        (weight_equal, {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}),
        (weight_by_1_slash_n, {1: 1 / 3, 2: 1.0, 3: 1 / 2, 4: 1 / 4}),
        (weight_by_1_slash_signal, {1: 2.0, 2: 0.5, 3: 0.5, 4: 10.0}),
        (weight_by_log, {1: math.log(1.5), 2: math.log(3), 3: math.log(3), 4: math.log(1.1)}),
        (weight_by_blend, {1: 0.125 + 0.25 / 4.6, 2: 0.125 + 1 / 4.6, 3: 0.125 + 1 / 4.6, 4: 0.125 + 0.05 / 4.6}),
        (weight_by_inverse_volatility({1: 0.5, 2: 0.25, 3: 1.0, 4: 2.0}), {1: 2.0, 2: 4.0, 3: 1.0, 4: 0.5}),
    ],
)
def test_raw_weights(method, expected):
    assert method(ALPHAS) == pytest.approx(expected, rel=1e-12)


def test_softmax_is_the_textbook_one_and_bears_large_signals():
    total = sum(math.exp(abs(alpha) / 2) for alpha in ALPHAS.values())
    expected = {key: math.exp(abs(alpha) / 2) / total for key, alpha in ALPHAS.items()}
    assert weight_by_softmax(ALPHAS) == pytest.approx(expected, rel=1e-12)
    assert weight_by_softmax({1: 5000.0, 2: 5000.0}) == {1: 0.5, 2: 0.5}


def test_blend_of_nothing_but_zeros_is_equal():
    assert weight_by_blend({1: 0.0, 2: 0.0}) == {1: 0.5, 2: 0.5}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weight_by_1_slash_signal({1: 0.0}), "signal of pair 1 is 0"),
        (lambda: weight_by_softmax(ALPHAS, 0), "temperature is 0"),
        (lambda: weight_by_blend(ALPHAS, 1.5), "blend is 1.5"),
        (lambda: weight_by_inverse_volatility({1: 0.5})(ALPHAS), "no volatility above 0"),
    ],
)
def test_unusable_arguments_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()


weights = st.dictionaries(st.integers(1, 500), st.floats(0, 1e12), max_size=60)


@given(weights)
def test_fractions_sum_to_at_most_one(raw):
    shares = to_fractions(raw)
    assert sum(shares.values()) <= 1
    assert all(share >= 0 for share in shares.values())
    if sum(raw.values()):
        assert sum(shares.values()) == pytest.approx(1, abs=2e-5)


def test_the_largest_weight_pays_for_an_excess():
    assert clip_to_one({1: 0.5, 2: 0.6, 3: 0.1}) == pytest.approx({1: 0.5, 2: 0.4, 3: 0.1})
    assert clip_to_one({}) == {}
