"""Settles orders of vaults that take their time: money left, or shares were promised, when the order was made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from trading_dagster.domain.error import CandleSampleUnavailable
from trading_dagster.domain.event import TradeCharged, TradeExecuted
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeCharges, TradeExecution
from trading_dagster.execution.costed import without_gas
from trading_dagster.execution.wallet import SimulatedWallet, check_wallet
from trading_dagster.pricing.cost_model import NO_COSTS, CostModel


class SharePrice(Protocol):
    """What tells the price of a share; CandleSampleUnavailable when it is not known."""

    def get_mid_price(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return reserve per share at a naive UTC time."""
        ...


class VaultSettlement:
    """Simulated vaults: an order settles in the first cycle that is late enough, at that cycle's share price."""

    def __init__(self, wallet: SimulatedWallet, pricing: SharePrice, costs: CostModel = NO_COSTS) -> None:
        """Settle into a wallet; of the costs an order pays gas."""
        self._wallet = wallet
        self._pricing = pricing
        self._costs = costs

    def settle(self, timestamp: datetime, state: State) -> list[TradeExecution]:
        """Settle the orders that are due at a naive UTC time; one whose vault has no price stays.

        Returns:
            The settled trades, oldest first.
        """
        settled: list[TradeExecution] = []
        for trade_id, position_id in list(state.portfolio.settlements.items()):
            trade = state.portfolio.get_position_by_id(position_id).trades[trade_id]
            if trade.settles_at is None or trade.settles_at > timestamp:
                continue
            try:
                price = self._pricing.get_mid_price(timestamp, trade.pair)
            except CandleSampleUnavailable:
                continue
            self._settle(timestamp, state, trade, price)
            settled.append(trade)
        self._check(state, settled)
        return settled

    def settle_last(
        self, timestamp: datetime, state: State, position: TradingPosition, price: float
    ) -> list[TradeExecution]:
        """Settle the orders of a position whose vault is gone, whenever they were due, at its last real price."""
        settlements = state.portfolio.settlements
        waiting = [trade_id for trade_id, owner in settlements.items() if owner == position.position_id]
        settled = [position.trades[trade_id] for trade_id in waiting]
        for trade in settled:
            self._settle(timestamp, state, trade, price)
        self._check(state, settled)
        return settled

    def _check(self, state: State, settled: Sequence[TradeExecution]) -> None:
        if settled:
            touched: set[AssetIdentifier] = {trade.pair.base for trade in settled}
            check_wallet(state, self._wallet, touched | {state.portfolio.reserve.asset})

    def _settle(self, timestamp: datetime, state: State, trade: TradeExecution, price: float) -> None:
        plan = trade.plan
        fee = plan.pricing.pair_fee
        if plan.quantity > 0:
            reserve = without_gas(trade, self._costs.gas)
            quantity = reserve / Decimal(price * (1 + fee))
            self._wallet.add(plan.pair.base, quantity)
            fees = float(reserve) * fee
        else:
            quantity = plan.quantity
            reserve = -quantity * Decimal(price * (1 - fee))
            self._wallet.add(plan.pair.base, quantity)
            self._wallet.add(plan.reserve_currency, reserve)
            fees = -float(quantity) * price * fee
        paid = float(abs(reserve / quantity))
        at = state.aware_at(timestamp)
        state.record(TradeExecuted(at, plan.trade_id, plan.position_id, quantity, reserve, paid, fees))
        if self._costs.changes_fills:
            self._charge(at, state, trade)

    def _charge(self, at: datetime, state: State, trade: TradeExecution) -> None:
        """Take gas: a deposit's came back from its money just now, and left the wallet with it."""
        gas = min(self._costs.gas, state.portfolio.reserve.quantity)
        if gas and trade.is_sell():
            self._wallet.add(trade.reserve_currency, -gas)
        state.record(TradeCharged(at, trade.trade_id, trade.position_id, TradeCharges(gas)))
