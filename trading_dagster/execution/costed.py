"""Simulated execution with costs: slippage, gas, a delayed price, and what each took.

Fee, tax and price impact are in the price a trade was planned at. What takes money out of cash gives away what was
planned, gas included. Trades that bring money pay gas of cash; those that nobody decided now pay what cash there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import BacktestExecutionFailed, PriceImpactToleranceExceeded
from trading_dagster.domain.event import TradeCharged, TradeExecuted, TradeStarted
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeCharges, TradeExecution, TradePricing, TradeType
from trading_dagster.execution.costed_loan import is_loan_swap, lost_to_impact, swap_loan
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.execution.wallet import SimulatedWallet
from trading_dagster.pricing.cost_model import CostModel
from trading_dagster.pricing.market_impact import price_without_impact

Requote = Callable[[TradeExecution, Decimal], TradePricing]
"""Returns the price of a trade now, for an amount: reserve of a buy, tokens of a sell and of a short's trades."""


class CostedExecution(SimulatedExecution):
    """Fills trades at their planned price, worsened by what trading costs."""

    def __init__(
        self,
        wallet: SimulatedWallet,
        has_trigger_feed: Callable[[TradingPairIdentifier], bool],
        costs: CostModel,
        max_price_impact: float,
    ) -> None:
        """Trade from a wallet; ``max_price_impact`` is the fraction that a trade's size may cost at most."""
        super().__init__(wallet, has_trigger_feed)
        self._costs = costs
        self._max_price_impact = max_price_impact
        self.requote: Requote | None = None
        """Prices trades at another time than they were planned for; None fills at the planned price."""

    def execute_trades(
        self, timestamp: datetime, state: State, trades: Sequence[TradeExecution], triggered: bool = False
    ) -> None:
        """Execute planned trades in the order given.

        Raises:
            PriceImpactToleranceExceeded: a trade moves the price too far; none of the batch ran.
            BacktestExecutionFailed: as of SimulatedExecution; gas takes all of a trade, or it tolerates less slippage.
        """
        for trade in trades:
            is_swap = trade.pair.is_spot() or is_loan_swap(trade)
            if is_swap:
                self._check_impact(trade)
            self._check_size(trade)
            if is_swap:
                self._check_slippage(trade)
        super().execute_trades(timestamp, state, trades, triggered)

    def _check_impact(self, trade: TradeExecution) -> None:
        lost = lost_to_impact(trade)
        if lost > self._max_price_impact:
            raise PriceImpactToleranceExceeded(
                f"{trade} loses {lost:.2%} to its own price impact, allowed are {self._max_price_impact:.2%}: trade "
                "less, or raise Parameters.max_price_impact"
            )

    def _check_size(self, trade: TradeExecution) -> None:
        spent = trade.plan.allocation
        if spent and spent <= self._costs.gas:
            raise BacktestExecutionFailed(
                f"{trade} spends {spent} {trade.reserve_currency.token_symbol} but gas alone takes "
                f"{self._costs.gas}: do not make trades that small, or lower GasPerTrade(usd)"
            )

    def _check_gas(self, state: State, trade: TradeExecution) -> None:
        """Refuse a trade that was decided now and whose gas neither it nor cash can pay."""
        plan = trade.plan
        if plan.allocation or plan.pair.is_async_vault() or plan.trade_type is not TradeType.rebalance or self.requote:
            return
        slipping = plan.reserve if plan.loan is None else abs(plan.loan.collateral_consumption)
        brought = plan.reserve - slipping * Decimal(self._costs.slippage)
        cash = state.portfolio.reserve.quantity
        if cash + brought < self._costs.gas:
            raise BacktestExecutionFailed(
                f"{trade} brings {brought} {plan.reserve_currency.token_symbol} and cash is {cash}, but gas takes "
                f"{self._costs.gas}: keep some cash for gas"
            )

    def _check_slippage(self, trade: TradeExecution) -> None:
        slippage, tolerance = self._costs.slippage, trade.slippage_tolerance
        if tolerance is not None and slippage > tolerance:
            raise BacktestExecutionFailed(
                f"{trade} tolerates a slippage of {tolerance:.2%} but costs have {slippage:.2%}: raise "
                "Parameters.slippage_tolerance or lower Slippage(bps)"
            )

    def _execute(self, at: datetime, state: State, trade: TradeExecution) -> None:
        self._check_gas(state, trade)
        if is_loan_swap(trade):
            self._swap_loan(at, state, trade)
            return
        if not trade.pair.is_spot():  # lent out or at a vault there is one price for everybody
            super()._execute(at, state, trade)
            if trade.fill is not None:
                self._charge(at, state, trade, TradeCharges(self._gas_of(state, trade)))
            return
        plan, wallet = trade.plan, self.wallet
        state.record(TradeStarted(at, plan.trade_id, plan.position_id))
        is_buy = trade.is_buy()
        given = self._to_spend(trade) if is_buy else self._covered(-plan.quantity, plan.pair.base)
        pricing = plan.pricing if self.requote is None else self.requote(trade, given)
        slippage = self._costs.slippage
        slipped = pricing.price * (1 + slippage if is_buy else 1 - slippage)
        price = Decimal(slipped)
        if is_buy:
            quantity, reserve, size = given / price, given, given / plan.reserve
            wallet.add(plan.reserve_currency, -reserve)
            wallet.add(plan.pair.base, quantity)
        else:
            quantity, reserve, size = -given, given * price, given / -plan.quantity
            wallet.add(plan.pair.base, quantity)
            wallet.add(plan.reserve_currency, reserve)
        fee = pricing.lp_fee if pricing is not plan.pricing else pricing.lp_fee * float(size)
        executed = float(reserve / abs(quantity))
        state.record(TradeExecuted(at, plan.trade_id, plan.position_id, quantity, reserve, executed, fee))
        gas = self._gas_of(state, trade)
        self._charge(at, state, trade, _charges(plan.pricing, pricing, slipped, float(abs(quantity)), gas))

    def _swap_loan(self, at: datetime, state: State, trade: TradeExecution) -> None:
        """Fill a trade of a short: its tokens are those planned, its price is worse."""
        plan = trade.plan
        state.record(TradeStarted(at, plan.trade_id, plan.position_id))
        loan = state.portfolio.get_position_by_id(plan.position_id).loan
        quoted = plan.pricing if self.requote is None else self.requote(trade, abs(plan.quantity))
        swap = swap_loan(trade, quoted, self._costs.slippage, ZERO if loan is None else loan.collateral.total)
        state.record(self._change_loan(at, trade, swap.change, swap.pricing))
        self._charge(at, state, trade, replace(swap.charges, gas=self._gas_of(state, trade)))

    def _to_spend(self, trade: TradeExecution) -> Decimal:
        """Leave of the money taken out of cash what gas will take."""
        return without_gas(trade, self._costs.gas)

    def _gas_of(self, state: State, trade: TradeExecution) -> Decimal:
        """Return the gas of an executed trade; a liquidator pays his own."""
        return ZERO if trade.is_liquidation() else min(self._costs.gas, state.portfolio.reserve.quantity)

    def _charge(self, at: datetime, state: State, trade: TradeExecution, charges: TradeCharges) -> None:
        if charges.gas:
            self.wallet.add(trade.reserve_currency, -charges.gas)
        state.record(TradeCharged(at, trade.trade_id, trade.position_id, charges))


def without_gas(trade: TradeExecution, gas: Decimal) -> Decimal:
    """Return what gas leaves of the money a trade took out of cash."""
    return trade.allocated - gas if gas and trade.allocated else trade.allocated


def simulate_execution(
    wallet: SimulatedWallet,
    has_trigger_feed: Callable[[TradingPairIdentifier], bool],
    costs: CostModel,
    max_price_impact: float,
) -> SimulatedExecution:
    """Return simulated execution with costs, and the plain one where they change nothing."""
    if costs.changes_fills:
        return CostedExecution(wallet, has_trigger_feed, costs, max_price_impact)
    return SimulatedExecution(wallet, has_trigger_feed)


def _charges(
    planned: TradePricing, quoted: TradePricing, slipped: float, quantity: float, gas: Decimal
) -> TradeCharges:
    """Return what a fill cost, USD, from planned mid price to executed price."""
    side = 1 if quoted.side else -1
    return TradeCharges(
        gas=gas,
        impact=side * (quoted.price - price_without_impact(quoted)) * quantity,
        slippage=side * (slipped - quoted.price) * quantity,
        delay=side * (quoted.mid_price - planned.mid_price) * quantity,
    )
