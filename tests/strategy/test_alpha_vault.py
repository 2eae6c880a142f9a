"""The alpha model on vaults: closed ones are left alone, orders that settle later bring no cash in this cycle."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tape import START, USDC, Desk, pair_of, token

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.vault import VaultLimit, VaultTerms
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.market.vault import to_vault
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.alpha_signal import TradingPairSignalFlags as Flag
from trading_dagster.strategy.weighting import weight_passthrough

HOUR = timedelta(hours=1)
FLAT = [1.0] * 6


def vault(number, **terms):
    return to_vault(pair_of(number, token(number, f"S{number}"), USDC), VaultTerms(**terms))


def model_of(desk, signals, equity=None, **thresholds):
    manager = desk.manager
    model = AlphaModel(desk.clock.timestamp)
    for pair, alpha in signals.items():
        model.set_signal(pair, alpha)
    pinned = model.carry_forward_non_redeemable_positions(manager)
    model.select_top_signals(10)
    model.assign_weights(weight_passthrough)
    model.normalise_weights()
    model.update_old_weights(desk.portfolio, ignore_credit=False)
    model.calculate_target_positions(manager, (equity or desk.portfolio.calculate_total_equity()) - pinned)
    return model, model.generate_rebalance_trades_and_triggers(manager, **thresholds)


def planned(trades):
    signed = ((trade, 1 if trade.is_buy() else -1) for trade in trades)
    return {trade.pair.get_ticker(): round(float(trade.planned_reserve) * sign, 6) for trade, sign in signed}


def test_vaults_are_rebalanced_like_markets():
    a, b = vault(5), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    _, trades = model_of(desk, {a: 3.0, b: 1.0}, 8_000)
    desk.execute(trades)

    _, trades = model_of(desk.at(1), {a: 1.0, b: 3.0}, 8_000)

    assert planned(trades) == {"S5-USDC": -4_000, "S6-USDC": 4_000}


def test_closed_vault_is_not_entered_and_its_share_stays_cash():
    a, b = vault(5, limits=(VaultLimit(START, 0, None),)), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)

    model, trades = model_of(desk, {a: 1.0, b: 1.0}, 8_000)

    assert planned(trades) == {"S6-USDC": 4_000}
    assert model.get_flag_diagnostics_data() == {"cannot_deposit": 1}
    assert model.get_missed_vault_events() == [
        {"pair": a, "vault": "S5", "event": "deposit", "usd": 4_000, "reason": "cannot_deposit"}
    ]
    assert model.to_dict()["missed_vault_events"] == [
        {"pair": "S5-USDC", "vault": "S5", "event": "deposit", "usd": 4_000, "reason": "cannot_deposit"}
    ]
    assert [signal.pair for signal in model.get_unallocatable_signals()] == [a]


def test_vault_that_gives_nothing_back_is_carried_forward():
    a, b = vault(5, limits=(VaultLimit(START + HOUR, None, 0),)), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(a, 3_000))

    model, trades = model_of(desk.at(1), {b: 1.0}, 9_000)

    assert planned(trades) == {"S6-USDC": 6_000}
    assert model.get_signal_by_pair(a).carried_forward
    assert model.get_allocated_value() == pytest.approx(9_000)


def test_without_carrying_forward_a_close_that_is_refused_is_flagged():
    a = vault(5, limits=(VaultLimit(START + HOUR, None, 0),))
    desk = Desk({a: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(a, 3_000))
    model = AlphaModel(desk.at(1).clock.timestamp)
    model.update_old_weights(desk.portfolio, ignore_credit=False)
    model.calculate_target_positions(desk.manager, 10_000)

    assert model.generate_rebalance_trades_and_triggers(desk.manager) == []
    assert model.get_missed_vault_events() == [
        {"pair": a, "vault": "S5", "event": "redemption", "usd": 3_000, "reason": "cannot_redeem"}
    ]


def test_money_of_a_redemption_that_settles_later_is_not_spent_now():
    a, b = vault(5, settlement_delay=timedelta(hours=3)), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(b, 9_000))

    model, trades = model_of(desk.at(1), {a: 1.0}, 10_000)
    assert planned(trades) == {"S6-USDC": -9_000, "S5-USDC": 10_000}

    slow = Desk({a: FLAT, b: FLAT}).at(0)
    slow.execute(slow.manager.open_spot(a, 6_000))
    for trade_id, position_id in list(slow.portfolio.settlements.items()):
        assert (trade_id, position_id) == (1, 1)
    model, trades = model_of(slow.at(1), {b: 1.0}, 10_000, same_cycle_cash_buffer_usd=100)
    assert model.get_signal_by_pair(a).carried_forward  # it waits for its shares
    assert planned(trades) == {"S6-USDC": 4_000}


def test_buys_are_scaled_when_a_slow_vault_pays_later():
    a, b = vault(5, settlement_delay=HOUR), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(a, 6_000))
    VaultSettlement(desk.wallet, desk.pricing).settle(desk.at(1).clock.timestamp, desk.state)
    assert desk.portfolio.settlements == {}

    model, trades = model_of(desk.at(2), {b: 1.0}, 10_000, same_cycle_cash_buffer_usd=100)

    assert planned(trades) == {"S5-USDC": -6_000, "S6-USDC": 3_900}
    assert Flag.capped_by_pending_settlement_cash in model.get_signal_by_pair(b).flags


def test_change_is_cut_to_what_the_vault_takes_and_gives():
    a, b = vault(5, limits=(VaultLimit(START, 500, 200),)), vault(6)
    desk = Desk({a: FLAT, b: FLAT}).at(0)

    model, trades = model_of(desk, {a: 1.0}, 8_000)
    assert planned(trades) == {"S5-USDC": 500}
    assert Flag.capped_by_pool_size in model.get_signal_by_pair(a).flags
    desk.execute(trades)

    _, trades = model_of(desk.at(1), {b: 1.0}, 400)
    assert planned(trades) == {"S5-USDC": -200, "S6-USDC": 400}


def test_chain_allocation_is_capped_and_the_rest_stays_cash():
    far = AssetIdentifier(8453, "0x77", "FAR", 18)
    a, b, c = vault(5), vault(6), replace(vault(7), base=far)
    model = AlphaModel(START)
    for pair, alpha in ((a, 0.5), (b, 0.3), (c, 0.2)):
        model.set_signal(pair, alpha)
    model.select_top_signals(3)
    model.assign_weights(weight_passthrough)
    model.normalise_weights()

    model.cap_chain_allocation(0.4)

    weights = {signal.pair: signal.normalised_weight for signal in model.iterate_signals()}
    assert weights == {a: pytest.approx(0.25), b: pytest.approx(0.15), c: pytest.approx(0.2)}
    assert model.get_flag_diagnostics_data() == {"capped_by_chain_allocation": 2}
    with pytest.raises(InvalidTrade, match="above 0"):
        model.cap_chain_allocation(0)
