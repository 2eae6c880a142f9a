"""Simulated execution: perfect fills at the planned price against the simulated wallet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import (
    AutoClosingOrderUnsupported,
    BacktestExecutionFailed,
    NotEnoughMoney,
    OutOfSimulatedBalance,
)
from trading_dagster.domain.event import SettlementRequested, TradeExecuted, TradeStarted
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.money import SELL_OVERSHOOT_EPSILON
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware, to_naive
from trading_dagster.domain.trade import TradeExecution, TradePricing, TradeType
from trading_dagster.domain.vault_history import VaultBook
from trading_dagster.execution.wallet import SimulatedWallet, check_wallet


class SimulatedExecution:
    """Fills each trade as planned: a buy spends its reserve, a sell gives its quantity."""

    def __init__(self, wallet: SimulatedWallet, has_trigger_feed: Callable[[TradingPairIdentifier], bool]) -> None:
        """Trade from a wallet; ``has_trigger_feed`` tells whether triggers of a pair can be checked."""
        self.wallet = wallet
        self._has_trigger_feed = has_trigger_feed
        self._pairs_with_feed: set[int] = set()
        """Ids of pairs whose triggers were found to be checked."""
        self._vaults = VaultBook()

    def execute_trades(
        self,
        timestamp: datetime,
        state: State,
        trades: Sequence[TradeExecution],
        triggered: bool = False,  # noqa: ARG002 - the port names it; a simulated fill is the same either way
    ) -> None:
        """Execute planned trades in the order given.

        Raises:
            BacktestExecutionFailed: wallet or cash cannot cover a trade.
            AutoClosingOrderUnsupported: a position has triggers that nothing can check.
            AccountingMismatch: ledger and wallet disagree after the batch.
        """
        at = state.aware_at(timestamp)
        reserve = state.portfolio.reserve.asset
        touched = {reserve}
        for trade in trades:
            self._check_triggers(state, trade)
            try:
                self._execute(at, state, trade)
            except (OutOfSimulatedBalance, NotEnoughMoney) as error:
                listing = "\n".join(f"  {t}" for t in trades)
                raise BacktestExecutionFailed(
                    f"{trade} failed at {timestamp}: {error}\n"
                    f"Cash {state.portfolio.reserve.quantity}; trades of the batch in order:\n{listing}"
                ) from error
            plan = trade.plan
            touched.add(plan.pair.base)
            if plan.reserve_currency is not reserve:
                touched.add(plan.reserve_currency)
            if plan.loan is not None:
                touched.add(plan.pair.quote)
        check_wallet(state, self.wallet, touched)

    def _check_triggers(self, state: State, trade: TradeExecution) -> None:
        plan = trade.plan
        position = state.portfolio.open_positions.get(plan.position_id)
        if position is None or not position.has_trigger() or plan.pair.internal_id in self._pairs_with_feed:
            return
        if not self._has_trigger_feed(plan.pair):
            raise AutoClosingOrderUnsupported(
                f"{position} has a stop loss or take profit, but {plan.pair.get_ticker()} has no stop-loss candles: "
                "load them with stop_loss_time_bucket, or trade without triggers"
            )
        if plan.pair.internal_id is not None:
            self._pairs_with_feed.add(plan.pair.internal_id)

    def _execute(self, at: datetime, state: State, trade: TradeExecution) -> None:
        plan, wallet = trade.plan, self.wallet
        state.record(TradeStarted(at, plan.trade_id, plan.position_id))
        if plan.pair.settles_later and plan.trade_type is not TradeType.delisting:  # nobody is left to wait for
            self._request(at, state, trade)
            return
        if plan.loan is not None:
            state.record(self._change_loan(at, trade, plan.loan, plan.pricing))
            return
        if plan.quantity > 0:
            reserve = self._to_spend(trade)
            quantity = plan.quantity if reserve == plan.reserve else reserve / Decimal(plan.pricing.price)
            wallet.add(plan.reserve_currency, -reserve)
            wallet.add(plan.pair.base, quantity)
        else:
            quantity = self._covered(-plan.quantity, plan.pair.base)
            reserve = plan.reserve if quantity == -plan.quantity else quantity * Decimal(plan.pricing.price)
            wallet.add(plan.pair.base, -quantity)
            wallet.add(plan.reserve_currency, reserve)
            quantity = -quantity
        price = float(abs(reserve / quantity))
        state.record(TradeExecuted(at, plan.trade_id, plan.position_id, quantity, reserve, price, plan.pricing.lp_fee))

    def _request(self, at: datetime, state: State, trade: TradeExecution) -> None:
        """Give a vault an order that it settles later: a deposit's money is gone at once, shares are kept back."""
        plan = trade.plan
        settles_at = self._vaults.terms_of(plan.pair).settles_at(to_naive(at))
        assert settles_at is not None, f"{plan.pair} settles at once"
        if plan.quantity > 0:
            self.wallet.add(plan.reserve_currency, -trade.allocated)
        state.record(SettlementRequested(at, plan.trade_id, plan.position_id, to_aware(settles_at)))

    def _change_loan(
        self, at: datetime, trade: TradeExecution, change: LoanChange, pricing: TradePricing
    ) -> TradeExecuted:
        """Move the tokens of a loan: cash, interest-bearing collateral and debt tokens, which count up."""
        plan, wallet = trade.plan, self.wallet
        quantity, reserve = plan.quantity, plan.reserve
        spent = self._to_spend(trade)
        if trade.allocated and spent != change.collateral_allocation:
            change = replace(change, collateral_allocation=spent)
            reserve = spent
            if plan.pair.is_credit_supply():
                quantity = spent
        wallet.add(plan.reserve_currency, -change.collateral_allocation)
        if plan.pair.is_credit_supply():
            self._move(plan.pair.base, quantity)
        else:
            self._move(plan.pair.quote, change.collateral_change)
            self._move(plan.pair.base, -quantity)
        if change.collateral_allocation < 0:
            reserve = -change.collateral_allocation
        return TradeExecuted(
            at, plan.trade_id, plan.position_id, quantity, reserve, pricing.price, pricing.lp_fee, loan=change
        )

    def _to_spend(self, trade: TradeExecution) -> Decimal:
        """Return what of the money taken out of cash the trade itself may use."""
        return trade.allocated

    def _move(self, asset: AssetIdentifier, quantity: Decimal) -> None:
        """Change a balance; what positions that share it give back may exceed it by their rounding only."""
        self.wallet.add(asset, quantity if quantity > 0 else -self._covered(-quantity, asset))

    def _covered(self, quantity: Decimal, asset: AssetIdentifier) -> Decimal:
        """Cut a sell that exceeds the wallet by no more than the rounding epsilon."""
        balance = self.wallet.get_balance(asset)
        return balance if balance < quantity <= balance + SELL_OVERSHOOT_EPSILON else quantity
