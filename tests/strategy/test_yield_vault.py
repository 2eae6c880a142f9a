"""Cash spread over vaults: what is closed or settles later takes no part, and no money is spent twice."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import START, USDC, Desk, pair_of, token

from trading_dagster.domain.vault import VaultLimit, VaultTerms
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.market.vault import to_vault
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.yield_manager import YieldDecisionInput, YieldManager, YieldRuleset, YieldWeightingRule

HOUR = timedelta(hours=1)
FLAT = [1.0] * 8


def vault(number, **terms):
    return to_vault(pair_of(number, token(number, f"S{number}"), USDC), VaultTerms(**terms))


def spread(desk, shares, allocation=1.0):
    """Spread cash: {vault: max concentration}; returns the planned trades."""
    rules = YieldRuleset(allocation, 0.0, 1.0, [YieldWeightingRule(pair, share) for pair, share in shares.items()])
    equity = desk.portfolio.calculate_total_equity()
    decision = YieldDecisionInput(ExecutionMode.backtesting, 1, desk.clock.timestamp, equity, [])
    return YieldManager(desk.manager, rules).calculate_yield_management_safe(decision).trades


def signed(trades):
    return {t.pair: round(float(t.planned_reserve) * (1 if t.is_buy() else -1), 6) for t in trades}


def test_cash_goes_to_vaults_in_order_and_moves_when_the_order_changes():
    a, b = vault(5), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    desk.execute(spread(desk, {a: 0.6, b: 1}, allocation=0.9))

    trades = spread(desk.at(1), {b: 0.6, a: 1}, allocation=0.9)

    assert signed(trades) == {a: -1_800, b: 1_800}


def test_deposit_is_cut_to_what_the_vault_takes():
    a, b = vault(5, limits=(VaultLimit(START, 700, None),)), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)

    assert signed(spread(desk, {a: 0.6, b: 1})) == {a: 700, b: 4_000}


def test_vault_without_a_price_takes_no_part_and_keeps_what_is_in_it():
    """Its last candle is three days old: neither is anything put into it, nor taken out."""
    hours = 24 * 3 + 1
    a, b = vault(5), vault(6)
    desk = Desk({a: [1.0] + [None] * hours, b: [1.0] * (hours + 1)}).at(0)
    bought = Desk({a: [1.0] + [None] * hours, b: [1.0] * (hours + 1)}).at(0)
    bought.execute(bought.manager.open_spot(a, 4_000))

    assert signed(spread(desk.at(hours), {a: 0.6, b: 1})) == {b: 10_000}
    assert signed(spread(bought.at(hours), {a: 0.1, b: 1})) == {b: 6_000}
    assert spread(bought, {a: 0.1, b: 1}, allocation=0.00005) == []


def test_vault_that_gives_nothing_back_keeps_its_value_and_takes_no_part():
    a, b = vault(5, limits=(VaultLimit(START + HOUR, None, 0),)), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(a, 4_000))

    assert signed(spread(desk.at(1), {a: 0.1, b: 1})) == {b: 6_000}


def test_redemption_is_cut_to_what_the_vault_gives():
    a, b = vault(5, limits=(VaultLimit(START + HOUR, None, 1_000),)), vault(6)
    desk = Desk({a: FLAT, b: FLAT}, cash=4_000).at(0)
    desk.execute(desk.manager.open_spot(a, 4_000))

    trades = spread(desk.at(1), {b: 0.9, a: 1})

    assert signed(trades) == {a: -1_000, b: 1_000}


def test_money_that_comes_later_is_not_spent_now():
    a, b = vault(5, settlement_delay=HOUR), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(a, 8_000))
    settlement = VaultSettlement(desk.wallet, desk.pricing)
    settlement.settle(desk.at(1).clock.timestamp, desk.state)

    trades = spread(desk, {b: 0.5, a: 1})
    assert signed(trades) == {a: -3_000, b: 2_000}
    desk.execute(trades)

    assert spread(desk.at(1), {b: 0.5, a: 1}) == []  # it waits
    settlement.settle(desk.at(2).clock.timestamp, desk.state)
    assert signed(spread(desk, {b: 0.5, a: 1})) == {b: 3_000}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0.05, 1)), min_size=2, max_size=5),
    st.lists(st.one_of(st.none(), st.floats(0, 6_000)), min_size=6, max_size=6),
)
def test_no_order_of_rules_spends_more_than_there_is(steps, limits):
    vaults = [
        vault(
            5 + n, limits=(VaultLimit(START, limits[2 * n], limits[2 * n + 1]),), settlement_delay=HOUR if n else None
        )
        for n in range(3)
    ]
    desk = Desk(dict.fromkeys(vaults, FLAT))
    settlement = VaultSettlement(desk.wallet, desk.pricing)
    for bar, shares in enumerate(steps):
        settlement.settle(desk.at(bar).clock.timestamp, desk.state)
        order = sorted(zip(shares, vaults, strict=True), key=lambda item: item[0])
        rules = {pair: share for share, pair in order[:-1]} | {order[-1][1]: 1}
        desk.execute(spread(desk, rules))
        assert desk.portfolio.reserve.quantity >= 0
        assert desk.portfolio.calculate_total_equity() == pytest.approx(10_000)


def test_cash_for_redemptions_of_investors_is_not_lent_on_while_a_vault_pays_later():
    a, b = vault(5, settlement_delay=HOUR), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(a, 8_000))
    VaultSettlement(desk.wallet, desk.pricing).settle(desk.at(1).clock.timestamp, desk.state)
    rules = YieldRuleset(1.0, 0.0, 1.0, [YieldWeightingRule(b, 0.5), YieldWeightingRule(a, 1)])
    decision = YieldDecisionInput(ExecutionMode.backtesting, 1, desk.clock.timestamp, 10_000, [], 1_500)

    trades = YieldManager(desk.manager, rules).calculate_yield_management_safe(decision).trades

    assert signed(trades) == {a: -3_750, b: 500}
