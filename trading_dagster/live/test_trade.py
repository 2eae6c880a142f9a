"""A test trade: a small buy and the sell after it, through the same path as any other trade, recorded as a test."""

from __future__ import annotations

from dataclasses import dataclass

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
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

DEFAULT_VALUE_USD = 1.0
TEST_FLAGS = frozenset({TradeFlag.test_trade, TradeFlag.ignore_open})
SELL_FLAGS = frozenset({TradeFlag.test_trade})
NOTES = "test trade"


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


def perform_test_trade(
    live: LiveStrategy, ticker: str | None = None, value: float = DEFAULT_VALUE_USD
) -> TradeTestReport:
    """Buy a pair for a few USD and sell it again at once.

    What a test that was interrupted left open is sold first. Where a position is open on the pair, the test has one of
    its own.

    Args:
        live: The strategy.
        ticker: BASE/QUOTE of a pair of the universe; None for the only one.
        value: How much to buy for, USD.

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
        pair = find_pair(step.universe, ticker)
        step.desk.treasury.sync_treasury(step.clock.timestamp, step.state)
        step.session.save()
        step.read_accounts().require_clean(f"{live.id} before the test trade")
        manager = step.make_position_manager(step.universe)
        left = [position for position in step.state.portfolio.get_open_positions() if position.is_test()]
        sells = [trade for p in left for trade in manager.close_position(p, notes=NOTES, flags=SELL_FLAGS)]
        rest = run_trades(step, sells)
        bought = run_trades(step, manager.open_spot(pair, value=value, flags=TEST_FLAGS, notes=NOTES))
        sold = _sell(step, bought.trades)
        trades = (*rest.trades, *bought.trades, *sold.trades)
        notes = (*rest.notes, *bought.notes, *sold.notes)
        if sold.accounts is not None:
            sold.accounts.require_clean(f"{live.id} after the test trade")
        return TradeTestReport(pair, trades, _cost(bought.trades, sold.trades), notes, sold.accounts)


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
    return sum(trade.get_value() for trade in bought) - sum(trade.get_value() for trade in sold)
