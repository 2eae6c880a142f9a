"""Cycles on a chain beside the backtest on the same candles: equal decisions, and prices explained by the pool."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import FAST, Rig
from evm.node import CHAIN_ID
from evm.trader import make_pairs
from live.evm_life import make_venue

import trading_dagster as td
from trading_dagster.evm.past_price import PastPrices
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_fixed_price_candles,
)
from trading_dagster.research.divergence import compare_with_backtest
from trading_dagster.research.divergence_table import describe_report
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

START = datetime(2026, 1, 10)
CANDLE_PRICE = 3_960.0
POOL_PRICE, USD_IN_POOL = 4_000.0, 4_000_000
VALUE = 20_000.0
DELAY = timedelta(minutes=5)


def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
    """Buy on even days, sell on odd ones."""
    manager = input.get_position_manager()
    if input.timestamp.day % 2:
        return manager.close_all()
    return manager.open_spot(input.get_default_pair(), value=VALUE)


@pytest.fixture
def live(rig: Rig, tmp_path: Path) -> Iterator[LiveStrategy]:  # noqa: F811
    """Return a strategy on the test chain whose candles are a percent below the pool."""
    rig.market.node.mine(5)
    clock = ManualClock(START.replace(tzinfo=UTC) + DELAY)
    pair = make_pairs(rig.market).eth_usd

    def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
        end = input.universe_options.end_at
        candles = generate_fixed_price_candles(td.TimeBucket.d1, START - timedelta(days=20), end, {pair: CANDLE_PRICE})
        exchange = generate_exchange(1, CHAIN_ID, rig.market.uniswap.factory)
        return create_synthetic_single_pair_universe(candles, CHAIN_ID, exchange, td.TimeBucket.d1, pair)

    venue = make_venue(
        rig.market,
        tmp_path / "journal.sqlite",
        [],
        clock=clock,
        max_decision_age=timedelta(hours=1),
        sleep=lambda seconds: rig.market.node.mine(),
    )
    parameters = {
        "cycle_duration": td.CycleDuration.cycle_1d,
        "required_history_period": timedelta(days=5),
        "slippage_tolerance": 0.01,
    }
    module = StrategyModule(
        "Wallet", decide, StrategyParameters(parameters), create_trading_universe=create_trading_universe
    )
    with SqlLedgerStore(tmp_path / "ledger.sqlite") as store:
        yield LiveStrategy("wallet", module, None, venue, store, clock, ExecutionMode.real_trading, wait_s=0.0)
    venue.journal.close()


def test_every_difference_of_a_swap_is_explained_by_the_pool(live: LiveStrategy, rig: Rig) -> None:  # noqa: F811
    for _ in range(4):
        run_cycle(live)
        live.clock.moment += timedelta(days=1)
        rig.market.node.mine(FAST.confirmations)

    past = PastPrices(live.venue.node, live.venue.dex)
    report = compare_with_backtest(live, mid_at_fill=past.mid_before_fill)

    assert [each.is_same for each in report.decisions] == [True] * 4
    assert len(report.matched) == 4
    assert report.unmatched == ()
    for each in report.matched:
        side = 1 if each.live.is_buy() else -1
        assert each.difference.total == Fraction(each.live.executed_price) - Fraction(each.backtest.executed_price)
        assert each.difference.data == Fraction(each.live.planned_mid_price) - Fraction(CANDLE_PRICE)
        assert each.difference.impact * side > 0
        assert each.difference.move == 0
        assert abs(each.difference.slippage) < Fraction(each.live.executed_price) / 10**9
        assert each.knows_move
        assert each.delay == DELAY
        assert each.live.fill.gas_cost > 0
    bought = report.matched[0].difference  # later ones meet a pool that earlier ones moved
    assert float(bought.data) == POOL_PRICE - CANDLE_PRICE
    without_impact = POOL_PRICE / 0.997
    assert float(bought.impact) == pytest.approx(without_impact * VALUE * 0.997 / USD_IN_POOL, rel=1e-9)
    assert float(bought.fee) == pytest.approx(without_impact - POOL_PRICE - CANDLE_PRICE * 0.003, rel=1e-9)
    assert "wallet: live and backtest are different" in describe_report(report)
