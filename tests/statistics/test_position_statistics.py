"""Positions at every sample: what the position itself said during the run, and what it was at its end."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from loan_scenario import decide_credit_flow, lending_universe, open_short_and_hold, run_with_loans
from random_strategy import Parameters, decide_by_seed, make_universe
from tape import START, USDC, WETH_USDC, pair_of, run_on, token, universe_of

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.state import State
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.market.vault import to_vault
from trading_dagster.statistics.position_statistics import (
    calculate_final_position_statistics,
    calculate_position_statistics,
)

HOUR = timedelta(hours=1)


def recorded(decide, kept):
    """Return a decision that notes what each open position says of itself in cycles without trades."""

    def decide_trades(input):
        trades = decide(input)
        if not trades:
            for position in input.state.portfolio.open_positions.values():
                kept[position.position_id, input.timestamp] = (
                    position.get_unrealised_and_realised_profit_percent(),
                    position.get_total_profit_usd(),
                    float(position.get_quantity()),
                    position.get_value(),
                )
        return trades

    return decide_trades


def assert_as_recorded(result, kept):
    table = result.position_statistics.set_index(["position_id", "calculated_at"])
    columns = ["profitability", "profit_usd", "quantity", "value"]
    triggered = {t.executed_at for t in result.state.portfolio.get_all_trades() if t.executed_at is not None}
    compared = [key for key in kept if key[1] not in triggered and key in table.index]
    assert len(compared) > 10
    assert len(compared) > 0.5 * len(kept)
    found = table.loc[compared, columns].to_numpy()
    np.testing.assert_allclose(found, [kept[key] for key in compared], rtol=1e-9, atol=1e-9)


def test_a_buy_a_rise_and_a_partial_sale_by_hand():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(WETH_USDC, 1_000)
        if input.cycle == 3:
            position = pm.get_current_position()
            return pm.adjust_position(WETH_USDC, -600, position.get_quantity() / -2, 1)
        return pm.close_all() if input.cycle == 5 else []

    result = run_on(universe_of({WETH_USDC: [100, 110, 120, 90, 80, 80]}), decide, cycles=6)
    table = result.position_statistics

    assert list(table["calculated_at"]) == [START + HOUR * n for n in range(4)]
    assert table["last_valuation_at"].equals(table["calculated_at"])
    assert list(table["quantity"]) == pytest.approx([10, 10, 5, 5])
    assert list(table["value"]) == pytest.approx([1_000, 1_100, 600, 450])
    assert list(table["profit_usd"]) == pytest.approx([0, 100, 200, 50], abs=1e-9)
    assert list(table["profitability"]) == pytest.approx([0, 0.1, 0.2, 0.05], abs=1e-12)

    final = result.final_position_statistics.iloc[0]
    assert final["calculated_at"] == final["last_trade_at"] == START + 4 * HOUR
    assert final["first_trade_at"] == START
    assert final["trade_count"] == 3
    assert (final["value_at_open"], final["value_at_max"]) == pytest.approx((1_000, 1_100))
    assert (final["profit_usd"], final["profitability"]) == pytest.approx((0, 0), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_random_trades_are_what_positions_said_in_the_run(seed):
    kept = {}
    result = run_backtest(
        universe=make_universe(seed),
        parameters=Parameters,
        decide_trades=recorded(decide_by_seed(seed), kept),
        progress=False,
    )
    assert_as_recorded(result, kept)


@pytest.mark.parametrize("decide", [open_short_and_hold, decide_credit_flow()], ids=["short", "credit"])
def test_loans_are_what_positions_said_in_the_run(decide):
    kept, end = {}, datetime(2023, 3, 1)
    result = run_with_loans(recorded(decide, kept), end, universe=lending_universe(end))
    assert_as_recorded(result, kept)


def test_every_closed_position_has_one_final_row():
    result = run_backtest(
        universe=make_universe(1), parameters=Parameters, decide_trades=decide_by_seed(1), progress=False
    )
    closed, final = result.state.portfolio.closed_positions, result.final_position_statistics.set_index("position_id")
    assert list(final.index) == sorted(closed)
    for number, position in closed.items():
        row = final.loc[number]
        assert row["profit_usd"] == position.get_total_profit_usd()
        assert row["trade_count"] == position.executed_trade_count
        assert row["first_trade_at"] <= row["last_trade_at"] <= row["calculated_at"]
    assert final.equals(calculate_final_position_statistics(result.state).set_index("position_id"))
    assert (final["value_at_max"] > 0).all()


def test_run_without_trades_has_empty_tables():
    result = run_on(universe_of({WETH_USDC: [100, 110, 120]}), lambda _: [], cycles=3)
    assert len(result.position_statistics) == len(result.final_position_statistics) == 0


def test_state_without_samples_is_refused():
    result = run_on(universe_of({WETH_USDC: [100, 110, 120]}), lambda _: [], cycles=3)
    with pytest.raises(BadInput):
        calculate_position_statistics(State.replay(result.events))


def test_money_on_its_way_to_a_vault_is_value_without_profit():
    slow = to_vault(pair_of(6, token(6, "SLOW"), USDC), VaultTerms(settlement_delay=2 * HOUR))

    def decide(input):
        return input.get_position_manager().open_spot(slow, 1_000) if input.cycle == 1 else []

    result = run_on(universe_of({slow: [1, 1.1, 1.25, 1.5]}), decide, cycles=4)
    table = result.position_statistics
    assert list(table["value"]) == pytest.approx([1_000, 1_000, 1_000, 1_200])
    assert list(table["quantity"]) == pytest.approx([0, 0, 800, 800])
    assert list(table["profit_usd"]) == pytest.approx([0, 0, 0, 200], abs=1e-6)
    assert list(table["profitability"]) == pytest.approx([0, 0, 0, 0.2], abs=1e-9)
    assert len(result.final_position_statistics) == 0
