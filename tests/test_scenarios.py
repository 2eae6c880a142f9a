"""Acceptance scenarios of spot trading: the engine must reproduce every number, to 1e-9 relative."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import pytest

from tests.scenario import (
    CANDLES_END,
    START,
    ema,
    open_with_stop_loss,
    open_with_stop_loss_usd,
    open_with_take_profit,
    open_without_trigger,
    run_s1,
    run_s2,
    run_s5,
)
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import TimeBucket
from trading_dagster.domain.trade import TradeExecution, TradeType
from trading_dagster.market.synthetic import generate_ohlcv_candles
from trading_dagster.strategy.input import StrategyInput


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=0)


def to_digits(value: Decimal | None, like: str) -> Decimal:
    """Round to the digits that the text prints."""
    assert value is not None
    return value.quantize(Decimal(like))


def trades_by_id(result: BacktestResult) -> dict[int, TradeExecution]:
    return {trade.trade_id: trade for trade in result.state.portfolio.get_all_trades()}


def positions(result: BacktestResult) -> list[TradingPosition]:
    return sorted(result.state.portfolio.get_all_positions(), key=lambda position: position.position_id)


def count_types(result: BacktestResult) -> Counter[TradeType]:
    return Counter(trade.trade_type for trade in result.state.portfolio.get_all_trades())


# -- S1: EMA, long only -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s1() -> BacktestResult:
    return run_s1()


def test_s1_ends_with_cash_only(s1: BacktestResult) -> None:
    portfolio = s1.state.portfolio
    assert len(s1.decisions) == 213
    assert portfolio.get_cash() == near(9952.829556143553)
    assert portfolio.calculate_total_equity() == near(9952.829556143553)
    assert s1.equity_curve.iloc[-1] == near(9952.829556143553)
    assert not portfolio.open_positions


def test_s1_makes_22_trades_in_11_positions(s1: BacktestResult) -> None:
    portfolio = s1.state.portfolio
    trades = portfolio.get_all_trades()
    assert [trade.trade_id for trade in trades] == list(range(1, 23))
    assert [position.position_id for position in positions(s1)] == list(range(1, 12))
    assert len(portfolio.closed_positions) == 11
    profits = [position.get_realised_profit_usd() or 0.0 for position in positions(s1)]
    assert sum(profit > 0 for profit in profits) == 4
    assert sum(profit < 0 for profit in profits) == 7
    assert sum(profits) == near(-47.17044385644749)
    assert sum(trade.get_value() for trade in trades) == near(21900.29776619458)
    assert sum(trade.lp_fees_paid or 0.0 for trade in trades) == near(65.79952827646791)


def test_s1_first_trade_buys(s1: BacktestResult) -> None:
    first = trades_by_id(s1)[1]
    assert first.is_buy()
    assert first.executed_at == datetime(2021, 7, 2)
    assert to_digits(first.executed_quantity, "0.618322264180190601655") == Decimal("0.618322264180190601655")
    assert first.executed_price == near(1617.2796257399223)
    assert first.executed_reserve == 1000


def test_s1_second_trade_sells_with_profit(s1: BacktestResult) -> None:
    second = trades_by_id(s1)[2]
    assert second.is_sell()
    assert second.executed_at == datetime(2021, 7, 10)
    assert to_digits(second.executed_quantity, "-0.618322264180190601655") == Decimal("-0.618322264180190601655")
    assert second.executed_price == near(1651.395374198072)
    assert to_digits(second.executed_reserve, "1021.09452683084497526") == Decimal("1021.09452683084497526")
    assert second.profit == near(21.094526830844895)
    assert positions(s1)[0].get_realised_profit_usd() == near(21.094526830844895)


def test_s1_second_position_loses(s1: BacktestResult) -> None:
    third, fourth = trades_by_id(s1)[3], trades_by_id(s1)[4]
    assert third.executed_at == datetime(2021, 7, 11)
    assert float(third.executed_quantity or 0) == near(0.585715776248)
    assert third.executed_price == near(1710.914223792843)
    assert fourth.executed_at == datetime(2021, 8, 6)
    assert fourth.executed_price == near(1467.6766832587407)
    assert fourth.profit == near(-142.468065)
    assert fourth.position_id == 2


def test_s1_last_trade(s1: BacktestResult) -> None:
    last = trades_by_id(s1)[22]
    assert last.executed_at == datetime(2021, 12, 30)
    assert float(last.executed_quantity or 0) == near(-0.499124680283)
    assert last.executed_price == near(1903.3198905123943)


def test_s1_ema_of_the_last_20_closes() -> None:
    closes = generate_ohlcv_candles(TimeBucket.d1, START, CANDLES_END)["close"].tolist()
    assert len(closes) == 214
    assert ema(closes[-20:], 20) == pytest.approx(1955.019773, abs=5e-7)


# -- S2: buy and hold 10 % --------------------------------------------------------------------------------------------


def test_s2_buys_once_and_holds() -> None:
    result = run_s2()
    portfolio = result.state.portfolio
    (trade,) = portfolio.get_all_trades()
    assert trade.executed_at == datetime(2021, 6, 1)
    assert to_digits(trade.executed_quantity, "0.553893873933754334532") == Decimal("0.553893873933754334532")
    assert trade.executed_price == near(1805.3999999999999)
    assert trade.get_value() == 1000
    assert portfolio.get_cash() == 9000
    assert portfolio.get_position_equity_and_loan_nav() == near(1054.2372274910792)
    assert portfolio.calculate_total_equity() == near(10054.23722749108)
    assert result.equity_curve.index[-1] == datetime(2021, 12, 30)
    assert result.equity_curve.iloc[-1] == near(10054.23722749108)


# -- S5: stop loss and take profit ------------------------------------------------------------------------------------


def test_s5_candles_are_the_scenario_s() -> None:
    closes = generate_ohlcv_candles(TimeBucket.h1, START, CANDLES_END)["close"].tolist()
    assert closes[:3] == near([1734.185563940232, 1691.709987967781, 1717.355122573864])
    assert closes[-1] == near(280.055130891077)


def test_s5a_without_trigger() -> None:
    result = run_s5(open_without_trigger)
    portfolio = result.state.portfolio
    assert count_types(result) == {TradeType.rebalance: 17}
    assert len(positions(result)) == 9
    assert len(portfolio.open_positions) == 1
    assert portfolio.calculate_total_equity() == near(10330.767355262418)
    assert portfolio.get_cash() == near(10043.49602837691)
    first, second = trades_by_id(result)[1], trades_by_id(result)[2]
    assert first.executed_at == datetime(2021, 6, 6)
    assert to_digits(first.executed_quantity, "0.51820809593300253640") == Decimal("0.51820809593300253640")
    assert first.executed_price == near(1929.726702165006)
    assert second.executed_at == datetime(2021, 6, 14)
    assert second.is_sell()
    assert second.executed_price == near(3169.9702009242424)


@pytest.mark.parametrize("open_position", [open_with_stop_loss, open_with_stop_loss_usd], ids=["pct", "usd"])
def test_s5b_stop_loss(open_position: Callable[[StrategyInput, float], list[TradeExecution]]) -> None:
    result = run_s5(open_position)
    portfolio = result.state.portfolio
    trades = portfolio.get_all_trades()
    assert count_types(result) == {TradeType.stop_loss: 25, TradeType.rebalance: 37}
    assert [trade.trade_id for trade in trades] == list(range(1, 63))
    assert len(positions(result)) == 31
    assert not portfolio.open_positions
    assert portfolio.calculate_total_equity() == near(9853.377768258064)
    assert portfolio.get_cash() == near(9853.377768258064)
    assert result.equity_curve.iloc[-1] == near(9853.377768258064)

    first_stop, *others = [trade for trade in trades if trade.is_stop_loss()]
    assert (first_stop.trade_id, first_stop.position_id) == (2, 1)
    assert first_stop.executed_at == datetime(2021, 6, 6, 6)
    assert first_stop.executed_price == near(1824.7905570226733)
    assert to_digits(first_stop.executed_reserve, "945.621240031242612") == Decimal("945.621240031242612")

    second_buy, second_stop = trades_by_id(result)[3], others[0]
    assert second_buy.is_buy()
    assert second_buy.executed_at == datetime(2021, 6, 9)
    assert second_buy.executed_price == near(1954.9953489427041)
    assert (second_stop.trade_id, second_stop.position_id) == (4, 2)
    assert second_stop.executed_at == datetime(2021, 6, 9, 2)
    assert second_stop.executed_price == near(1854.2507714240687)

    last_stop = others[-1]
    assert last_stop.executed_at == datetime(2021, 12, 30, 15)
    assert last_stop.executed_price == near(297.43577613824004)


def test_s5c_take_profit() -> None:
    result = run_s5(open_with_take_profit)
    portfolio = result.state.portfolio
    assert count_types(result) == {TradeType.take_profit: 32, TradeType.rebalance: 37}
    assert len(portfolio.get_all_trades()) == 69
    assert len(positions(result)) == 35
    assert len(portfolio.open_positions) == 1
    assert portfolio.calculate_total_equity() == near(11841.026203255848)
    assert portfolio.get_cash() == near(11224.413213426176)
    first_profit = next(trade for trade in portfolio.get_all_trades() if trade.is_take_profit())
    assert first_profit.executed_at == datetime(2021, 6, 8, 17)
    assert first_profit.executed_price == near(2042.2324034276994)
