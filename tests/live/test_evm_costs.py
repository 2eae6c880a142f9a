"""What trades on a chain really cost: told in the tables of a backtest, and never mixed with simulated costs."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import Rig
from evm.test_execution import move_price
from evm.trader import Trader
from live.evm_wallet import life, next_day  # noqa: F401 - fixture
from live.world import events, load

import trading_dagster as td
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.inspection import show_costs
from trading_dagster.statistics.cost_table import COST_COLUMNS, COSTS, analyse_costs, summarise_costs, trade_costs
from trading_dagster.statistics.trade_analysis import build_trade_analysis
from trading_dagster.statistics.trade_table import CHARGE_COLUMNS, trades_table


@pytest.fixture
def trader(rig: Rig) -> Trader:  # noqa: F811
    trader = Trader(rig)
    trader.fund()
    return trader


def costs_of(trade) -> dict[str, float]:
    return dict(zip(COSTS, trade_costs(trade), strict=True))


def lost(trade) -> float:
    """What a trade lost against the mid price of its decision, USD."""
    side = 1 if trade.is_buy() else -1
    return side * (trade.executed_price - trade.planned_mid_price) * abs(float(trade.executed_quantity))


@pytest.mark.parametrize("pair", ["eth_usd", "btc_eth"])
def test_costs_of_a_swap_sum_to_what_it_lost_against_the_mid_price(trader: Trader, pair: str):
    buy = trader.buy(getattr(trader.pairs, pair), Decimal(5_000))
    trader.execute(buy)
    sell = trader.sell(trader.state.portfolio.open_positions[buy.position_id])
    trader.execute(sell)
    for trade in (buy, sell):
        costs = costs_of(trade)
        assert math.fsum(v for k, v in costs.items() if k != "gas") == pytest.approx(lost(trade), rel=1e-9)
        assert costs["fee"] == pytest.approx(trade.lp_fees_paid, rel=0.02)
        assert costs["impact"] > 0
        assert abs(costs["slippage"]) < 1e-4
        assert (costs["tax"], costs["delay"]) == (0, 0)
        assert math.isnan(costs["gas"]), "nobody knows what gas is worth"


def test_market_that_moved_before_the_fill_is_slippage_and_no_impact(trader: Trader):
    calm = trader.buy(trader.pairs.eth_usd, Decimal(5_000))
    move_price(trader, usd=10_000)
    trader.execute(calm)
    costs = costs_of(calm)
    assert costs["slippage"] == pytest.approx(
        (calm.executed_price - calm.planned_price) * float(calm.executed_quantity), rel=1e-9
    )
    assert costs["slippage"] > 5_000 * 0.004
    table = analyse_costs(trader.state)
    assert table["slippage"].tolist() == [costs["slippage"]]
    assert table["total"].iloc[0] == pytest.approx(lost(calm), rel=1e-9)


def test_cycles_have_their_costs_in_the_tables_of_a_backtest(life: SimpleNamespace):  # noqa: F811
    """The wrapped token is what the strategy trades, so that gas is valued by its pool's price."""
    venue = replace(life.venue, wrapped_native=life.market.eth)
    live = replace(life.live, venue=venue)
    for _ in range(3):
        run_cycle(live)
        next_day(life)
    venue.journal.close()
    state = load(live)
    table, summary = analyse_costs(state), summarise_costs(state)
    trades = state.portfolio.get_all_trades()
    assert list(table.columns) == list(COST_COLUMNS)
    for trade, gas in zip(trades, table["gas"], strict=True):
        assert gas == pytest.approx(float(trade.fill.gas_cost) * trade.planned_mid_price, rel=2e-3)
    assert summary.loc["gas", "usd"] == pytest.approx(table["gas"].sum())
    assert summary.loc["total", "usd"] == pytest.approx(math.fsum(map(lost, trades)) + table["gas"].sum(), rel=1e-9)
    assert [row.cost for row in show_costs(live)] == [*COSTS, "total"]
    assert show_costs(live)[-1].usd == summary.loc["total", "usd"]
    rows = trades_table(state)
    assert rows[list(CHARGE_COLUMNS)].notna().all(axis=None)
    assert (rows["impact"] > 0).all()
    told = build_trade_analysis(state.portfolio).calculate_summary_statistics()
    assert (told.price_impact_paid, told.gas_paid) == pytest.approx((table["impact"].sum(), table["gas"].sum()))


def test_simulated_costs_of_the_strategy_are_not_booked_on_a_chain(life: SimpleNamespace):  # noqa: F811
    costs = (td.Slippage(bps=300), td.GasPerTrade(usd=50), td.PairFee(0.05))
    live = replace(life.live, strategy=life.live.strategy.with_parameters({"costs": costs}))
    run_cycle(live)
    (trade,) = load(live).portfolio.get_all_trades()
    assert trade.fee_tier == pytest.approx(0.003)
    assert costs_of(trade)["slippage"] < 0.01
    assert "TradeCharged" not in events(live)
    assert load(live).portfolio.reserve.quantity == 1_000_000 - trade.executed_reserve
