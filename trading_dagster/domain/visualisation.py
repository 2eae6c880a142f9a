"""What a strategy shows: messages, calculations and plots, kept outside the trading state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import require_naive_utc


class PlotKind(Enum):
    """Where a plot is drawn."""

    technical_indicator_on_price = "technical_indicator_on_price"
    technical_indicator_detached = "technical_indicator_detached"
    technical_indicator_overlay_on_detached = "technical_indicator_overlay_on_detached"


class PlotShape(Enum):
    """How points are joined."""

    linear = "linear"
    horizontal_vertical = "horizontal_vertical"
    markers = "markers"


class RecordingTime(Enum):
    """What the time of a point means.

    ``decision_making_time``: when the strategy knew the value, which is the close of the bar it comes from.
    ``market_time``: the bar that the value belongs to, as the strategy gave it.
    """

    decision_making_time = "decision_making_time"
    market_time = "market_time"


@dataclass(slots=True)
class Plot:
    """One named line; points are (naive UTC time, value or None)."""

    name: str
    kind: PlotKind
    colour: str | None = None
    label: str | None = None
    detached_overlay_name: str | None = None
    plot_shape: PlotShape = PlotShape.linear
    indicator_size: float | None = None
    recording_time: RecordingTime = RecordingTime.decision_making_time
    pair: TradingPairIdentifier | None = None
    height: int | None = None
    points: list[tuple[datetime, float | None]] = field(default_factory=list)


@dataclass(slots=True)
class Visualisation:
    """Append-only messages, calculations and plots of a run.

    It is for people to look at and no part of the trading state: a run that is cut hands it to the store at each cut
    and goes on without what it has handed over, so a decision must not depend on it.
    """

    messages: dict[datetime, list[str]] = field(default_factory=dict)
    calculations: dict[datetime, dict[str, Any]] = field(default_factory=dict)
    plots: dict[str, Plot] = field(default_factory=dict)
    visualised_pairs: list[TradingPairIdentifier] = field(default_factory=list)
    """Pairs whose price charts are shown; empty shows those traded most."""
    discardable_data: dict[str, Any] = field(default_factory=dict)

    def add_message(self, timestamp: datetime, content: str) -> None:
        """Store a text at a decision time."""
        if not isinstance(content, str):
            raise BadInput(f"A visualisation message is a str, got {type(content).__name__}: {content!r}")
        self.messages.setdefault(require_naive_utc(timestamp), []).append(content)

    def get_messages_tail(self, count: int) -> dict[datetime, list[str]]:
        """Return the messages of the newest ``count`` times."""
        return dict(sorted(self.messages.items())[max(0, len(self.messages) - count) :])

    def add_calculations(self, timestamp: datetime, cycle_calculations: Mapping[str, Any]) -> None:
        """Store named values at a decision time, in place of those stored before at the same time.

        Values become plain data: numbers, texts, booleans, None, lists and mappings with text keys; a Decimal becomes a
        float, a time its ISO text, an enum member its value, and anything else the text that Python writes of it.

        Raises:
            BadInput: no mapping was given
        """
        if not isinstance(cycle_calculations, Mapping):
            raise BadInput(f"Calculations are a dict by name, got {type(cycle_calculations).__name__}")
        self.calculations[require_naive_utc(timestamp)] = {str(k): plain_data(v) for k, v in cycle_calculations.items()}

    def set_discardable_data(self, key: str, value: Any) -> None:
        """Keep a value for the running process only."""
        self.discardable_data[key] = value

    def set_visualised_pairs(self, pairs: Iterable[TradingPairIdentifier]) -> None:
        """Choose the pairs whose price charts are shown; raises BadInput for what is no pair."""
        chosen = list(pairs)
        strangers = [pair for pair in chosen if not isinstance(pair, TradingPairIdentifier)]
        if strangers:
            raise BadInput(f"Visualised pairs are trading pairs, got {strangers[0]!r}: take them from the universe")
        self.visualised_pairs = chosen

    def plot_indicator(
        self,
        timestamp: datetime,
        name: str,
        kind: PlotKind,
        value: float | None,
        colour: str | None = None,
        label: str | None = None,
        detached_overlay_name: str | None = None,
        plot_shape: PlotShape = PlotShape.linear,
        indicator_size: float | None = None,
        recording_time: RecordingTime = RecordingTime.decision_making_time,
        pair: TradingPairIdentifier | None = None,
        height: int | None = None,
    ) -> None:
        """Append a point to a named plot; the first call fixes how the plot looks.

        Args:
            timestamp: The point's time, naive UTC.
            name: Which plot.
            kind: On the price, in a panel of its own, or on another plot's panel.
            value: The point's value; None or NaN, kept as None, is a gap.
            colour: A CSS colour.
            label: "hidden" leaves the plot out of the legend; other labels are kept and of no effect.
            detached_overlay_name: The detached plot that an overlay is drawn on.
            plot_shape: A line, a line of steps, or single points.
            indicator_size: Width of the line or diameter of the points, pixels.
            recording_time: What the time means.
            pair: The pair it is shown with; None shows it with every pair of a universe of one.
            height: Height of its panel, pixels.

        Raises:
            BadInput: the kind, shape, time or pair is none, or an overlay does not say of what
        """
        plot = self.plots.get(name)
        if plot is None:
            if not isinstance(kind, PlotKind):
                raise BadInput(f"Plot {name!r} has the kind {kind!r}: give a PlotKind")
            if kind is PlotKind.technical_indicator_overlay_on_detached and not detached_overlay_name:
                raise BadInput(f"Plot {name!r} overlays a detached plot: give detached_overlay_name")
            if not isinstance(plot_shape, PlotShape) or not isinstance(recording_time, RecordingTime):
                raise BadInput(
                    f"Plot {name!r} has the shape {plot_shape!r} and the recording time {recording_time!r}: "
                    "give a PlotShape and a RecordingTime"
                )
            if pair is not None and not isinstance(pair, TradingPairIdentifier):
                raise BadInput(f"Plot {name!r} has the pair {pair!r}: take one from the universe")
            plot = self.plots[name] = Plot(
                name,
                kind,
                colour,
                None if label is None else str(label),
                detached_overlay_name,
                plot_shape,
                indicator_size,
                recording_time,
                pair,
                height,
            )
        number = math.nan if value is None else float(value)
        plot.points.append((require_naive_utc(timestamp), None if math.isnan(number) else number))

    def take_messages(self) -> list[tuple[datetime, str]]:
        """Return and forget all messages, in order of time."""
        taken = [(time, text) for time, texts in sorted(self.messages.items()) for text in texts]
        self.messages.clear()
        return taken

    def take_calculations(self) -> dict[datetime, dict[str, Any]]:
        """Return and forget all calculations, in order of time."""
        taken, self.calculations = dict(sorted(self.calculations.items())), {}
        return taken

    def take_plots(self) -> list[Plot]:
        """Return and forget all plots, their looks included, in the order in which they began."""
        taken, self.plots = list(self.plots.values()), {}
        return taken

    def take_visualised_pairs(self) -> list[TradingPairIdentifier]:
        """Return and forget the chosen pairs."""
        taken, self.visualised_pairs = self.visualised_pairs, []
        return taken


def plain_data(value: Any) -> Any:
    """Return a value as numbers, texts, booleans, None, lists and mappings with text keys."""
    if isinstance(value, Enum):
        return plain_data(value.value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | str):
        return int(value) if isinstance(value, int) else str(value)
    if isinstance(value, float | Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(plain_data(key)): plain_data(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted((plain_data(entry) for entry in value), key=repr)
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return plain_data(value.tolist())
    return str(value)
