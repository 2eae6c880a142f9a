"""Assemble sections of markup, figures and long tables into the body of one page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.table import Column, pack_table, shorten_number

DIGITS = 7
SPANS = (("30", "1M"), ("91", "3M"), ("182", "6M"), ("ytd", "YTD"), ("365", "1Y"), ("all", "All"))


@dataclass(slots=True)
class Page:
    """A page under construction: its sections, the links to them and the data its script reads."""

    sections: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)

    def add(
        self,
        title: str,
        body: str,
        *,
        identifier: str | None = None,
        caption: str = "",
        tools: str = "",
        is_bare: bool = False,
    ) -> None:
        """Append a section with a heading, a caption beside it and a link in the navigation.

        Args:
            title: heading as plain text
            body: markup; texts in it must have been escaped
            identifier: anchor; made of the title where not given
            caption: plain text beside the heading
            tools: markup at the right of the heading
            is_bare: True for no frame and no visible heading
        """
        anchor = identifier or title.lower().replace(" ", "-")
        note = f'<span class="caption">{escape(caption)}</span>' if caption else ""
        head = f'<div class="head"><h2>{escape(title)}</h2>{note}{tools}</div>'
        if is_bare:
            self.sections.append(f'<section id="{anchor}" class="bare" aria-label="{escape(title)}">{body}</section>')
        else:
            self.sections.append(f'<section id="{anchor}">{head}{body}</section>')
        self.links.append(f'<a href="#{anchor}">{escape(title)}</a>')

    def add_figure(self, title: str, figure: go.Figure, *, caption: str = "", tools: str = "") -> None:
        """Append a section that holds one figure."""
        self.add(title, self.embed_figure(figure), caption=caption, tools=tools)

    def add_tabs(self, title: str, tabs: Mapping[str, str], *, tools: str = "") -> None:
        """Append a section of which one tab is seen at a time; a single one has no tab bar.

        Args:
            title: heading as plain text
            tabs: markup by name of the tab
            tools: markup at the right of the heading
        """
        anchor = title.lower().replace(" ", "-")
        buttons = "".join(
            f'<button type="button" role="tab" aria-selected="{str(number == 0).lower()}" '
            f'aria-controls="{anchor}-{number}">{escape(name)}</button>'
            for number, name in enumerate(tabs)
        )
        panels = "".join(
            f'<div id="{anchor}-{number}" role="tabpanel" aria-label="{escape(name)}"{" hidden" * (number > 0)}>'
            f"{markup}</div>"
            for number, (name, markup) in enumerate(tabs.items())
        )
        bar = f'<div class="tabs" role="tablist">{buttons}</div>' if len(tabs) > 1 else ""
        caption = next(iter(tabs)) if len(tabs) == 1 else ""
        self.add(title, bar + panels, caption=caption, tools=tools)

    def add_table(
        self, title: str, frame: pd.DataFrame, columns: Sequence[Column], *, size: int = 25, is_wide: bool = False
    ) -> None:
        """Append a section with a table that is searched, sorted and paged by the page's script.

        Args:
            title: heading as plain text
            frame: the rows
            columns: which columns of the frame to show and how
            size: rows shown at a time
            is_wide: True where texts should wrap instead of being cut
        """
        anchor = title.lower().replace(" ", "-")
        tools = (
            f'<div class="tools"><input type="search" placeholder="Search" aria-label="Search {escape(title.lower())}">'
            f'<button type="button" data-download="{anchor}.csv">CSV</button></div>'
        )
        source = self.embed_data(pack_table(frame, columns))
        wide = str(is_wide).lower()
        body = f'<div class="long" data-source="{source}" data-size="{size}" data-wide="{wide}"></div>'
        self.add(title, body, caption=f"{len(frame):,}", tools=tools)

    def embed_figure(self, figure: go.Figure) -> str:
        """Return the markup of a figure whose data is put aside; its colours are left to the page."""
        return self.embed_plain(figure.to_plotly_json())

    def embed_plain(self, figure: dict[str, Any]) -> str:
        """Return the markup of a figure that is plain data already."""
        plain = shorten_values(figure)
        layout = plain.setdefault("layout", {})
        layout.pop("template", None)
        layout.pop("width", None)  # the page knows how wide it is
        height = max(int(layout.get("height") or 400), 100)
        return f'<div class="figure" data-source="{self.embed_data(plain)}" style="height:{height}px"></div>'

    def embed_named(self, identifier: str, value: object) -> None:
        """Put data aside under a name that the page's script knows."""
        self.data.append(f'<script type="application/json" id="{identifier}">{to_script_json(value)}</script>')

    def time_tools(self) -> str:
        """Return buttons that choose the time span and the scale of a figure in the same section."""
        spans = "".join(
            f'<button type="button" data-span="{span}" aria-pressed="{str(span == "all").lower()}">{label}</button>'
            for span, label in SPANS
        )
        log = '<button type="button" data-log aria-pressed="false">Log</button>'
        return f'<div class="tools">{spans}{log}</div>'

    def embed_data(self, value: object) -> str:
        """Put data aside and return the identifier that the page's script finds it by."""
        identifier = f"data-{len(self.data)}"
        self.embed_named(identifier, value)
        return identifier


def to_script_json(value: object) -> str:
    """Return JSON that cannot end the script element it stands in.

    Raises:
        ValueError: a number is not finite
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def shorten_values(value: Any) -> Any:
    """Return a figure's data with lists for arrays, packed or not, and short numbers; NaN becomes None."""
    if isinstance(value, dict) and "bdata" in value:
        value = _unpack_array(value)
    if isinstance(value, dict):
        return {key: shorten_values(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "M":
            return [None if text == "NaT" else text for text in np.datetime_as_string(value).tolist()]
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [shorten_values(entry) for entry in value]
    if isinstance(value, float):
        return shorten_number(value, DIGITS)
    return value


def _unpack_array(packed: Mapping[str, str]) -> npt.NDArray[Any]:
    flat = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=packed["dtype"])
    return flat.reshape([int(size) for size in packed["shape"].split(",")]) if "shape" in packed else flat
