"""Standard charts of vaults that refused money, and of the data of vaults."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd
import pytest
from tape import START, USDC, WETH_USDC, candles_of, pair_of, run_on, token, universe_of

from trading_dagster.charts import standard_chart as standard
from trading_dagster.charts.figure_picture import paint_figure
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.vault import VaultLimit, VaultTerms
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.synthetic import generate_exchange
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.market.vault import to_vault
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.weighting import weight_passthrough

DAY = timedelta(days=1)
FLAT = [1.0] * 6


def vault(number, **terms):
    return to_vault(pair_of(number, token(number, f"S{number}"), USDC), VaultTerms(**terms))


# Closed for deposits from the third day on, for redemptions on the fifth.
CLOSING = vault(5, name="Closing", limits=(VaultLimit(START + 2 * DAY, 0, None), VaultLimit(START + 4 * DAY, 0, 0)))
OPEN = vault(6, name="Open")
TARGETS = [{CLOSING: 1_000}, {CLOSING: 1_000}, {CLOSING: 3_000, OPEN: 500}, {CLOSING: 4_000, OPEN: 500}, {OPEN: 500}]


def decide_and(keep):
    """Return a decision that rebalances to the targets of each day and keeps the model in some way."""

    def decide_trades(input):
        pm = input.get_position_manager()
        model = AlphaModel(input.timestamp)
        targets = TARGETS[input.cycle - 1] if input.cycle <= len(TARGETS) else {OPEN: 500}
        for pair, usd in targets.items():
            model.set_signal(pair, usd)
        model.select_top_signals(10)
        model.assign_weights(weight_passthrough)
        model.normalise_weights()
        model.update_old_weights(input.state.portfolio, ignore_credit=False)
        model.calculate_target_positions(pm, sum(targets.values()))
        trades = model.generate_rebalance_trades_and_triggers(pm)
        keep(input, model)
        return trades

    return decide_trades


def keep_model(input, model):
    input.state.visualisation.add_calculations(input.timestamp, {"alpha_model": model.to_dict()})


def keep_events(input, model):
    events = {"missed_vault_events": model.get_missed_vault_events()}
    input.state.visualisation.add_calculations(input.timestamp, events)


def keep_newest(input, model):
    if input.cycle <= 5:
        input.state.visualisation.set_discardable_data("alpha_model", model)


def run_keeping(keep):
    universe = universe_of({CLOSING: FLAT, OPEN: FLAT}, TimeBucket.d1)
    return run_on(universe, decide_and(keep), cycle=CycleDuration.cycle_1d, cycles=6).chart_input


@pytest.mark.parametrize("keep", [keep_model, keep_events])
def test_refusals_are_summed_up_by_vault(keep):
    table = standard.missed_vault_deposit_redemption_events(run_keeping(keep))
    assert table.drop(columns="Last").to_dict("records") == [
        {
            "Vault": "Closing",
            "Missed deposits": 2,
            "Missed deposits USD": pytest.approx(2_000 + 3_000),
            "Missed redemptions": 2,
            "Missed redemptions USD": pytest.approx(2 * 1_000),
            "Reasons": "cannot_deposit, cannot_redeem",
        }
    ]
    assert table["Last"].iloc[0] == START + 5 * DAY


def test_refusals_are_drawn_when_they_happened():
    figure = standard.missed_vault_deposit_redemption_timeline(run_keeping(keep_model))
    deposits, redemptions = figure.data
    assert [trace.name for trace in figure.data] == ["Closing, deposit", "Closing, redemption"]
    assert list(pd.DatetimeIndex(deposits.x)) == [START + 2 * DAY, START + 3 * DAY]
    assert list(deposits.y) == pytest.approx([2_000, 3_000])
    assert list(pd.DatetimeIndex(redemptions.x)) == [START + 4 * DAY, START + 5 * DAY]
    assert set(redemptions.text) == {"cannot_redeem"}
    assert redemptions.marker.symbol == "triangle-down"
    assert paint_figure(figure).startswith(b"\x89PNG")


def test_model_of_the_running_process_shows_its_cycle():
    table = standard.missed_vault_deposit_redemption_events(run_keeping(keep_newest))
    assert list(table["Missed deposits"]) == [0]
    assert list(table["Missed redemptions USD"]) == pytest.approx([1_000])
    assert table["Last"].iloc[0] == START + 4 * DAY


def test_nothing_refused_is_said_and_no_model_is_an_error():
    universe = universe_of({OPEN: FLAT}, TimeBucket.d1)

    def keep_empty(input):
        input.state.visualisation.add_calculations(input.timestamp, {"alpha_model": AlphaModel().to_dict()})
        return []

    result = run_on(universe, keep_empty, cycle=CycleDuration.cycle_1d, cycles=3)
    assert len(standard.missed_vault_deposit_redemption_events(result.chart_input)) == 0
    figure = standard.missed_vault_deposit_redemption_timeline(result.chart_input)
    assert figure.layout.annotations[0].text == "No vault refused a deposit or a redemption"

    silent = run_on(universe, lambda _: [], cycle=CycleDuration.cycle_1d, cycles=3)
    with pytest.raises(BadInput, match="left no alpha model"):
        standard.missed_vault_deposit_redemption_timeline(silent.chart_input)


def test_age_of_data_is_told_oldest_first():
    table = standard.vault_data_freshness(stale_input()).set_index("Vault")
    assert list(table.index) == ["Stopped", "Fresh"]
    assert (table.loc["Fresh", "Candles"], table.loc["Fresh", "Filled"]) == (8, 0)
    assert table.loc["Fresh", "First candle"] == START
    assert table.loc["Fresh", "Last candle"] == START + 7 * DAY
    assert table.loc["Fresh", "Age"] == timedelta(0)
    assert table.loc["Fresh", "Last TVL"] == START + DAY
    assert table.loc["Fresh", "Age of TVL"] == 6 * DAY
    assert table.loc["Stopped", "Last candle"] == START + DAY
    assert table.loc["Stopped", "Age"] == 6 * DAY
    assert table.loc["Stopped", "Candles"] == 2
    assert pd.isna(table.loc["Stopped", "Last TVL"])


def test_vault_with_old_data_and_without_tvl_is_ignored():
    table = standard.ignored_vault_data(stale_input())
    assert table.to_dict("records") == [
        {
            "Vault": "Stopped",
            "Chain": "ethereum",
            "Reason": "last candle is of 2022-01-04 00:00, older than 2 days, 0:00:00; no TVL",
        }
    ]


def test_vault_is_ignored_before_its_first_candle_and_for_its_price():
    young = replace(stale_input(), backtest_end_at=START)
    assert list(standard.ignored_vault_data(young)["Reason"]) == ["no candle closed yet"] * 2
    assert standard.vault_data_freshness(young)["Age"].isna().all()

    dear = vault(7, name="Dear")
    result = run_on(universe_of({dear: [1e9] * 6, WETH_USDC: FLAT}, TimeBucket.d1), lambda _: [],
                    cycle=CycleDuration.cycle_1d, cycles=5)  # fmt: skip
    (row,) = standard.ignored_vault_data(result.chart_input).to_dict("records")
    assert (row["Vault"], row["Reason"]) == ("Dear", "S7-USDC has a price of 3000000000.0, above 1000000.0")


def stale_input():
    """Return the chart input of a run over eight days on a vault with candles, and on one whose candles stopped."""
    fresh, stopped = vault(5, name="Fresh"), vault(6, name="Stopped")
    candles = [candles_of([1.0] * 9, TimeBucket.d1, pair_id=5), candles_of([1.0] * 2, TimeBucket.d1, pair_id=6)]
    tvl = candles_of([1e6] * 2, TimeBucket.d1, pair_id=5).drop(columns="volume")
    universe = TradingStrategyUniverse.create_from_dataset(
        Dataset(
            time_bucket=TimeBucket.d1,
            exchanges=(generate_exchange(1, 1, "0x30"),),
            pairs=(fresh, stopped),
            candles=pd.concat(candles),
            liquidity=tvl,
            liquidity_time_bucket=TimeBucket.d1,
        ),
        USDC,
        price_data_delay_tolerance=2 * DAY,
    )
    result = run_on(universe, lambda _: [], cycle=CycleDuration.cycle_1d, cycles=8)
    assert result.plan.end == datetime(2022, 1, 11)
    return result.chart_input
