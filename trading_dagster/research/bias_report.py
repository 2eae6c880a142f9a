"""What the bump test of a strategy found, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trading_dagster.research.bump import OtherFuture

SHOWN_DECISIONS = 5
_AND_MORE = " (lending rates and limits of vaults count as candles)"


@dataclass(frozen=True, slots=True)
class IndicatorBias:
    """An indicator whose past depends on the future.

    Args:
        indicator: Its name, with the parameters of a variation.
        column: Column of a DataFrame indicator, else None.
        pair: Ticker, None for an indicator of the whole universe.
        bar: Open time of the first row that differs, naive UTC.
        known: The value that is used.
        changed: The value had the candles after ``cut`` been others; text says what went wrong when there is none.
        cut: What a decision at this time may know was kept.
        future: What was put in place of the rest.
    """

    indicator: str
    column: str | None
    pair: str | None
    bar: datetime
    known: Any
    changed: Any
    cut: datetime
    future: OtherFuture

    def __str__(self) -> str:
        """Return a line that names indicator, pair and bar."""
        name = self.indicator if self.column is None else f"{self.indicator}[{self.column}]"
        where = "" if self.pair is None else f" of {self.pair}"
        return (
            f"Indicator {name}{where} at bar {self.bar} is {self.known}, but {self.changed} when the candles that a "
            f"decision at {self.cut} does not know are {self.future.value}: it reads later candles{_AND_MORE}"
        )


@dataclass(frozen=True, slots=True)
class DecisionBias:
    """A decision that depends on the future.

    Args:
        at: When what differs happened, naive UTC.
        known: What was decided, in words.
        changed: What was decided instead.
        cut: What a decision at this time may know was kept.
        future: What was put in place of the rest.
        has_biased_indicator: True when indicators differ too, which may explain it.
    """

    at: datetime
    known: str
    changed: str
    cut: datetime
    future: OtherFuture
    has_biased_indicator: bool

    def __str__(self) -> str:
        """Return a line that names the trade and its time."""
        cause = (
            "see the indicators"
            if self.has_biased_indicator
            else "decide_trades reads something beyond its decision time, such as a series with unlimited=True"
        )
        return (
            f"Decision at {self.at}: {self.known}, but {self.changed} when the candles that a decision at {self.cut} "
            f"does not know are {self.future.value}: {cause}{_AND_MORE}"
        )


@dataclass(frozen=True, slots=True)
class BiasReport:
    """What the bump test of a strategy found.

    Args:
        strategy: Its name.
        cuts: Decision times after which the future was changed, naive UTC, ascending.
        decisions: How many events (trades, fills, triggers, stored values) were compared.
        indicators: The first finding for each indicator, column and pair.
        trades: The first finding for each cut.
        failures: Indicators that cannot be calculated without later candles, in words.
        unrepeatable: What differed when nothing was changed, in words; None when two runs were equal.
    """

    strategy: str
    cuts: tuple[datetime, ...]
    decisions: int
    indicators: tuple[IndicatorBias, ...] = ()
    trades: tuple[DecisionBias, ...] = ()
    failures: tuple[str, ...] = ()
    unrepeatable: str | None = None

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found."""
        return not (self.indicators or self.trades or self.failures or self.unrepeatable)

    def __str__(self) -> str:
        """Return the findings, a line each, the decisions after the first few only as a number."""
        tried = f"{len(self.cuts)} cuts from {self.cuts[0]} to {self.cuts[-1]}, {len(OtherFuture)} other futures each"
        if self.is_clean:
            return f"{self.strategy}: no look-ahead found ({tried}; {self.decisions} events compared)"
        verdict = "LOOK-AHEAD FOUND" if self.unrepeatable is None else "NOT REPEATABLE"
        lines = [f"{self.strategy}: {verdict} ({tried})"]
        if self.unrepeatable is not None:
            lines.append(f"Two runs over the same candles differ: {self.unrepeatable}")
        lines += [*self.failures, *map(str, self.indicators), *map(str, self.trades[:SHOWN_DECISIONS])]
        if len(self.trades) > SHOWN_DECISIONS:
            lines.append(f"... and at {len(self.trades) - SHOWN_DECISIONS} other cuts")
        return "\n  ".join(lines)
