"""What the events of a trade do to cash and position: reserve leaves cash, comes back, becomes tokens or a loan."""

from __future__ import annotations

from datetime import datetime

from trading_dagster.domain.error import LedgerError, NotEnoughMoney
from trading_dagster.domain.event import SettlementMoved, SettlementRequested, TradeExecuted
from trading_dagster.domain.money import FLOAT_ROUNDING
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradeFill
from trading_dagster.domain.vault import SettlementMove


def start_trade(portfolio: Portfolio, position: TradingPosition, trade: TradeExecution, at: datetime) -> None:
    """Take what a trade needs out of cash; raises NotEnoughMoney."""
    plan = trade.plan
    if trade.started_at is not None:
        raise LedgerError(f"{trade} is started a second time: the ledger counts it twice")
    needed = plan.allocation
    if needed:
        allocated, cash = needed, portfolio.reserve.quantity
        if needed > cash:
            allocated = cash
            if needed - cash > cash * FLOAT_ROUNDING:
                raise NotEnoughMoney(
                    f"Trade #{plan.trade_id} {'opens' if plan.loan else 'buys'} {plan.pair.get_ticker()} for {needed} "
                    f"{plan.reserve_currency.token_symbol} but cash is {cash}: buy for less or sell first"
                )
        portfolio.add_cash(-allocated)
        trade.allocated = allocated
        position.allocated += allocated
    trade.started_at = at


def await_settlement(portfolio: Portfolio, trade: TradeExecution, event: SettlementRequested) -> None:
    """Let a trade wait for its vault."""
    if trade.started_at is None or trade.fill is not None:
        raise LedgerError(f"{trade} cannot wait for a vault: only a trade that began and did not end can")
    trade.settles_at = to_naive(event.settles_at)
    portfolio.settlements[event.trade_id] = event.position_id


def move_settlement(portfolio: Portfolio, trade: TradeExecution, event: SettlementMoved) -> None:
    """Keep what left and reached the wallet for a trade that waits for its vault."""
    if event.trade_id not in portfolio.settlements:
        raise LedgerError(f"{trade} waits for no vault that could have moved anything")
    trade.settlement_move = SettlementMove(event.quantity, event.reserve)


def fill_trade(
    portfolio: Portfolio, position: TradingPosition, trade: TradeExecution, event: TradeExecuted, at: datetime
) -> None:
    """Turn what was taken out of cash into what the venue gave, and bring what came back into cash."""
    plan = trade.plan
    if trade.started_at is None or trade.fill is not None:
        raise LedgerError(f"{trade} cannot be executed: a trade is started, then executed once")
    if (plan.loan is None) != (event.loan is None):
        raise LedgerError(
            f"{trade} was planned {'without' if plan.loan is None else 'with'} a loan, executed otherwise"
        )
    profit = None
    if event.loan is not None:
        _release(position, trade)
        change = trade.allocated - event.loan.collateral_allocation
        if change:
            portfolio.add_cash(change)
        profit = _profit_of_loan(position, trade, event)
    elif event.quantity > 0:
        _release(position, trade)
        change = trade.allocated - event.reserve
        if change:
            portfolio.add_cash(change)
    else:
        portfolio.add_cash(event.reserve)
        average_buy = position.get_average_buy()
        if average_buy is not None:
            profit = float(event.reserve) + average_buy * float(event.quantity)
    trade.fill = TradeFill(
        at,
        event.quantity,
        event.reserve,
        event.price,
        event.lp_fees,
        profit,
        event.tx_hash,
        event.block_number,
        event.gas_cost,
        event.loan,
        event.gas_usd,
    )
    position.apply_fill(trade)
    portfolio.trade_count += 1


def give_back(portfolio: Portfolio, position: TradingPosition, trade: TradeExecution) -> None:
    """Put what a trade had taken from cash back."""
    if trade.allocated:
        _release(position, trade)
        portfolio.add_cash(trade.allocated)


def _release(position: TradingPosition, trade: TradeExecution) -> None:
    """Take a trade's money out of what its position has in running trades, with the digits it was added with."""
    position.allocated -= +trade.allocated


def keep_left_over(portfolio: Portfolio, position: TradingPosition) -> None:
    """Remember what a closed position leaves in the wallet."""
    for asset, quantity in position.get_token_balances():
        portfolio.keep_dust(asset, quantity)


def _profit_of_loan(position: TradingPosition, trade: TradeExecution, event: TradeExecuted) -> float | None:
    """Return the realised profit of what shrinks a position with a loan, interest included, else None."""
    change = event.loan
    if change is None or not trade.is_shrinking():
        return None
    interest = float(change.claimed_interest) - float(change.repaid_interest) * event.price
    average_sell = position.get_average_sell()
    if not position.is_short() or average_sell is None:
        return interest
    return (average_sell - event.price) * float(event.quantity) + interest
