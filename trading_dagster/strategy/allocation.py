"""Shares of the investable equity for weighted signals: capped, limited by size risk, or filled best first.

Amounts are USD. Whatever a cap or a model cuts off is not forced on others beyond what the rule says; the rest stays
cash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from trading_dagster.domain.error import BadInput
from trading_dagster.strategy.alpha_signal import TradingPairSignal, TradingPairSignalFlags
from trading_dagster.strategy.size_risk import SizeRiskModel
from trading_dagster.strategy.weighting import clip_to_one, to_fractions

LEFT_OVER_USD = 5.0
"""Sequential methods stop, or skip a protocol, when no more than this is left."""

CapOf = Callable[[TradingPairSignal], float]


@dataclass(frozen=True, slots=True)
class Allocation:
    """What was accepted, and what the size-risk model refused; USD."""

    accepted: float
    discarded: float


@dataclass(slots=True)
class Sizing:
    """What limits the size of positions.

    Attributes:
        timestamp: Decision time, naive UTC.
        investable_equity: What may be spent, USD.
        model: Says how much of a size is acceptable.
        cap_of: Largest share of the investable equity of a signal.
    """

    timestamp: datetime
    investable_equity: float
    model: SizeRiskModel | None
    cap_of: CapOf
    discarded: float = 0.0

    def accept(self, signal: TradingPairSignal, asked: float) -> float:
        """Return how much of an amount a signal gets, and give it that target."""
        accepted = asked
        if self.model is not None:
            risk = self.model.get_acceptable_size_for_position(self.timestamp, signal.pair, asked)
            signal.position_size_risk = risk
            accepted = risk.accepted_size
            if risk.capped:
                signal.flags.add(TradingPairSignalFlags.capped_by_pool_size)
        signal.position_target = accepted
        self.discarded += asked - accepted
        return accepted


def cap_weights(signals: Sequence[TradingPairSignal], caps: Iterable[float]) -> None:
    """Give each signal its share, at most its cap; the excess stays cash."""
    shares = to_fractions({signal.pair_id: signal.raw_weight for signal in signals})
    for signal, share, cap in zip(signals, shares.values(), caps, strict=False):
        signal.normalised_weight = share if share <= cap else _capped(signal, share, cap)


def size_all(signals: Sequence[TradingPairSignal], sizing: Sizing) -> Allocation:
    """Size by descending share: what one is refused, later ones may grow by."""
    shares = to_fractions({signal.pair_id: signal.raw_weight for signal in signals})
    left = sizing.investable_equity
    for signal in sorted(signals, key=lambda signal: -shares[signal.pair_id]):
        asked = _capped(signal, shares[signal.pair_id], sizing.cap_of(signal)) * left
        left += asked - sizing.accept(signal, asked)
    return _finish(signals, sizing)


def size_best(signals: Sequence[TradingPairSignal], sizing: Sizing, max_positions: int) -> Allocation:
    """Size one after the other, each time the largest share of what remains, until so many positions are taken."""
    if max_positions < 1:
        raise BadInput(f"max_positions is {max_positions}: give 1 or more")
    remaining, left = list(signals), sizing.investable_equity
    for signal in signals:
        signal.position_target = 0.0
    taken = 0
    while left > LEFT_OVER_USD and remaining and taken < max_positions:
        shares = to_fractions({signal.pair_id: signal.raw_weight for signal in remaining})
        signal = max(remaining, key=lambda signal: shares[signal.pair_id])
        remaining.remove(signal)
        limit = sizing.cap_of(signal) * sizing.investable_equity
        asked = min(shares[signal.pair_id] * left, limit)
        if asked == limit:
            signal.flags.add(TradingPairSignalFlags.capped_by_concentration)
        left -= sizing.accept(signal, asked)
        taken += 1
    return _finish(signals, sizing)


def fill_best_first(
    signals: Sequence[TradingPairSignal],
    sizing: Sizing,
    max_positions: int | None,
    max_protocol_weight: float | None,
) -> Allocation:
    """Give the best signal all it may have, then the next: a waterfall by raw weight."""
    left, taken = sizing.investable_equity, 0
    by_protocol: dict[str, float] = {}
    for signal in signals:
        signal.position_target = 0.0
    for signal in sorted(signals, key=lambda signal: -signal.raw_weight):
        if left <= LEFT_OVER_USD or (max_positions is not None and taken >= max_positions):
            break
        limits = {TradingPairSignalFlags.capped_by_concentration: sizing.cap_of(signal) * sizing.investable_equity}
        protocol = signal.pair.exchange_name or signal.pair.exchange_address
        if max_protocol_weight is not None:
            room = max_protocol_weight * sizing.investable_equity - by_protocol.get(protocol, 0.0)
            if room <= LEFT_OVER_USD:
                signal.flags.add(TradingPairSignalFlags.capped_by_protocol_allocation)
                continue
            limits[TradingPairSignalFlags.capped_by_protocol_allocation] = room
        flag, limit = min(limits.items(), key=lambda item: item[1])
        if limit < left:
            signal.flags.add(flag)
        accepted = sizing.accept(signal, min(left, limit))
        left -= accepted
        by_protocol[protocol] = by_protocol.get(protocol, 0.0) + accepted
        taken += 1
    return _finish(signals, sizing)


def _capped(signal: TradingPairSignal, share: float, cap: float) -> float:
    if share > cap:
        signal.flags.add(TradingPairSignalFlags.capped_by_concentration)
        return cap
    return share


def _finish(signals: Sequence[TradingPairSignal], sizing: Sizing) -> Allocation:
    """Turn targets into weights: shares of what was accepted in all."""
    accepted = sum(signal.position_target or 0.0 for signal in signals)
    shares = {signal.pair_id: (signal.position_target or 0.0) / accepted if accepted else 0.0 for signal in signals}
    clipped = clip_to_one(shares)
    for signal in signals:
        signal.normalised_weight = clipped[signal.pair_id]
    return Allocation(accepted, sizing.discarded)
