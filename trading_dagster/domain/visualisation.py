"""What a strategy shows: messages, calculations and plots, kept outside the trading state."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
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
    """What the time of a point means."""

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
    """Append-only messages, calculations and plots of a run."""

    messages: dict[datetime, list[str]] = field(default_factory=dict)
    calculations: dict[datetime, dict[str, Any]] = field(default_factory=dict)
    plots: dict[str, Plot] = field(default_factory=dict)
    discardable_data: dict[str, Any] = field(default_factory=dict)

    def add_message(self, timestamp: datetime, content: str) -> None:
        """Store a text at a decision time."""
        if not isinstance(content, str):
            raise BadInput(f"A visualisation message is a str, got {type(content).__name__}: {content!r}")
        self.messages.setdefault(require_naive_utc(timestamp), []).append(content)

    def get_messages_tail(self, count: int) -> dict[datetime, list[str]]:
        """Return the messages of the newest ``count`` times."""
        return dict(sorted(self.messages.items())[max(0, len(self.messages) - count) :])

    def add_calculations(self, timestamp: datetime, cycle_calculations: dict[str, Any]) -> None:
        """Store named values at a decision time."""
        self.calculations[require_naive_utc(timestamp)] = cycle_calculations

    def set_discardable_data(self, key: str, value: Any) -> None:
        """Keep a value for the running process only."""
        self.discardable_data[key] = value

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
        """Append a point to a named plot; the first call fixes how the plot looks."""
        plot = self.plots.get(name)
        if plot is None:
            if kind is PlotKind.technical_indicator_overlay_on_detached and not detached_overlay_name:
                raise BadInput(f"Plot {name!r} overlays a detached plot: give detached_overlay_name")
            plot = self.plots[name] = Plot(
                name,
                kind,
                colour,
                label,
                detached_overlay_name,
                plot_shape,
                indicator_size,
                recording_time,
                pair,
                height,
            )
        plot.points.append((require_naive_utc(timestamp), None if value is None else float(value)))

    def take_messages(self) -> list[tuple[datetime, str]]:
        """Return and forget all messages, in order of time."""
        taken = [(time, text) for time, texts in sorted(self.messages.items()) for text in texts]
        self.messages.clear()
        return taken

    def take_points(self) -> list[tuple[str, datetime, float | None]]:
        """Return and forget the points of all plots as (plot, time, value)."""
        taken = [(plot.name, time, value) for plot in self.plots.values() for time, value in plot.points]
        for plot in self.plots.values():
            plot.points.clear()
        return taken
