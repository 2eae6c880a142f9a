"""A test trade: a small buy and the sell after it, through the same path as any other trade, recorded as a test."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.trade import TradeExecution, TradeFlag
from trading_dagster.live.operation import (
    TradingResult,
    open_operation,
    require_no_waiting,
    require_permission,
    run_trades,
)
from trading_dagster.live.step import LiveStep
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.position_manager import PositionManager

DEFAULT_VALUE_USD = 1.0
TEST_FLAGS = frozenset({TradeFlag.test_trade, TradeFlag.ignore_open})
SELL_FLAGS = frozenset({TradeFlag.test_trade})
NOTES = "test trade"
TEST_LEVERAGE = 0.5


@dataclass(frozen=True, slots=True)
class TradeTestReport:
    """What a test trade did; ``cost`` is what buying and selling lost, USD, None when it did not come to the sell."""

    pair: TradingPairIdentifier
    trades: tuple[TradeExecution, ...]
    cost: float | None
    notes: tuple[str, ...]
    accounts: AccountTable | None

    @property
    def is_complete(self) -> bool:
        """Tell whether the buy and the sell executed."""
        return self.cost is not None


class TrialKind(Enum):
    """What a test trade opens and closes again."""

    spot = "spot"
    short = "short"
    """Borrows for half of the value, so that one round does."""
    credit = "credit"
    """Lends out the reserve; no pair is needed."""


def perform_test_trade(
    live: LiveStrategy,
    ticker: str | None = None,
    value: float = DEFAULT_VALUE_USD,
    kind: TrialKind = TrialKind.spot,
) -> TradeTestReport:
    """Buy a pair for a few USD and sell it again at once; or open and close a short, or lend out and take back.

    What a test that was interrupted, or whose vault settles later, left open is sold first; while its vault has
    an order nothing else is done. Where a position is open on the pair, the test has one of its own.

    Args:
        live: The strategy.
        ticker: BASE/QUOTE of a pair of the universe; None for the only one.
        value: How much to buy for, USD; the collateral of a short, or what is lent out.
        kind: What to open.

    Raises:
        BadInput: There is no such pair, or the value is not above 0.
        UnexpectedAccountingCorrectionIssue: Balances are not what the ledger says, before or after.
        ExecutorBusy, UncleanState, TradeError: As for close_all, and while trades of a cycle wait.
    """
    if not value > 0:
        raise BadInput(f"A test trade needs a value above 0 USD, got {value}")
    require_permission(live)
    with open_operation(live, "the test trade") as step:
        require_no_waiting(step)
        is_credit = kind is TrialKind.credit
        pair = step.universe.get_credit_supply_pair() if is_credit else find_pair(step.universe, ticker)
        step.desk.treasury.sync_treasury(step.clock.timestamp, step.state)
        step.session.save()
        step.read_accounts().require_clean(f"{live.id} before the test trade")
        manager = step.make_position_manager(step.universe)
        left = [position for position in step.state.portfolio.get_open_positions() if position.is_test()]
        sells = [trade for p in left for trade in manager.close_position(p, notes=NOTES, flags=SELL_FLAGS)]
        rest = run_trades(step, sells)
        waiting = [position for position in left if position.is_settling()]
        if waiting:
            told = (f"{position} waits for its vault: run this again when that has settled" for position in waiting)
            return TradeTestReport(pair, rest.trades, None, (*rest.notes, *told), rest.accounts)
        bought = run_trades(step, _open(manager, pair, value, kind))
        sold = _sell(step, bought.trades)
        trades = (*rest.trades, *bought.trades, *sold.trades)
        notes = (*rest.notes, *bought.notes, *sold.notes)
        if sold.accounts is not None:
            sold.accounts.require_clean(f"{live.id} after the test trade")
        return TradeTestReport(pair, trades, _cost(bought.trades, sold.trades), notes, sold.accounts)


def _open(manager: PositionManager, pair: TradingPairIdentifier, value: float, kind: TrialKind) -> list[TradeExecution]:
    if kind is TrialKind.short:
        return manager.open_short(pair, value, leverage=TEST_LEVERAGE, flags=TEST_FLAGS, notes=NOTES)
    if kind is TrialKind.credit:
        return manager.open_credit_supply_position_for_reserves(value, flags=TEST_FLAGS, notes=NOTES)
    return manager.open_spot(pair, value=value, flags=TEST_FLAGS, notes=NOTES)


def find_pair(universe: TradingStrategyUniverse, ticker: str | None) -> TradingPairIdentifier:
    """Return the pair that BASE/QUOTE names, or the only one; raises BadInput naming those there are."""
    pairs = list(universe.pairs)
    if ticker is not None:
        wanted = ticker.replace("/", "-").upper()
        pairs = [pair for pair in pairs if pair.get_ticker().upper() == wanted]
    if len(pairs) == 1:
        return pairs[0]
    listing = ", ".join(pair.get_ticker().replace("-", "/") for pair in universe.pairs)
    what = "no pair was named" if ticker is None else f"{ticker} names {len(pairs)} pairs"
    raise BadInput(f"{what}: the universe has {listing}")


def _sell(step: LiveStep, bought: tuple[TradeExecution, ...]) -> TradingResult:
    manager = step.make_position_manager(step.universe)
    sells: list[TradeExecution] = []
    for trade in bought:
        position = step.state.portfolio.open_positions.get(trade.position_id)
        if trade.is_success() and position is not None:
            sells += manager.close_position(position, notes=NOTES, flags=SELL_FLAGS)
    return run_trades(step, sells)


def _cost(bought: tuple[TradeExecution, ...], sold: tuple[TradeExecution, ...]) -> float | None:
    if not bought or not sold or not all(trade.is_success() for trade in (*bought, *sold)):
        return None
    if bought[0].plan.loan is not None:
        allocated = (trade.executed_collateral_allocation or ZERO for trade in (*bought, *sold))
        return float(sum(allocated, ZERO))
    return sum(trade.get_value() for trade in bought) - sum(trade.get_value() for trade in sold)
