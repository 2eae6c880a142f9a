"""How signals become weights: pure functions from {pair id: alpha} to {pair id: raw weight}, and their normalisation.

Ranks are by the strength |alpha|, the strongest first, equals in the order given. All weights are 0 or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from trading_dagster.domain.error import BadInput

Weights: TypeAlias = dict[int, float]
WeightingMethod: TypeAlias = Callable[[Mapping[int, float]], Weights]

CLIP_MARGIN = 1e-5
"""Taken from the largest weight when the sum of floats is still above 1."""


def weight_passthrough(alphas: Mapping[int, float]) -> Weights:
    """Weight by |alpha|."""
    return {key: abs(alpha) for key, alpha in alphas.items()}


def weight_equal(alphas: Mapping[int, float]) -> Weights:
    """Give each the weight 1."""
    return dict.fromkeys(alphas, 1.0)


def weight_by_1_slash_n(alphas: Mapping[int, float]) -> Weights:
    """Weight by 1 / rank: 1, 1/2, 1/3 ..."""
    strengths = {key: abs(alpha) for key, alpha in alphas.items()}
    ranked = sorted(strengths, key=strengths.__getitem__, reverse=True)  # which leaves equals in their order
    weights = {key: 1 / rank for rank, key in enumerate(ranked, 1)}
    return {key: weights[key] for key in alphas}


def weight_by_1_slash_signal(alphas: Mapping[int, float]) -> Weights:
    """Weight by 1 / |alpha|: the smaller the signal the larger the weight; raises BadInput for a signal of 0."""
    for key, alpha in alphas.items():
        if not alpha:
            raise BadInput(f"weight_by_1_slash_signal: the signal of pair {key} is 0: leave the pair out")
    return {key: 1 / abs(alpha) for key, alpha in alphas.items()}


def weight_by_log(alphas: Mapping[int, float]) -> Weights:
    """Weight by ln(1 + |alpha|)."""
    return {key: math.log1p(abs(alpha)) for key, alpha in alphas.items()}


def weight_by_softmax(alphas: Mapping[int, float], temperature: float = 2.0) -> Weights:
    """Weight by exp(|alpha| / T) / sum; the larger T, the more equal."""
    if not temperature > 0:
        raise BadInput(f"weight_by_softmax: the temperature is {temperature}: give a number above 0")
    if not alphas:
        return {}
    strongest = max(map(abs, alphas.values()))  # taken out of the exponent, which changes no weight and cannot overflow
    raw = {key: math.exp((abs(alpha) - strongest) / temperature) for key, alpha in alphas.items()}
    total = sum(raw.values())
    return {key: weight / total for key, weight in raw.items()}


def weight_by_blend(alphas: Mapping[int, float], blend: float = 0.5) -> Weights:
    """Weight by b / N + (1 - b) |alpha| / sum |alpha|; by 1 / N when all signals are 0."""
    if not 0 <= blend <= 1:
        raise BadInput(f"weight_by_blend: blend is {blend}: give a fraction from 0 to 1")
    if not alphas:
        return {}
    count, total = len(alphas), sum(map(abs, alphas.values()))
    if not total:
        return dict.fromkeys(alphas, 1 / count)
    return {key: blend / count + (1 - blend) * abs(alpha) / total for key, alpha in alphas.items()}


def weight_by_inverse_volatility(volatilities: Mapping[int, float]) -> WeightingMethod:
    """Return a method that weights by 1 / volatility, whatever the signal.

    Args:
        volatilities: By pair id, any unit, above 0.
    """

    def weigh(alphas: Mapping[int, float]) -> Weights:
        missing = [key for key in alphas if not volatilities.get(key, 0) > 0]
        if missing:
            raise BadInput(f"weight_by_inverse_volatility: no volatility above 0 of the pairs {missing[:10]}")
        return {key: 1 / volatilities[key] for key in alphas}

    return weigh


def to_fractions(raw: Mapping[int, float]) -> Weights:
    """Divide weights by their sum; all are 0 when that is 0, and the sum of the result is never above 1."""
    total = sum(raw.values())
    if not total:
        return dict.fromkeys(raw, 0.0)
    return clip_to_one({key: weight / total for key, weight in raw.items()})


def clip_to_one(weights: Mapping[int, float]) -> Weights:
    """Take what a sum exceeds 1 by from the largest weight, the first of equals."""
    clipped = dict(weights)
    excess = sum(clipped.values()) - 1
    if clipped and excess > 0:
        largest = max(clipped, key=lambda key: clipped[key])
        clipped[largest] -= excess
        if sum(clipped.values()) > 1:
            clipped[largest] -= CLIP_MARGIN
    return clipped


def check_normalised(weights: Mapping[int, float], what: str, epsilon: float = 1e-4) -> None:
    """Raise BadInput unless weights are empty or sum to 1 within an epsilon."""
    total = sum(weights.values())
    if weights and abs(total - 1) > epsilon:
        raise BadInput(f"{what} sum to {total}, not to 1: {dict(weights)}")
