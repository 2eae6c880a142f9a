"""A decision knows the past of vaults' limits and of lending rates, by construction; who reads on is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import START, USDC, WETH_USDC, pair_of, token, universe_of

import trading_dagster as td
from trading_dagster.domain.error import LookaheadRefused
from trading_dagster.domain.event import PairIntroduced, PositionOpened
from trading_dagster.domain.vault_history import VaultHistory, take_out_limits
from trading_dagster.market.lending import RATE_COLUMNS, LendingCandleType, LendingUniverse
from trading_dagster.market.synthetic import generate_lending_reserve
from trading_dagster.market.universe_store import read_universe, write_universe
from trading_dagster.market.vault import to_vault
from trading_dagster.research.bias import check_bias
from trading_dagster.research.bump import OtherFuture, change_limits
from trading_dagster.storage.event_codec import encode_event

DAY = timedelta(days=1)
DAYS = 30
SHUT_AT, OPEN_AT = START + 12 * DAY, START + 20 * DAY
TERMS = td.VaultTerms(
    "Seen",
    protocol="euler",
    limits=(td.VaultLimit(START, 5_000, 5_000), td.VaultLimit(SHUT_AT, 0, 0), td.VaultLimit(OPEN_AT, None, None)),
)
VAULT = to_vault(pair_of(5, token(5, "SHARE"), USDC), TERMS)


def make_universe() -> td.TradingStrategyUniverse:
    """A market, a vault that shuts for some days, and daily rates that rise in the end."""
    days = [100.0 + n for n in range(DAYS)]
    universe = universe_of({WETH_USDC: days, VAULT: [1 + n / 1000 for n in range(DAYS)]}, td.TimeBucket.d1)
    index = pd.date_range(START, periods=DAYS, freq="D", name="timestamp")
    percent = np.where(np.arange(DAYS) < 15, 2.0, 9.0)
    reserves = (generate_lending_reserve(USDC, 1), generate_lending_reserve(WETH_USDC.base, 2))
    rates = {
        (reserve.reserve_id, kind): pd.DataFrame(dict.fromkeys(RATE_COLUMNS, percent), index)
        for reserve in reserves
        for kind in LendingCandleType
    }
    return replace(universe, lending=LendingUniverse(td.TimeBucket.d1, reserves, rates))


def arguments(decide: Callable[[td.StrategyInput], Any]) -> dict[str, Any]:
    return {
        "decide_trades": decide,
        "universe": make_universe(),
        "parameters": {
            "cycle_duration": td.CycleDuration.cycle_1d,
            "routing": td.TradeRouting.default,
            "initial_cash": 10_000,
            "backtest_start": START + DAY,
            "backtest_end": START + (DAYS - 1) * DAY,
        },
    }


def in_or_out(input: td.StrategyInput, wants_in: bool) -> list[td.TradeExecution]:
    """Be in the vault, or out of it, as far as it lets."""
    pm = input.get_position_manager()
    pair = input.strategy_universe.get_pair_by_vault_name("Seen")
    position = pm.get_current_position_for_pair(pair)
    if wants_in and position is None and pm.can_deposit(pair):
        return pm.open_spot(pair, 1_000)
    if not wants_in and position is not None and pm.can_redeem(position):
        return pm.close_position(position)
    return []


def lend_or_not(input: td.StrategyInput, wants_to: bool) -> list[td.TradeExecution]:
    """Lend out 1000 USD, or nothing."""
    pm = input.get_position_manager()
    if wants_to and not pm.is_any_credit_supply_position_open():
        return pm.open_credit_supply_position_for_reserves(1_000)
    if wants_to or not pm.is_any_credit_supply_position_open():
        return []
    return pm.close_position(pm.get_current_credit_supply_position())


def whole(input: td.StrategyInput) -> td.TradingStrategyUniverse:
    """Reach behind the view that ends at the decision time, as only a cheat does."""
    return input.strategy_universe._whole  # type: ignore[attr-defined, no-any-return]


def leave_before_it_shuts(input: td.StrategyInput) -> list[td.TradeExecution]:
    """What an honest strategy cannot do: redeem on the day before redemptions close."""
    pair = input.strategy_universe.get_pair_by_vault_name("Seen")
    soon = [limit for limit in whole(input).vault_limits.of(pair) if 0 <= (limit.at - input.timestamp) / DAY <= 1.5]
    return in_or_out(input, not any(limit.max_redemption == 0 for limit in soon))


def lend_before_rates_rise(input: td.StrategyInput) -> list[td.TradeExecution]:
    lending = whole(input).lending
    assert lending is not None
    later = lending.rates[1, LendingCandleType.supply_apr]["close"].loc[input.timestamp + 2 * DAY :]
    return lend_or_not(input, bool(len(later) and later.iloc[0] > 5))


def by_what_is_known(input: td.StrategyInput) -> list[td.TradeExecution]:
    pair = input.strategy_universe.get_pair_by_vault_name("Seen")
    known = input.strategy_universe.vault_limits.of(pair)
    rate = input.strategy_universe.get_latest_supply_apr(timestamp=input.timestamp)
    return in_or_out(input, len(known) % 2 == 1) + lend_or_not(input, rate is not None and rate > 0.05)


@pytest.mark.parametrize("cheat", [leave_before_it_shuts, lend_before_rates_rise], ids=lambda f: f.__name__)
def test_decision_that_reads_later_limits_or_rates_is_caught(cheat: Callable[..., Any]) -> None:
    report = check_bias(**arguments(cheat))
    assert not report.is_clean
    assert report.trades
    assert report.trades[0].at <= report.trades[0].cut
    assert "lending rates and limits of vaults count as candles" in str(report)


def test_indicator_made_of_later_limits_is_caught() -> None:
    def create_indicators(timestamp, parameters, strategy_universe, execution_context):
        pair = strategy_universe.get_pair_by_vault_name("Seen")
        shuts = [limit.at for limit in strategy_universe.vault_limits.of(pair) if limit.max_deposit == 0]

        def will_shut(close: pd.Series) -> pd.Series:
            return pd.Series([float(any(0 < (at - t) / DAY <= 3 for at in shuts)) for t in close.index], close.index)

        indicators = td.IndicatorSet()
        indicators.add("will_shut", will_shut, source=td.IndicatorSource.close_price)
        return indicators

    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        pair = input.strategy_universe.get_pair_by_vault_name("Seen")
        return in_or_out(input, not input.indicators.get_indicator_value("will_shut", pair=pair))

    report = check_bias(**arguments(decide), create_indicators=create_indicators)
    assert {finding.indicator for finding in report.indicators} == {"will_shut"}


def test_strategy_that_goes_by_what_is_known_is_clean() -> None:
    report = check_bias(**arguments(by_what_is_known))
    assert report.is_clean, str(report)
    assert report.decisions > 20


def test_nothing_a_strategy_is_given_holds_a_later_limit() -> None:
    """Pairs, positions, the view of the universe, answers of the pricing model and the ledger end at the present."""
    seen = []

    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        universe, pm = input.strategy_universe, input.get_position_manager()
        pair = universe.get_pair_by_vault_name("Seen")
        pairs = [pair, *universe.pairs, *universe.iterate_pairs(), universe.resolve_pair(VAULT)]
        pairs += [universe.get_pair_by_id(5), *universe.data_universe.pairs.iterate_pairs()]
        pairs += [position.pair for position in pm.get_current_portfolio().get_all_positions()]
        for known in pairs:
            assert "limits" not in known.other_data.get("vault", {})
            assert td.VaultTerms.of_pair(known).limits == ()
        limits = universe.vault_limits.of(pair)
        assert all(limit.at <= input.timestamp for limit in limits)
        seen.append(len(limits))
        for ask in (input.pricing_model.get_max_deposit, input.pricing_model.get_max_redemption):
            for late in (input.timestamp + timedelta(microseconds=1), OPEN_AT + 365 * DAY):
                with pytest.raises(LookaheadRefused):
                    ask(late, pair)
                with pytest.raises(LookaheadRefused):
                    ask(late, VAULT)
        for question in (input.pricing_model.can_deposit, input.pricing_model.check_redemption):
            with pytest.raises(LookaheadRefused):
                question(input.timestamp + DAY, pair)
        expected = 5_000 if input.timestamp < SHUT_AT else 0 if input.timestamp < OPEN_AT else None
        assert pm.get_max_deposit(pair) == pm.get_max_deposit(VAULT) == expected
        assert input.pricing_model.get_max_redemption(input.timestamp, pair) == expected
        return in_or_out(input, input.cycle < 10)

    result = td.run_backtest(**arguments(decide), progress=False)
    assert seen == [1] * 11 + [2] * 8 + [3] * 9
    events = [event for event in result.events if isinstance(event, PairIntroduced | PositionOpened)]
    assert events
    assert not any("limits" in encode_event(event) for event in events)
    assert result.plan.universe.vault_limits.of(VAULT) == TERMS.limits


def test_universe_keeps_limits_apart_through_every_way_it_is_made(tmp_path) -> None:
    universe = make_universe()
    assert universe.vault_limits.of(VAULT) == TERMS.limits
    write_universe(universe, tmp_path)
    again = read_universe(tmp_path, verify=True)
    for other in (again, universe.clone(), replace(universe, name="another")):
        assert other.vault_limits == universe.vault_limits
        assert other.get_cache_key() == universe.get_cache_key()
        assert not any("limits" in pair.other_data.get("vault", {}) for pair in other.pairs)
    changed = replace(universe, vault_limits=universe.vault_limits.until(START + 15 * DAY))
    assert changed.get_cache_key() != universe.get_cache_key()
    assert universe.remove_pair(WETH_USDC).vault_limits == universe.vault_limits
    assert not universe.remove_pair(VAULT).vault_limits


LIMITS = st.lists(
    st.tuples(st.integers(0, 40), *2 * [st.none() | st.sampled_from([0.0, 10.0, 2_500.0])]),
    unique_by=lambda limit: limit[0],
    max_size=6,
).map(lambda given: tuple(td.VaultLimit(START + day * DAY, a, b) for day, a, b in sorted(given, key=lambda x: x[0])))


@settings(max_examples=60, deadline=None)
@given(LIMITS, st.integers(0, 41), st.sampled_from(OtherFuture))
def test_another_future_of_limits_has_the_same_past(limits, day, future):
    pair = to_vault(pair_of(5, token(5, "SHARE"), USDC), td.VaultTerms("Any", limits=limits))
    (stripped,), history = take_out_limits((pair,))
    assert td.VaultTerms.of_pair(stripped) == td.VaultTerms("Any")
    assert history.of(pair) == history.of(stripped) == limits
    assert VaultHistory.from_data(history.to_data()) == history
    assert take_out_limits((stripped,), history) == ((stripped,), history)
    at = START + day * DAY
    changed = change_limits(history, at, future)
    assert changed.until(at) == history.until(at)
    td.VaultTerms("Any", limits=changed.of(pair))  # in order
    if limits and future is not OtherFuture.nothing:
        soon = at + timedelta(microseconds=1)
        assert changed.until(soon).of(pair)[-1].at == soon
        shut = [limit for limit in changed.of(pair) if limit.at > at]
        assert (future is OtherFuture.fall) >= any(limit.max_deposit == 0 for limit in shut)
