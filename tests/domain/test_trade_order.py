"""The order in which the trades of a batch run."""

from __future__ import annotations

from decimal import Decimal

import pytest
from ledger import CREDIT, VAULT
from tape import START, USDC, WETH_USDC, Desk, pair_of, token

from trading_dagster.domain.identifier import TradingPairIdentifier, TradingPairKind
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradePlan, TradePricing, TradeType
from trading_dagster.domain.trade_order import execution_sort_key, in_execution_order

M = 1_000_000
SHORT = pair_of(
    9, token(9, "vWETH"), USDC, kind=TradingPairKind.lending_protocol_short, underlying_spot_pair=WETH_USDC, fee=0.0
)


def trade(
    number: int, pair: TradingPairIdentifier, quantity: int, *flags: TradeFlag, closing: bool = False
) -> TradeExecution:
    plan = TradePlan(
        trade_id=number,
        position_id=1,
        pair=pair,
        trade_type=TradeType.rebalance,
        quantity=Decimal(quantity),
        reserve=Decimal(abs(quantity)),
        pricing=TradePricing(1.0, 1.0, 0.0, 0.0, quantity > 0, START),
        reserve_currency=USDC,
        closing=closing,
        flags=frozenset(flags),
    )
    return TradeExecution(plan, START)


OPEN, INCREASE, REDUCE, CLOSE = TradeFlag.open, TradeFlag.increase, TradeFlag.reduce, TradeFlag.close
TABLE = {
    "credit supply close": (trade(7, CREDIT, -5, CLOSE, closing=True), -7 - 200 * M),
    "spot close": (trade(7, WETH_USDC, -5, CLOSE, closing=True), -7 - 100 * M),
    "vault close": (trade(7, VAULT, -5, CLOSE, closing=True), -7 - 100 * M),
    "short close": (trade(7, SHORT, 5, CLOSE, closing=True), -7 - 100 * M),
    "vault redemption": (trade(7, VAULT, -5, REDUCE), -7 - 50 * M),
    "spot reduce": (trade(7, WETH_USDC, -5, REDUCE), -7 - 40 * M),
    "short reduce": (trade(7, SHORT, 5, REDUCE), -7 - 40 * M),
    "credit reduce": (trade(7, CREDIT, -5, REDUCE), -7 - 40 * M),
    "spot open": (trade(7, WETH_USDC, 5, OPEN, INCREASE), 7),
    "spot increase": (trade(7, WETH_USDC, 5, INCREASE), 7),
    "short open": (trade(7, SHORT, -5, OPEN), 7),
    "short increase": (trade(7, SHORT, -5, INCREASE), 7),
    "credit increase": (trade(7, CREDIT, 5, INCREASE), 7),
    "vault deposit": (trade(7, VAULT, 5, OPEN, INCREASE), 7 + 50 * M),
    "vault increase": (trade(7, VAULT, 5, INCREASE), 7 + 50 * M),
    "credit open": (trade(7, CREDIT, 5, OPEN), 7 + 200 * M),
}


@pytest.mark.parametrize("name", TABLE)
def test_key_of_each_kind_of_trade(name):
    item, key = TABLE[name]
    assert execution_sort_key(item) == key


def test_credit_is_released_first_and_cash_parked_last():
    trades = [
        trade(1, CREDIT, 5, OPEN),
        trade(2, VAULT, 5, OPEN),
        trade(3, WETH_USDC, 5, OPEN),
        trade(4, WETH_USDC, -5, REDUCE),
        trade(5, VAULT, -5, REDUCE),
        trade(6, WETH_USDC, -5, closing=True),
        trade(7, CREDIT, -5, closing=True),
    ]
    assert [t.trade_id for t in in_execution_order(trades)] == [7, 6, 5, 4, 3, 2, 1]
    assert in_execution_order(reversed(trades)) == in_execution_order(trades)


def test_later_trades_go_first_among_sells_and_last_among_buys():
    sells = [trade(n, WETH_USDC, -5, closing=True) for n in (1, 2, 3)]
    buys = [trade(n, WETH_USDC, 5) for n in (4, 5, 6)]
    assert [t.trade_id for t in in_execution_order(buys + sells)] == [3, 2, 1, 4, 5, 6]


def test_buys_are_paid_by_the_sells_of_their_cycle():
    desk = Desk({WETH_USDC: [100.0, 100.0], pair_of(2, token(3, "AAVE"), USDC, fee=0.0): [50.0, 50.0]})
    desk.execute(desk.manager.open_spot(WETH_USDC, 10_000))
    position = desk.manager.get_current_position()
    buy = desk.manager.open_spot(desk.universe.pairs[1], 10_000)
    desk.execute(buy + desk.manager.close_position(position))
    assert desk.manager.get_current_position().pair.base.token_symbol == "AAVE"
    assert desk.manager.get_current_cash() == 0
