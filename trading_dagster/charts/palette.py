"""Colours of every chart, page and picture, so that a colour always means the same thing."""

from __future__ import annotations

from dataclasses import dataclass

STRATEGY = "#2f73f0"
GAIN = "#089981"
LOSS = "#e5384f"
TAKE_PROFIT = "#d99a00"
STOP_LOSS = "#b730d6"
NEUTRAL = "#8791a1"
OTHERS = ("#8791a1", "#d98324", "#7c6cf0", "#12a5b8", "#b0893c", "#c2568c")
"""Benchmarks, overlays and indicators, in this order; all readable on white and on black."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Colours that depend on the background."""

    background: str
    text: str
    muted: str
    grid: str
    middle: str
    """Middle of a diverging scale: no gain, no loss."""


LIGHT = Scheme(background="#ffffff", text="#1a212c", muted="#667080", grid="#e8ebf0", middle="#f5f6f8")
DARK = Scheme(background="#161a21", text="#e3e7ee", muted="#98a2b3", grid="#2a303b", middle="#232934")


def colour_of(position: int) -> str:
    """Return the colour of the nth benchmark, overlay or indicator; they repeat after six."""
    return OTHERS[position % len(OTHERS)]


def with_alpha(colour: str, alpha: float) -> str:
    """Return ``#rrggbb`` as a CSS ``rgba(...)`` with the given opacity, 0 to 1."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"
