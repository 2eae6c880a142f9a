"""The divergence report as tables and as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pandas as pd

from trading_dagster.domain.trade import TradeExecution
from trading_dagster.research.divergence import DivergenceReport, LiveDecision
from trading_dagster.research.trade_match import MatchedTrade
from trading_dagster.statistics.cost_table import COSTS, trade_costs
from trading_dagster.statistics.price_step import STEPS
from trading_dagster.statistics.table import Table

BPS = 10_000
SHOWN = 20

MATCHED_COLUMNS = {
    "decision_at": "datetime64[us]",
    "pair": "str",
    "side": "str",
    "live_trade_id": "int64",
    "backtest_trade_id": "int64",
    "live_price": "float64",
    "backtest_price": "float64",
    "difference": "float64",
    **dict.fromkeys(STEPS, "float64"),
    **{f"{name}_bps": "float64" for name in ("difference", *STEPS)},
    "cost": "float64",
    "knows_move": "bool",
    "live_quantity": "float64",
    "backtest_quantity": "float64",
    "live_reserve": "float64",
    "backtest_reserve": "float64",
    "gas_cost": "float64",
    "live_gas_usd": "float64",
    "backtest_gas_usd": "float64",
    "delay_s": "float64",
    "quote_block": "float64",
    "fill_block": "float64",
    "tx_hash": "str",
}

UNMATCHED_COLUMNS = {
    "decision_at": "datetime64[us]",
    "only_in": "str",
    "pair": "str",
    "side": "str",
    "trade_id": "int64",
    "cause": "str",
    "explanation": "str",
}

DECISION_COLUMNS = {
    "decision_at": "datetime64[us]",
    "live": "str",
    "is_same": "bool",
    "live_trades": "str",
    "backtest_trades": "str",
    "live_equity": "float64",
    "backtest_equity": "float64",
    "equity_difference": "float64",
    "reason": "str",
}


def matched_table(report: DivergenceReport) -> pd.DataFrame:
    """Return one row for each trade that both executed.

    ``difference`` and its steps are reserve per base token, the same in ``_bps`` are basis points of the backtest's
    price; ``cost`` is reserve tokens, positive where live did worse. ``gas_cost`` is native tokens of a chain, gas in
    USD is what they were worth, or what ``Parameters.costs`` took. Missing numbers are NaN.
    """
    return Table.from_rows([_matched_row(each) for each in report.matched], MATCHED_COLUMNS).frame


def unmatched_table(report: DivergenceReport) -> pd.DataFrame:
    """Return one row for each trade that only one world executed."""
    rows = [
        (
            each.at,
            each.world.value,
            each.trade.pair.get_ticker(),
            "buy" if each.trade.is_buy() else "sell",
            each.trade.trade_id,
            each.cause.value,
            each.explanation,
        )
        for each in report.unmatched
    ]
    return Table.from_rows(rows, UNMATCHED_COLUMNS).frame


def decision_table(report: DivergenceReport) -> pd.DataFrame:
    """Return one row for each decision time, with the equity of both; USD."""
    rows = [
        (
            each.at,
            each.live.value,
            each.is_same,
            ", ".join(each.live_trades),
            ", ".join(each.backtest_trades),
            math.nan if each.live_equity is None else each.live_equity,
            each.backtest_equity,
            math.nan if each.live_equity is None else each.live_equity - each.backtest_equity,
            each.reason,
        )
        for each in report.decisions
    ]
    return Table.from_rows(rows, DECISION_COLUMNS).frame


def equity_curves(report: DivergenceReport) -> tuple[pd.Series, pd.Series]:
    """Return live and backtest equity by decision time, USD; live is NaN where a cycle has no end."""
    table = decision_table(report).set_index("decision_at")
    return table["live_equity"].rename("live"), table["backtest_equity"].rename("backtest")


def describe_report(report: DivergenceReport) -> str:
    """Return the report as text: verdict, decisions, trades with their steps, what is unmatched, equity."""
    first, last = report.decisions[0].at, report.decisions[-1].at
    verdict = "identical" if report.is_identical else "different"
    lines = [f"{report.name}: live and backtest are {verdict}, decisions from {first} to {last} UTC", ""]
    lines += [*_describe_decisions(report), *_describe_matched(report.matched), *_describe_unmatched(report)]
    return "\n".join([*lines, *_describe_equity(report)])


def _matched_row(each: MatchedTrade) -> tuple[object, ...]:
    live, test, difference = each.live, each.backtest, each.difference
    live_fill, test_fill = live.fill, test.fill
    assert live_fill is not None  # only executed trades are matched
    assert test_fill is not None
    steps = [difference.total, *(getattr(difference, name) for name in STEPS)]
    return (
        each.at,
        live.pair.get_ticker(),
        "buy" if live.is_buy() else "sell",
        live.trade_id,
        test.trade_id,
        live_fill.price,
        test_fill.price,
        *map(float, steps),
        *(float(step / Fraction(test_fill.price) * BPS) for step in steps),
        float(each.cost.total),
        each.knows_move,
        float(live_fill.quantity),
        float(test_fill.quantity),
        float(live_fill.reserve),
        float(test_fill.reserve),
        math.nan if live_fill.gas_cost is None else float(live_fill.gas_cost),
        _gas_usd(live),
        _gas_usd(test),
        each.delay.total_seconds(),
        _number(live.price_structure.block_number),
        _number(live_fill.block_number),
        live_fill.tx_hash or "",
    )


def _gas_usd(trade: TradeExecution) -> float:
    """Return what a trade's gas was worth, USD; NaN where that is not known."""
    return trade_costs(trade)[COSTS.index("gas")]


def _number(value: int | None) -> float:
    return math.nan if value is None else float(value)


def _describe_decisions(report: DivergenceReport) -> list[str]:
    counts = Counter(each.live for each in report.decisions)
    same = sum(each.is_same for each in report.decisions)
    lines = [
        f"Decisions: {len(report.decisions)}, of which live decided {counts[LiveDecision.decided]}, "
        f"skipped {counts[LiveDecision.skipped]}, has nothing for {counts[LiveDecision.missing]}; {same} are the same"
    ]
    others = [each for each in report.decisions if not each.is_same]
    for each in others[:SHOWN]:
        live = each.reason or ", ".join(each.live_trades) or "nothing"
        lines.append(
            f"  {each.at}  live {each.live.value}: {live}; backtest: {', '.join(each.backtest_trades) or 'nothing'}"
        )
    return [*lines, *_and_more(others), ""]


def _describe_matched(matched: Sequence[MatchedTrade]) -> list[str]:
    lines = [f"Trades that both executed: {len(matched)}"]
    if not matched:
        return [*lines, ""]
    head = ("decision (UTC)", "trade", "live price", "backtest", "bps", *STEPS, "cost", "gas", "delay s")
    rows = [_price_line(each) for each in matched[-SHOWN:]]
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    for row in (head, *rows):
        cells = (
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  " + "  ".join(cells))
    if len(matched) > SHOWN:
        lines.append(f"  ... the newest {SHOWN} of {len(matched)}")
    cost = {name: float(sum(getattr(each.cost, name) for each in matched)) for name in STEPS}
    parts = ", ".join(f"{name} {value:+.4f}" for name, value in cost.items())
    total = float(sum(each.cost.total for each in matched))
    delays = [each.delay for each in matched]
    gas = sum((each.live.fill.gas_cost or Decimal(0) for each in matched if each.live.fill), Decimal(0))
    lines += [
        f"  Prices cost live {total:+.4f} reserve tokens more than the backtest: {parts}",
        f"  Gas {gas:f} native tokens; delay {_seconds(sum(delays, timedelta(0)) / len(delays)):.1f} s on average, "
        f"{_seconds(max(delays)):.1f} s at most",
    ]
    if not all(each.knows_move for each in matched):
        lines.append(
            "  The mid price at some fills is not known: the market's move since the quote is in their slippage"
        )
    return [*lines, ""]


def _price_line(each: MatchedTrade) -> tuple[str, ...]:
    live, test = each.live.executed_price or 0.0, each.backtest.executed_price or 0.0
    scale = Fraction(test) / BPS
    steps = (each.difference.total, *(getattr(each.difference, name) for name in STEPS))
    fill = each.live.fill
    gas = None if fill is None else fill.gas_cost
    return (
        f"{each.at:%Y-%m-%d %H:%M}",
        f"{'buy' if each.live.is_buy() else 'sell'} {each.live.pair.get_ticker()} #{each.live.trade_id}",
        f"{live:.6g}",
        f"{test:.6g}",
        *(f"{float(step / scale):+.2f}" for step in steps),
        f"{float(each.cost.total):+.4f}",
        "-" if gas is None else f"{float(gas):.3g}",
        f"{_seconds(each.delay):.1f}",
    )


def _describe_unmatched(report: DivergenceReport) -> list[str]:
    lines = [f"Trades that only one executed: {len(report.unmatched)}"]
    for each in report.unmatched[:SHOWN]:
        side = "buy" if each.trade.is_buy() else "sell"
        lines.append(
            f"  {each.at:%Y-%m-%d %H:%M}  only {each.world.value}: {side} {each.trade.pair.get_ticker()} "
            f"#{each.trade.trade_id} ({each.cause.value}: {each.explanation})"
        )
    return [*lines, *_and_more(report.unmatched), ""]


def _describe_equity(report: DivergenceReport) -> list[str]:
    known = [each for each in report.decisions if each.live_equity is not None]
    if not known:
        return ["Equity: live has recorded none"]
    newest = known[-1]
    live, test = newest.live_equity or 0.0, newest.backtest_equity
    widest = max(abs((each.live_equity or 0.0) - each.backtest_equity) for each in known)
    relative = f" ({(live / test - 1) * 100:+.4f} %)" if test else ""
    return [
        f"Equity after {newest.at}: live {live:,.4f}, backtest {test:,.4f}, difference {live - test:+,.4f}{relative}; "
        f"at most {widest:,.4f} apart"
    ]


def _and_more(rows: Sequence[object]) -> list[str]:
    return [f"  ... and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []


def _seconds(delay: timedelta) -> float:
    return delay.total_seconds()
