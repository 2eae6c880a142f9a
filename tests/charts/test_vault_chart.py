"""Standard charts of vaults and credit on backtests that use them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from loan_scenario import decide_credit_flow, lending_universe, open_short_and_hold, run_with_loans
from tape import START, USDC, WETH_USDC, pair_of, run_on, token, universe_of

from trading_dagster.charts import standard_chart as standard
from trading_dagster.charts.benchmark import visualise_portfolio_interest_curve
from trading_dagster.charts.rendering import choose_pairs
from trading_dagster.charts.standard_chart.credit import accumulate_interest
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.market.vault import to_vault
from trading_dagster.strategy.chart import ChartKind, ChartRegistry

DAYS = 12
RISING = [1 + 0.01 * day for day in range(DAYS)]
FALLING = [1 - 0.02 * day for day in range(DAYS)]
FIRST = to_vault(pair_of(5, token(5, "SHARE5"), USDC), VaultTerms(name="First vault"))
SLOW = to_vault(
    pair_of(6, token(6, "SHARE6"), USDC), VaultTerms(name="Slow vault", settlement_delay=timedelta(days=30))
)


def decide(input):
    pm = input.get_position_manager()
    if input.cycle == 1:
        return [*pm.open_spot(FIRST, 4_000), *pm.open_spot(SLOW, 1_000)]
    if input.cycle == 6:
        return pm.close_position(pm.get_current_position_for_pair(FIRST))
    return pm.open_spot(FIRST, 2_000) if input.cycle == 8 else []


@pytest.fixture(scope="module")
def vaults():
    universe = universe_of({FIRST: RISING, SLOW: FALLING, WETH_USDC: RISING}, TimeBucket.d1)
    return run_on(universe, decide, cycle=CycleDuration.cycle_1d, cycles=DAYS)


def given(result, *pairs):
    return result.chart_input.with_pairs(pairs or None)


def test_vaults_are_told_by_what_was_put_in_and_earned(vaults):
    table = standard.vault_statistics(given(vaults)).set_index("Vault")
    positions = [p for p in vaults.state.portfolio.get_all_positions() if p.pair == FIRST]
    assert list(table.index) == ["First vault", "Slow vault"]
    row = table.loc["First vault"]
    assert row["Positions"] == 2
    assert row["Deposited USD"] == pytest.approx(6_000)
    assert row["Profit USD"] == pytest.approx(sum(p.get_total_profit_usd() for p in positions))
    assert row["Profit USD"] > 0
    assert row["Return of the vault"] == pytest.approx(RISING[-1] / RISING[0] - 1)


def test_positions_in_vaults_are_listed(vaults):
    assert len(standard.all_vault_positions(given(vaults))) == 3
    ranked = standard.all_vault_positions_by_profit(given(vaults))
    profits = [float(text.replace(",", "")) for text in ranked["PnL USD"]]
    assert profits == sorted(profits, reverse=True)


def test_what_is_held_in_a_vault_is_drawn_with_its_orders(vaults):
    figure, orders = standard.vault_position_timeline(given(vaults, FIRST))
    held, price = figure.data
    assert held.y[1] == pytest.approx(4_000 * RISING[1])
    assert held.y[6] == 0
    assert price.yaxis == "y2"
    assert list(orders["What"]) == ["deposit", "redemption", "deposit"]
    assert orders["Value USD"].iloc[0] == pytest.approx(4_000)


def test_share_prices_of_the_most_used_vaults_are_drawn(vaults):
    figures = standard.all_vaults_share_price_and_tvl(given(vaults), max_count=1, printer=print)
    assert [figure.layout.title.text for figure in figures] == ["First vault"]
    closes = vaults.universe.candles.series(5, "close")
    np.testing.assert_array_equal(figures[0].data[0].y, closes.iloc[:DAYS])


def test_gains_of_days_are_those_of_the_share_price(vaults):
    table = standard.all_vault_daily_gains_losses(given(vaults))
    first = table[table["Vault"] == "First vault"].set_index("Day")
    second_day = pd.Timestamp(START) + pd.Timedelta(days=1)
    assert first.loc[second_day, "Profit USD"] == pytest.approx(4_000 * 0.01)
    assert len(standard.all_vault_daily_gains_losses(given(vaults), count=1)) == 2


def test_orders_that_did_not_settle_are_told(vaults):
    table = standard.pending_vault_settlements(given(vaults))
    assert table.to_dict("records") == [
        {"Vault": "Slow vault", "What": "deposit", "Ordered at": START, "Value USD": 1_000.0}
    ]
    snapshot = standard.latest_cycle_snapshot(given(vaults))["Value"]
    assert snapshot["Pending vault settlements, USD"] == "1,000.00"


def test_vault_charts_are_drawn_for_the_vault_used_most(vaults):
    assert choose_pairs(ChartRegistry(), ChartKind.state_single_vault_pair, vaults.chart_input) == [FIRST]


def test_vaults_are_no_volatile_assets(vaults):
    figure = standard.volatile_and_non_volatile_percent(given(vaults))
    assert [trace.name for trace in figure.data] == ["Cash", "Credit and vaults"]
    np.testing.assert_allclose(figure.data[-1].y, 1.0)


def test_universe_without_vaults_has_empty_tables():
    result = run_with_loans(open_short_and_hold)
    for name in ("all_vault_positions", "all_vault_daily_gains_losses", "pending_vault_settlements"):
        assert len(getattr(standard, name)(given(result))) == 0
    assert standard.all_vaults_share_price_and_tvl(given(result)) == []


def test_interest_is_summed_up_by_token():
    result = run_with_loans(open_short_and_hold, datetime(2023, 1, 20))
    sums = accumulate_interest(result.state)
    loan = next(iter(result.state.portfolio.open_positions.values())).loan
    assert sums["aUSDC" if "aUSDC" in sums else next(c for c in sums if "USDC" in c)].iloc[-1] == pytest.approx(
        loan.get_collateral_interest(), rel=1e-3
    )
    figure = standard.lending_pool_interest_accrued(given(result))
    assert figure.data[0].name == "Net"
    assert (np.asarray(figure.data[0].y)[1:] != 0).all()
    owed = sums.min().min()
    assert owed < 0


def test_profit_of_credit_is_summed_up():
    end = datetime(2023, 6, 1)
    result = run_with_loans(decide_credit_flow(), end, universe=lending_universe(end))
    figure = visualise_portfolio_interest_curve("Credit", result.state)
    closed = [p for p in result.state.portfolio.get_all_positions() if p.is_credit_supply() and p.is_closed()]
    assert figure.data[0].y[-1] == pytest.approx(sum(p.get_realised_profit_usd() or 0 for p in closed))
