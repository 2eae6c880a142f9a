"""How far a live or paper ledger is from the backtest of the same strategy on the same candles, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from trading_dagster.accounting.simulated_treasury import SimulatedTreasury
from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.plan import BacktestOptions
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.research.ledger_history import Flow, LedgerHistory, read_history
from trading_dagster.research.trade_match import MatchedTrade, MidAtFill, UnmatchedTrade, match_trades
from trading_dagster.strategy.routing import TradeRouting


class LiveDecision(Enum):
    """What the live ledger has for a decision time."""

    decided = "decided"
    skipped = "skipped"
    missing = "missing"


@dataclass(frozen=True, slots=True)
class ComparedDecision:
    """A decision time in both worlds.

    Attributes:
        at: Naive UTC.
        live: Whether live decided.
        reason: Why live skipped it, "" when it did not.
        live_trades: What live planned, as "buy WETH" and so on, sorted.
        backtest_trades: The same of the backtest.
        live_equity: USD at the end of the live cycle, which is later than the decision; None when it never ended.
        backtest_equity: USD at the decision time, after its trades.
    """

    at: datetime
    live: LiveDecision
    reason: str
    live_trades: tuple[str, ...]
    backtest_trades: tuple[str, ...]
    live_equity: float | None
    backtest_equity: float

    @property
    def is_same(self) -> bool:
        """Tell whether both decided, and the same pairs and sides."""
        return self.live is LiveDecision.decided and self.live_trades == self.backtest_trades


@dataclass(frozen=True)
class DivergenceReport:
    """A live ledger beside a backtest.

    Attributes:
        name: The deployment's id.
        decisions: Every decision time of the backtest, in order.
        matched: Trades that both executed, with their prices explained.
        unmatched: Trades that only one executed, with the reason.
    """

    name: str
    decisions: tuple[ComparedDecision, ...]
    matched: tuple[MatchedTrade, ...]
    unmatched: tuple[UnmatchedTrade, ...]

    @property
    def is_identical(self) -> bool:
        """Tell whether nothing differs: decisions, trades, prices, amounts, times and equity."""
        return (
            not self.unmatched
            and all(each.is_same and each.live_equity == each.backtest_equity for each in self.decisions)
            and not any(
                each.difference.total or each.quantity_difference or each.reserve_difference or each.delay
                for each in self.matched
            )
        )


def compare_with_backtest(
    live: LiveStrategy,
    *,
    end: datetime | None = None,
    options: BacktestOptions | None = None,
    mid_at_fill: MidAtFill | None = None,
    progress: bool = False,
) -> DivergenceReport:
    """Run the backtest of a live strategy over the decision times in its ledger and compare; reads only.

    The backtest gets the deployment's candles, its parameters, and its deposits and redemptions at the times they were
    booked.

    Args:
        live: The strategy; its venue is not opened.
        end: Exclusive end of the decision times, naive UTC; default one cycle after the last in the ledger.
        options: Fees of the backtest's fills; None for those of the pairs.
        mid_at_fill: Returns the mid price right before a live trade's fill; None leaves its move in the slippage.
        progress: Draw progress bars on a terminal.

    Raises:
        LedgerError: There is no ledger, or it has no decision yet.
        BadInput: The candles do not cover the decision times.
    """
    history = read_history(live.store, live.id)
    cycle = live.cycle_duration.to_timedelta()
    start = _first_time_with_money(history)
    last = history.last_decision_at + cycle if end is None else end
    if last <= start:
        raise BadInput(f"The end is {last}, but the first decision of {live.id} was at {start}: give a later end")
    cash = sum((flow.amount for flow in history.flows if flow.at <= start), ZERO)
    result = run_backtest(
        live.strategy,
        parameters={
            "required_history_period": live.history,
            "routing": live.parameters.get("routing") or TradeRouting.default,
        },
        start=start,
        end=last,
        initial_cash=float(cash),
        name=live.id,
        client=live.source,
        options=options,
        execution_test_hook=_FlowsOf([flow for flow in history.flows if flow.at > start]),
        progress=progress,
    )
    return compare(live.id, history, result, cycle, mid_at_fill)


def compare(
    name: str,
    history: LedgerHistory,
    backtest: BacktestResult,
    cycle: timedelta,
    mid_at_fill: MidAtFill | None = None,
) -> DivergenceReport:
    """Compare a ledger with a finished backtest over the backtest's decision times."""
    end = backtest.plan.end
    match = match_trades(history, backtest.state, cycle, mid_at_fill)
    live_trades = _describe_by_time(
        (trade, history.time_of(trade)) for trade in history.trades if _is_decided(history, trade)
    )
    test_trades = _describe_by_time(
        (trade, trade.opened_at) for trade in backtest.state.portfolio.get_all_trades() if trade.is_rebalance()
    )
    grid = backtest.plan.grid
    equity = backtest.equity_curve.reindex(grid, method="ffill").tolist()
    decisions = []
    for at, test_equity in zip(grid.to_pydatetime(), equity, strict=True):
        decision = history.decisions.get(at)
        reason = history.why_skipped(at)
        status = LiveDecision.missing if reason is None else LiveDecision.skipped
        decisions.append(
            ComparedDecision(
                at=at,
                live=status if decision is None else LiveDecision.decided,
                reason=reason or "",
                live_trades=live_trades.get(at, ()),
                backtest_trades=test_trades.get(at, ()),
                live_equity=None if decision is None else history.equity_after(decision),
                backtest_equity=test_equity,
            )
        )
    return DivergenceReport(
        name=name,
        decisions=tuple(decisions),
        matched=tuple(each for each in match.matched if each.at < end),
        unmatched=tuple(each for each in match.unmatched if each.at < end),
    )


def _is_decided(history: LedgerHistory, trade: TradeExecution) -> bool:
    return trade.trade_id in history.decision_of


def _describe_by_time(trades: Iterable[tuple[TradeExecution, datetime]]) -> Mapping[datetime, tuple[str, ...]]:
    found: dict[datetime, list[str]] = {}
    for trade, at in trades:
        side = "buy" if trade.is_buy() else "sell"
        found.setdefault(at, []).append(f"{side} {trade.pair.get_ticker()}")
    return {at: tuple(sorted(texts)) for at, texts in found.items()}


def _first_time_with_money(history: LedgerHistory) -> datetime:
    """Return the first decision time at which a deposit had been booked."""
    funded = min((flow.at for flow in history.flows if flow.amount > 0), default=None)
    times = sorted({history.first_decision_at, *history.decisions, *history.skipped})
    found = None if funded is None else next((at for at in times if at >= funded), None)
    if found is None:
        raise BadInput(
            f"{history.state.name} had no money at any of its decisions, the last at {times[-1]}: deposit some first"
        )
    return found


@dataclass(frozen=True, slots=True)
class _FlowsOf:
    """Moves the live ledger's later deposits and redemptions into and out of the backtest."""

    flows: list[Flow]

    def on_before_cycle(
        self,
        cycle: int,
        timestamp: datetime,  # noqa: ARG002 - the hook's interface names them
        state: State,  # noqa: ARG002
        sync_model: SimulatedTreasury,
    ) -> None:
        """Queue all of them in the first cycle."""
        if cycle == 1:
            for flow in self.flows:
                sync_model.simulate_funding(flow.at, flow.amount)
