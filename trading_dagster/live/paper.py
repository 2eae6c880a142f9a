"""Trading on paper: live candles, simulated fills, no money.

A trade at T is filled at the open of the candle that starts at T, as in a backtest: the source must know that open as
soon as the candle has begun. The wallet is what the ledger says, so an interrupted step leaves nothing half done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from trading_dagster.accounting.account_check import expected_balances
from trading_dagster.accounting.interest import LendingInterest
from trading_dagster.accounting.redemption import book_redemption, list_payable
from trading_dagster.accounting.simulated_treasury import SimulatedTreasury
from trading_dagster.domain.error import (
    AutoClosingOrderUnsupported,
    BacktestExecutionFailed,
    PriceImpactToleranceExceeded,
    UnknownPair,
)
from trading_dagster.domain.event import PositionFrozen, TradeDiscarded, TradeFailed
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.money import exact
from trading_dagster.domain.purse import PAPER, Purse
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.domain.treasury import BalanceUpdate, Redemption
from trading_dagster.execution.costed import simulate_execution
from trading_dagster.execution.dummy import DummyExecution
from trading_dagster.execution.loan_service import DEFAULT_LIQUIDATION_PENALTY
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.execution.wallet import SimulatedWallet
from trading_dagster.live.desk import Desk, DeskRequest
from trading_dagster.live.fund_fee import NO_FUND_FEES, LiveFundFees
from trading_dagster.market.panel import CandlePanel
from trading_dagster.pricing.candle_market import CandleMarket
from trading_dagster.pricing.candle_pricing import (
    DEFAULT_TOLERANCE,
    PriceColumns,
)
from trading_dagster.pricing.cost_model import CostModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PaperVenue:
    """Simulated trading on live candles. Fees are fractions; ``initial_cash`` is deposited in the first cycle, USD.

    Loans earn and owe interest at the universe's lending rates; a breached one is liquidated with the penalty, a
    fraction of its debt.

    With ``trades_nothing`` decisions are made and recorded, and every trade is dropped.
    """

    initial_cash: float
    trading_fee_override: float | None = None
    default_fee: float | None = None
    allow_missing_fees: bool = False
    three_leg_resolution: bool = True
    data_delay_tolerance: timedelta | None = None
    trades_nothing: bool = False
    liquidation_penalty: float = DEFAULT_LIQUIDATION_PENALTY
    lease_resources: Sequence[str] = field(default=(), init=False)
    purse: Purse = field(default=PAPER, init=False)

    def open_desk(self, request: DeskRequest) -> Desk:
        """Return simulated execution at candle prices; raises UnknownPair for a position outside the universe."""
        universe, clock, state = request.universe, request.clock, request.state
        _require_known_pairs(state)
        costs = CostModel(request.costs)
        market = CandleMarket(
            universe,
            costs,
            trading_fee_override=self.trading_fee_override,
            default_fee=self.default_fee,
            allow_missing_fees=self.allow_missing_fees,
            three_leg_resolution=self.three_leg_resolution,
            data_delay_tolerance=self.data_delay_tolerance,
        )
        feed = universe.stop_loss_candles
        marks = market.value_at(clock)
        candles: CandlePanel = universe.candles
        if request.is_trigger_check and feed is not None:
            candles = feed
            marks.look_at_triggers(clock.timestamp_us)
        pricing = market.price_on(candles, clock)
        if costs.delay is not None:
            logger.warning("Trades on paper are filled when they are decided: ExecutionDelay is for backtests only")
        wallet = SimulatedWallet({asset: held.quantity for asset, held in expected_balances(state).items()})
        return Desk(
            pricing=pricing,
            marks=marks,
            execution=(
                DummyExecution()
                if self.trades_nothing
                else PaperExecution(simulate_execution(wallet, _feed_test(feed), costs, request.max_price_impact))
            ),
            redemptions=PaperRedemptions(wallet, request.fund_fees),
            treasury=PaperTreasury(wallet, self.initial_cash, request.fund_fees),
            balances=PaperBalances(wallet),
            settlement=VaultSettlement(wallet, pricing, costs),
            interest=LendingInterest(universe.lending, wallet.add),
            liquidation_penalty=self.liquidation_penalty,
        )


@dataclass(frozen=True, slots=True)
class PaperExecution:
    """Simulated fills, one trade after the other: a trade that fails does not stop the others."""

    execution: SimulatedExecution

    def execute_trades(
        self, timestamp: datetime, state: State, trades: Sequence[TradeExecution], triggered: bool = False
    ) -> None:
        """Execute planned trades in the order given; one that fails freezes its position, whose others are dropped."""
        for trade in trades:
            if not trade.is_planned():
                continue
            if trade.position_id in state.portfolio.frozen_positions:
                reason = "its position was frozen before it began"
                state.record(TradeDiscarded(to_aware(timestamp), trade.trade_id, trade.position_id, reason))
                continue
            try:
                self.execution.execute_trades(timestamp, state, [trade], triggered)
            except (BacktestExecutionFailed, AutoClosingOrderUnsupported, PriceImpactToleranceExceeded) as error:
                _fail(state, trade, to_aware(timestamp), str(error))

    def resume(self, timestamp: datetime, state: State) -> Sequence[TradeExecution]:  # noqa: ARG002 - the port names it
        """Return nothing: what was not filled when a step ended was never begun."""
        return ()

    def may_retry(self, state: State, trade: TradeExecution) -> str:  # noqa: ARG002 - the port names them
        """Return no reason not to try a failed trade again: on paper nothing takes effect later."""
        return ""


@dataclass(frozen=True, slots=True)
class PaperTreasury:
    """Deposits the initial cash, once."""

    wallet: SimulatedWallet
    initial_cash: float
    fund_fees: LiveFundFees = NO_FUND_FEES

    def sync_treasury(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:
        """Record the initial deposit when the ledger has none."""
        if state.portfolio.reserve.initial_deposit is not None:
            return ()
        return self._book(timestamp, state, exact(self.initial_cash, "initial_cash"))

    def deposit(self, timestamp: datetime, state: State, amount: Decimal) -> Sequence[BalanceUpdate]:
        """Record more money, after the initial deposit; reserve tokens."""
        return [*self.sync_treasury(timestamp, state), *self._book(timestamp, state, amount)]

    def _book(self, timestamp: datetime, state: State, amount: Decimal) -> Sequence[BalanceUpdate]:
        treasury = SimulatedTreasury(self.wallet.add)
        treasury.before_flow = self.fund_fees.before_flow
        treasury.simulate_funding(timestamp, amount)
        pending = state.sync.treasury.pending_redemptions
        updates = treasury.sync_treasury(timestamp, state)
        state.sync.treasury.pending_redemptions = pending
        return updates


@dataclass(frozen=True, slots=True)
class PaperRedemptions:
    """Pays redemptions out of the simulated wallet, at once."""

    wallet: SimulatedWallet
    fund_fees: LiveFundFees = NO_FUND_FEES

    def check(self, state: State, amount: Decimal, recipient: str) -> str:  # noqa: ARG002 - the port names them
        """Return the recipient: on paper anybody."""
        return recipient

    def resume(self, timestamp: datetime, state: State) -> Sequence[Redemption]:  # noqa: ARG002 - as above
        """Return nothing: what was not paid when a step ended was never begun."""
        return ()

    def pay(self, timestamp: datetime, state: State) -> Sequence[Redemption]:
        """Pay what cash covers, in the order it was asked for."""
        reserve = state.portfolio.reserve
        for redemption in list_payable(state):
            if redemption.amount <= reserve.quantity:
                self.fund_fees.before_flow(timestamp, state)
                self.wallet.add(reserve.asset, -redemption.amount)
                book_redemption(to_aware(timestamp), timestamp, state, redemption, quantity=redemption.amount)
        return ()


@dataclass(frozen=True, slots=True)
class PaperBalances:
    """The simulated wallet as real balances."""

    wallet: SimulatedWallet

    def read_balances(self, assets: Sequence[AssetIdentifier]) -> Mapping[AssetIdentifier, Decimal]:
        """Return the balances of the wallet."""
        return {asset: self.wallet.get_balance(asset) for asset in assets}


def _fail(state: State, trade: TradeExecution, at: datetime, reason: str) -> None:
    if trade.get_status() is TradeStatus.planned:
        state.record(TradeDiscarded(at, trade.trade_id, trade.position_id, reason))
    else:
        state.record(TradeFailed(at, trade.trade_id, trade.position_id, reason))
        state.record(PositionFrozen(at, trade.position_id, reason))


def _feed_test(feed: CandlePanel | None) -> Callable[[TradingPairIdentifier], bool]:
    """Return what tells whether a pair's triggers can be checked."""
    columns = None if feed is None else PriceColumns(feed, "open", DEFAULT_TOLERANCE)
    return lambda pair: columns is not None and columns.has_pair(pair.get_pricing_pair().internal_id)


def _require_known_pairs(state: State) -> None:
    """Refuse positions on pairs without candles: they could be neither valued nor closed."""
    for position in state.portfolio.get_open_and_frozen_positions():
        if position.pair.get_pricing_pair().internal_id is None and not position.is_credit_supply():
            raise UnknownPair(
                f"{position} is on a pair that the universe does not have: keep the pair in create_trading_universe "
                "until the position is closed"
            )
