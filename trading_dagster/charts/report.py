"""Write a whole backtest or live history as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import pandas as pd
from plotly.offline import get_plotlyjs

from trading_dagster.charts.chart_section import add_charts
from trading_dagster.charts.equity import draw_equity_with_drawdown
from trading_dagster.charts.number import format_duration, format_time
from trading_dagster.charts.page import Page, shorten_values
from trading_dagster.charts.plot import draw_panels
from trading_dagster.charts.position import draw_position_durations, draw_position_profits, select_closed
from trading_dagster.charts.price import describe_bars, draw_price_and_trades
from trading_dagster.charts.rendering import RenderedChart
from trading_dagster.charts.returns import draw_returns_distribution, draw_rolling_sharpe
from trading_dagster.charts.sampling import Benchmarks, Curve, clean_curve
from trading_dagster.charts.table import (
    PAIR_COLUMNS,
    POSITION_COLUMNS,
    TRADE_COLUMNS,
    Column,
    guess_columns,
    monthly_table_html,
    summarise_pairs,
    summary_table_html,
)
from trading_dagster.charts.theme import FIGURE_CONFIG, template_of
from trading_dagster.charts.tile import Tile, choose_tiles, tiles_html
from trading_dagster.domain.visualisation import Plot
from trading_dagster.market.atomic_file import write_atomically
from trading_dagster.statistics.returns import (
    calculate_daily_returns_from_curve,
    calculate_monthly_returns_table,
    calculate_returns,
)

MAX_CHARTED_PAIRS = 6
MAX_CHARTED_TRADES = 4_000
REPORT_BARS = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything a report shows; what is empty is left out of it.

    Args:
        name: the strategy's name
        equity: USD by naive UTC time
        trades: the engine's table of trades
        positions: the engine's table of positions; `profit_pct` is a fraction
        performance: equity without deposits and redemptions, for returns and drawdown; equity where not given
        benchmarks: what to compare equity with, in USD
        candles: candles by ticker; the six pairs with most trades are drawn
        overlays: curves to draw on the price, by ticker and name
        indicators: curves to draw below the price, by ticker and name
        plots: what the strategy plotted, by ticker; those of no ticker ("") have a section of their own
        charts: the strategy's own charts, rendered
        summary: statistics as rows, such as All, Long and Short as columns
        metrics: measures by name, or a table of them with the strategy in its first column; the tiles take Sharpe,
            Sortino, CAGR, profit factor and time in market from it
        pairs: table per pair; made from trades and positions where it is not given
        parameters: the strategy's parameters by name
        messages: texts by time
        data_quality: a table or sentences about the market data used
        start_at: start of the strategy's range, naive UTC; the first equity sample where not given
        end_at: end of it; the last equity sample where not given
        generated_at: naive UTC time shown as the time of writing; none is shown where not given
        footer: a line at the end, such as the version and a run id
    """

    name: str
    equity: Curve
    trades: pd.DataFrame
    positions: pd.DataFrame
    performance: Curve | None = None
    benchmarks: Benchmarks = None
    candles: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    overlays: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    indicators: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    plots: Mapping[str, Sequence[Plot]] = field(default_factory=dict)
    charts: Sequence[RenderedChart] = ()
    summary: pd.DataFrame | None = None
    metrics: Mapping[str, object] | pd.DataFrame = field(default_factory=dict)
    pairs: pd.DataFrame | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    messages: Mapping[datetime, Sequence[str]] = field(default_factory=dict)
    data_quality: pd.DataFrame | Sequence[str] = ()
    start_at: datetime | None = None
    end_at: datetime | None = None
    generated_at: datetime | None = None
    footer: str = ""


def render_report(content: ReportContent) -> str:
    """Return the report as one HTML document: the same content gives the same text.

    The document carries its style, scripts and data; its content security policy forbids to load anything.
    All texts are escaped. Charts are drawn when they come into view; long tables are searched, sorted and paged by
    the page itself.
    """
    page = Page()
    page.add("Overview", tiles_html(_tiles(content)), identifier="overview", is_bare=True)
    performance = content.equity if content.performance is None else content.performance
    figure = draw_equity_with_drawdown(content.equity, content.benchmarks, performance=performance)
    page.add_figure("Equity", figure, tools=page.time_tools())
    _add_prices(page, content)
    if content.plots.get(""):
        page.add_figure("Plots", draw_panels(content.plots[""]), tools=page.time_tools())
    add_charts(page, content.charts)
    _add_returns(page, performance)
    _add_statistics(page, content)
    if len(content.trades) or len(content.positions):
        pairs = content.pairs if content.pairs is not None else summarise_pairs(content.trades, content.positions)
        page.add_table("Pairs", pairs, PAIR_COLUMNS if content.pairs is None else guess_columns(pairs))
        _add_positions(page, content.positions)
        page.add_table("Trades", content.trades, TRADE_COLUMNS)
    else:
        page.add("Trades", '<p class="notice">No trades were made.</p>')
    _add_texts(page, content)
    return fill_template(page, content.name, _subtitle(content), _footer(content))


def render_chart_page(name: str, charts: Sequence[RenderedChart]) -> str:
    """Return a page of nothing but a strategy's own charts, as self-contained as a report."""
    page = Page()
    add_charts(page, charts)
    return fill_template(page, name, "")


def write_report(path: str | os.PathLike[str], content: ReportContent) -> Path:
    """Write the report to a file, whole or not at all; missing folders are made.

    Returns:
        The path written to.
    """
    target = Path(path)
    text = render_report(content)
    write_atomically(target, lambda temporary: _fill(temporary, text))
    return target


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _tiles(content: ReportContent) -> list[Tile]:
    table = content.metrics
    metrics = dict(table.iloc[:, 0]) if isinstance(table, pd.DataFrame) else dict(table)
    if content.summary is not None and len(content.summary.columns):
        # Of measures that both tables have, the tiles show the trade summary's: it sees every equity sample.
        metrics |= dict(content.summary.iloc[:, 0])
    return choose_tiles(
        content.equity, content.benchmarks, content.trades, content.positions, metrics, content.performance
    )


def _add_prices(page: Page, content: ReportContent) -> None:
    counts = content.trades["pair"].value_counts() if len(content.trades) else pd.Series(dtype="int64")
    ranked = sorted(content.candles, key=lambda pair: (-int(counts.get(pair, 0)), pair))
    traded = [pair for pair in ranked if pair in counts.index or pair in content.plots] or ranked[:1]
    tabs = {pair: _price_markup(page, content, pair) for pair in traded[:MAX_CHARTED_PAIRS]}
    if tabs:
        page.add_tabs("Price and trades", tabs, tools=page.time_tools())


def _price_markup(page: Page, content: ReportContent, pair: str) -> str:
    candles = content.candles[pair]
    trades = content.trades[content.trades["pair"] == pair] if len(content.trades) else content.trades
    positions = content.positions[content.positions["pair"] == pair] if len(content.positions) else content.positions
    note = describe_bars(candles, REPORT_BARS)
    if len(trades) > MAX_CHARTED_TRADES:
        note += f"; the latest {MAX_CHARTED_TRADES:,} of {len(trades):,} trades are marked, the table has all"
        trades = trades.sort_values(["opened_at", "trade_id"]).tail(MAX_CHARTED_TRADES)
        positions = positions[positions["position_id"].isin(trades["position_id"])]
    figure = draw_price_and_trades(
        candles,
        trades,
        positions=positions if len(positions) else None,
        overlays=content.overlays.get(pair),
        indicators=content.indicators.get(pair),
        plots=content.plots.get(pair, ()),
        max_bars=REPORT_BARS,
    )
    return f'{page.embed_figure(figure)}<p class="notice">{escape(note)}</p>'


def _add_returns(page: Page, performance: Curve) -> None:
    cleaned = clean_curve(performance)
    if len(cleaned) < 2:
        page.add("Returns", '<p class="notice">Returns need at least two samples of equity.</p>')
        return
    table = calculate_monthly_returns_table(calculate_returns(cleaned))
    daily = calculate_daily_returns_from_curve(cleaned).dropna()
    charts = "".join(
        f"<div><h3>{heading}</h3>{page.embed_figure(figure)}</div>"
        for heading, figure in (
            ("Daily returns", draw_returns_distribution(daily)),
            ("Rolling Sharpe, 90 days", draw_rolling_sharpe(cleaned)),
        )
    )
    months = f'<h3>Monthly returns</h3><div class="scroll">{monthly_table_html(table)}</div>'
    page.add("Returns", f'{months}<div class="columns spaced">{charts}</div>')


def _add_statistics(page: Page, content: ReportContent) -> None:
    metrics = content.metrics
    if not isinstance(metrics, pd.DataFrame):
        metrics = pd.DataFrame({"Value": pd.Series(dict(metrics), dtype="object")})
    tables = {"Summary": content.summary, "Measures": metrics}
    parts = [
        f"<div><h3>{heading}</h3>{summary_table_html(table)}</div>"
        for heading, table in tables.items()
        if table is not None and len(table)
    ]
    if parts:
        page.add("Statistics", f'<div class="stack">{"".join(parts)}</div>')


def _add_positions(page: Page, positions: pd.DataFrame) -> None:
    if len(select_closed(positions)):
        profits = page.embed_figure(draw_position_profits(positions))
        durations = page.embed_figure(draw_position_durations(positions))
        body = f"<div><h3>Profit</h3>{profits}</div><div><h3>Profit by duration</h3>{durations}</div>"
        page.add("Position profits", f'<div class="columns">{body}</div>')
    page.add_table("Positions", positions, POSITION_COLUMNS)


def _add_texts(page: Page, content: ReportContent) -> None:
    lines = [(at, text) for at, texts in sorted(content.messages.items()) for text in texts]
    if lines:
        frame = pd.DataFrame(lines, columns=["time", "message"])
        columns = (Column("time", "Time", "time"), Column("message", "Message", "text"))
        page.add_table("Messages", frame, columns, is_wide=True)
    if isinstance(content.data_quality, pd.DataFrame):
        if len(content.data_quality):
            page.add_table("Data quality", content.data_quality, guess_columns(content.data_quality))
    elif content.data_quality:
        notes = "".join(f"<li>{escape(text)}</li>" for text in content.data_quality)
        page.add("Data quality", f'<ul class="notes">{notes}</ul>')
    if content.parameters:
        entries = "".join(
            f"<div><dt>{escape(str(name))}</dt><dd>{escape(_parameter_text(value))}</dd></div>"
            for name, value in content.parameters.items()
        )
        page.add("Parameters", f"<dl>{entries}</dl>")


def _parameter_text(value: object) -> str:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Enum):
        return str(value.value)
    return format_time(value) if isinstance(value, datetime) else str(value)


def _subtitle(content: ReportContent) -> str:
    equity = clean_curve(content.equity)
    start = content.start_at or (equity.index[0].to_pydatetime() if len(equity) else None)
    end = content.end_at or (equity.index[-1].to_pydatetime() if len(equity) else None)
    parts = []
    if start is not None and end is not None:
        parts.append(f"<b>{format_time(start)}</b> to <b>{format_time(end)}</b> UTC, {format_duration(end - start)}")
    pairs = sorted(set(content.trades["pair"])) if len(content.trades) else sorted(content.candles)
    if pairs:
        parts.append(escape(", ".join(pairs) if len(pairs) <= 6 else f"{len(pairs):,} pairs"))
    return " · ".join(parts)


def _footer(content: ReportContent) -> str:
    written = f"Written {format_time(content.generated_at)} UTC. " if content.generated_at else ""
    return f"{written}All times are UTC. {escape(content.footer)}"


def fill_template(page: Page, name: str, subtitle: str, footer: str = "All times are UTC.") -> str:
    """Return a page as one self-contained HTML text; subtitle and footer are markup."""
    page.embed_named("config", FIGURE_CONFIG)
    page.embed_named("templates", {theme: shorten_values(template_of(theme)) for theme in ("light", "dark")})
    files = resources.files("trading_dagster.charts")
    return Template((files / "report_template.html").read_text(encoding="utf-8")).substitute(
        title=escape(name),
        name=escape(name),
        subtitle=subtitle,
        navigation="".join(page.links),
        sections="\n".join(page.sections),
        footer=footer,
        data="\n".join(page.data),
        css=(files / "report.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        javascript=(files / "report.js").read_text(encoding="utf-8"),
    )
