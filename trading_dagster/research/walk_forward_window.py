"""The windows of a walk-forward: what to choose parameters on, and what to trade with them afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import CycleDuration, to_unix_us
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse


@dataclass(frozen=True, slots=True)
class WalkForwardWindow:
    """Parameters are chosen on [train_start, test_start) and traded on [test_start, test_end), naive UTC."""

    index: int
    train_start: datetime
    test_start: datetime
    test_end: datetime

    @property
    def train_end(self) -> datetime:
        """Return the exclusive end of what parameters are chosen on: where trading with them begins."""
        return self.test_start

    @property
    def label(self) -> str:
        """Return "#1 2020-01-01 to 2020-03-01": number and the range that is traded."""
        return f"#{self.index} {self.test_start:%Y-%m-%d} to {self.test_end:%Y-%m-%d}"


def plan_windows(
    start: datetime,
    end: datetime,
    duration: CycleDuration,
    train: timedelta,
    test: timedelta,
    *,
    anchored: bool = False,
) -> list[WalkForwardWindow]:
    """Cut a range into windows: the parts that are traded follow each other without gaps up to the end.

    Boundaries lie on decision times; the last part may be shorter.

    Args:
        start: Of what the first parameters are chosen on, naive UTC.
        end: Exclusive end of the last part that is traded.
        duration: Of a cycle.
        train: Length of what parameters are chosen on; with ``anchored`` of the first.
        test: Length of what is traded.
        anchored: Choose on everything since the start, instead of on a window that rolls along.

    Raises:
        BadInput: The lengths make no sense, or the range is too short for one window.

    >>> day = timedelta(days=1)
    >>> for each in plan_windows(datetime(2024, 1, 1), datetime(2024, 1, 8), CycleDuration.cycle_1d, 4 * day, 2 * day):
    ...     print(each.train_start.day, each.test_start.day, each.test_end.day)
    1 5 7
    3 7 8
    """
    cycle = duration.to_timedelta()
    for name, length in (("train", train), ("test", test)):
        if length < cycle:
            raise BadInput(f"{name} is {length}: give at least the {cycle} of a cycle, such as 90 days")
    windows: list[WalkForwardWindow] = []
    first = duration.round_down(start)
    test_start = duration.round_down(first + train)
    while test_start < end:
        test_end = duration.round_down(test_start + test)
        train_start = first if anchored else duration.round_down(test_start - train)
        windows.append(WalkForwardWindow(len(windows) + 1, train_start, test_start, min(test_end, end)))
        test_start = test_end
    if not windows:
        raise BadInput(
            f"From {start} to {end} there is no room for {train} to choose parameters on and something to trade after "
            "it: shorten train, or lengthen the range"
        )
    return windows


def end_universe(universe: TradingStrategyUniverse, at: datetime) -> TradingStrategyUniverse:
    """Return a universe as it was known at a naive UTC time: nothing of it closed later. Shares the memory.

    Raises:
        BadInput: A candle is in progress then.
    """
    at_us = to_unix_us(at)

    def clip(panel: CandlePanel) -> CandlePanel:
        if (at_us - panel.start_us) % panel.width_us:
            raise BadInput(
                f"A window ends at {at}, within a candle of {panel.bucket.value}, which would be looked into: choose "
                "start, train and test so that windows end where candles do"
            )
        return panel.clip(None, at)

    feed = universe.stop_loss_candles
    candles = clip(universe.candles)
    return replace(
        universe,
        candles=candles,
        stop_loss_candles=candles if feed is universe.candles else None if feed is None else clip(feed),
        liquidity=None if universe.liquidity is None else universe.liquidity.until(at_us),
        lending=None if universe.lending is None else universe.lending.until(at),
        end_at=at if universe.end_at is None else min(universe.end_at, at),
    )
