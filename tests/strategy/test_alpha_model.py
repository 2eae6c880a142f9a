"""The alpha model: acceptance scenario S12, each rule of the chain, and properties that hold on every path."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger import AAVE_USDC, Ledger, day
from scenario import DEX, USDC, WETH_USDC

from trading_dagster.domain.error import InvalidTrade, LiquidityDataUnavailable, TVLReadError
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.synthetic import generate_fixed_price_candles
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.candle_pricing import CandlePricing, FeeSchedule
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.alpha_signal import TradingPairSignalFlags as Flag
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.size_risk import FixedSizeRiskModel, USDTVLSizeRiskModel
from trading_dagster.strategy.weighting import weight_by_1_slash_n, weight_equal, weight_passthrough

NOW = day(5)
WETH, AAVE = WETH_USDC, replace(AAVE_USDC, fee=0.003)
OTHERS = tuple(
    TradingPairIdentifier(
        AssetIdentifier(ChainId.ethereum, f"0x{100 + i:x}", f"T{i}", 18),
        USDC, f"0x{200 + i:x}", DEX.address, internal_id=i, fee=0.003, exchange_name=f"dex-{i % 3}",
    )
    for i in range(3, 9)
)  # fmt: skip
PRICES = {WETH: 1670.0, AAVE: 100.0, **{pair: 10.0 * pair.internal_id for pair in OTHERS}}


def desk(ledger: Ledger) -> PositionManager:
    pairs = tuple(PRICES)
    candles = generate_fixed_price_candles(TimeBucket.d1, day(0), day(20), PRICES)
    universe = TradingStrategyUniverse.create_from_dataset(
        Dataset(TimeBucket.d1, [DEX], pairs, candles), reserve_asset=USDC
    )
    clock = DecisionClock([to_unix_us(NOW)])
    pricing = CandlePricing(universe.candles, FeeSchedule(USDC, pairs), clock)
    return PositionManager(clock, universe, ledger.state, pricing)


@pytest.fixture
def holding():
    """Return the portfolio of S12: 500 USDC and 0.095 WETH bought at 1660 and valued there."""
    ledger = Ledger(cash=657.7)
    ledger.buy(1, 157.7, 1660, pair=WETH)
    assert ledger.state.portfolio.get_cash() == pytest.approx(500)
    return ledger


def model_of(signals, **normalise):
    model = AlphaModel(NOW)
    for pair, alpha in signals.items():
        model.set_signal(pair, alpha)
    model.select_top_signals(len(signals))
    model.assign_weights(normalise.pop("method", weight_passthrough))
    model.normalise_weights(**normalise)
    return model


def rebalance(model, manager, value, **thresholds):
    model.update_old_weights(manager.get_current_portfolio())
    model.calculate_target_positions(manager, value)
    return model.generate_rebalance_trades_and_triggers(manager, **thresholds)


# -- S12 --------------------------------------------------------------------------------------------------------------


def test_s12_half_of_weth_becomes_aave(holding):
    trades = rebalance(model_of({WETH: 0.5, AAVE: 0.5}), desk(holding), 157.7)
    sell, buy = trades
    assert float(sell.planned_quantity) == pytest.approx(-0.04721556886227544, rel=1e-9)
    assert sell.planned_price == pytest.approx(1664.99, rel=1e-12)
    assert float(sell.planned_reserve) == pytest.approx(78.61345, rel=1e-9)
    assert (buy.pair, buy.planned_price) == (AAVE, pytest.approx(100.3))
    assert float(buy.planned_reserve) == pytest.approx(78.85, rel=1e-9)


def test_s12_all_of_weth_becomes_aave(holding):
    trades = rebalance(model_of({AAVE: 1}), desk(holding), 157.7)
    sell, buy = trades
    assert float(sell.planned_quantity) == pytest.approx(-0.095, rel=1e-9)
    assert sell.closing
    assert float(sell.planned_reserve) == pytest.approx(158.17405, rel=1e-9)
    assert float(buy.planned_reserve) == pytest.approx(157.7, rel=1e-9)


# -- signals ----------------------------------------------------------------------------------------------------------


def test_the_strongest_signals_are_kept_in_order_of_strength_and_setting():
    model = AlphaModel(NOW)
    for pair, alpha in zip(OTHERS, (0.1, 0.5, 0.5, 0.9, 0.05, 0.2), strict=True):
        model.set_signal(pair, alpha)
    model.select_top_signals(4, threshold=0.1)
    assert [signal.pair for signal in model.iterate_signals()] == [OTHERS[3], OTHERS[1], OTHERS[2], OTHERS[5]]


def test_the_last_call_wins_and_zero_takes_a_signal_away():
    model = AlphaModel(NOW)
    model.set_signal(WETH, 1)
    model.set_signal(WETH, 2)
    model.set_signal(AAVE, 1)
    model.set_signal(AAVE, 0)
    model.select_top_signals(5)
    assert [(signal.pair, signal.signal) for signal in model.iterate_signals()] == [(WETH, 2.0)]


@pytest.mark.parametrize(("alpha", "message"), [(float("nan"), "is nan"), (-1, "give leverage")])
def test_unusable_signals_are_refused(alpha, message):
    with pytest.raises(InvalidTrade, match=message):
        AlphaModel(NOW).set_signal(WETH, alpha)


def test_an_ignored_pair_gets_no_signal():
    model = AlphaModel(NOW)
    model.ignore_pair(WETH)
    model.set_signal(WETH, 1)
    assert not model.raw_signals


# -- weights ----------------------------------------------------------------------------------------------------------


def test_a_cap_leaves_the_excess_in_cash():
    model = model_of({WETH: 3, AAVE: 1}, max_weight=0.5)
    assert [s.normalised_weight for s in model.iterate_signals()] == [0.5, 0.25]
    assert Flag.capped_by_concentration in model.get_signal_by_pair(WETH).flags


def test_a_signal_may_have_a_cap_of_its_own():
    model = model_of({WETH: 3, AAVE: 1}, max_weight=0.9, max_weight_function=lambda s: 0.1 if s.pair == WETH else None)
    assert [s.normalised_weight for s in model.iterate_signals()] == [0.1, 0.25]


def test_what_size_risk_refuses_one_signal_later_ones_may_grow_by():
    risk = FixedSizeRiskModel(None, per_trade_cap=1e9, per_position_cap=100.0)
    model = model_of({WETH: 3, AAVE: 1}, investable_equity=1000.0, size_risk_model=risk)
    weth, aave = model.iterate_signals()
    assert weth.position_target == 100  # asked for 750, 650 go back
    assert aave.position_target == 100  # asked for a quarter of 1,650
    assert model.accepted_investable_equity == 200
    assert model.size_risk_discarded_value == pytest.approx(650 + 1650 / 4 - 100)
    assert weth.position_size_risk.capped
    assert {weth.normalised_weight, aave.normalised_weight} == {0.5}


def test_best_shares_are_taken_one_after_the_other():
    signals = dict(zip(OTHERS[:4], (4.0, 3.0, 2.0, 1.0), strict=True))
    model = model_of(signals, investable_equity=1000.0, max_positions=2, max_weight=0.3)
    targets = [signal.position_target for signal in model.iterate_signals()]
    assert targets == [300.0, 300.0, 0.0, 0.0]


def test_a_waterfall_fills_the_best_first_and_holds_protocols_to_their_share():
    signals = dict(zip(OTHERS[:4], (4.0, 3.0, 2.0, 1.0), strict=True))  # dex-0, dex-1, dex-2, dex-0
    model = model_of(signals, investable_equity=1000.0, waterfall=True, max_weight=0.4, max_protocol_weight=0.35)
    assert [signal.position_target for signal in model.iterate_signals()] == [350.0, 350.0, 300.0, 0.0]
    first = model.get_signal_by_pair(OTHERS[0])
    assert first.flags == {Flag.capped_by_protocol_allocation}


def test_everything_refused_gives_targets_of_zero_without_an_error():
    risk = FixedSizeRiskModel(None, per_trade_cap=0, per_position_cap=0)
    model = model_of({WETH: 1, AAVE: 1}, investable_equity=1000.0, size_risk_model=risk)
    assert model.get_allocated_value() == 0
    assert [signal.normalised_weight for signal in model.iterate_signals()] == [0, 0]


def test_tvl_caps_a_position_and_a_missing_tvl_is_an_error_without_a_placeholder():
    class Pools:
        def get_usd_tvl(self, timestamp, pair):
            if pair == AAVE:
                raise LiquidityDataUnavailable("no TVL")
            return 10_000.0

        def get_mid_price(self, timestamp, pair):
            return 100.0

    model = USDTVLSizeRiskModel(Pools(), per_trade_cap=0.01, per_position_cap=0.02)
    assert model.get_acceptable_size_for_position(NOW, WETH, 500).accepted_size == 200
    assert model.get_acceptable_size_for_buy(NOW, WETH, 500).accepted_size == 100
    sell = model.get_acceptable_size_for_sell(NOW, WETH, Decimal(3))
    assert (sell.accepted_quantity, sell.capped, sell.tvl) == (Decimal(1), True, 10_000.0)
    with pytest.raises(TVLReadError, match="missing_tvl_placeholder_usd"):
        model.get_acceptable_size_for_buy(NOW, AAVE, 500)
    model = USDTVLSizeRiskModel(Pools(), per_trade_cap=0.01, missing_tvl_placeholder_usd=1000)
    assert model.get_acceptable_size_for_buy(NOW, AAVE, 500).accepted_size == 10


# -- rebalance --------------------------------------------------------------------------------------------------------


def test_nothing_is_traded_below_the_threshold(holding):
    model = model_of({WETH: 1})
    assert rebalance(model, desk(holding), 160.0) == []
    assert model.get_flag_diagnostics_data() == {"max_adjust_too_small": 1}
    assert not model.is_rebalance_triggered()


def test_an_individual_threshold_leaves_small_changes_out_but_no_close(holding):
    manager = desk(holding)
    model = model_of({WETH: 0.5, AAVE: 0.5})
    assert [t.pair for t in rebalance(model, manager, 157.7, individual_rebalance_min_threshold=78.851)] == []
    assert Flag.individual_trade_size_too_small in model.get_signal_by_pair(AAVE).flags
    model = model_of({AAVE: 1})
    trades = rebalance(model, manager, 157.7, individual_rebalance_min_threshold=1000)
    assert [t.closing for t in trades] == [True]


def test_buys_do_not_count_on_money_of_a_sell_that_is_left_out():
    ledger = Ledger(cash=1000)
    ledger.buy(1, 990, 1670, pair=WETH)
    manager = desk(ledger)
    model = model_of({WETH: 0.5, AAVE: 0.5})
    trades = rebalance(model, manager, 990, sell_rebalance_min_threshold=600)
    assert [float(t.planned_reserve) for t in trades] == [pytest.approx(10)]
    assert Flag.capped_by_sync_cash in model.get_signal_by_pair(AAVE).flags


def test_blacklisted_pairs_and_frozen_positions_are_left_alone(holding):
    holding.state.blacklist_asset(AAVE.base, "because")
    model = model_of({WETH: 1, AAVE: 1})
    trades = rebalance(model, desk(holding), 400)
    assert [t.pair for t in trades] == [WETH]
    assert model.get_signal_by_pair(AAVE).flags == {Flag.blacklisted}


def test_signals_bring_their_triggers():
    ledger = Ledger(cash=1000)
    manager = desk(ledger)
    model = AlphaModel(NOW)
    model.set_signal(WETH, 1, stop_loss=0.9, take_profit=1.2)
    model.select_top_signals(1)
    model.assign_weights()
    model.normalise_weights()
    (trade,) = rebalance(model, manager, 500)
    position = ledger.state.portfolio.open_positions[trade.position_id]
    assert (position.stop_loss, position.take_profit) == (pytest.approx(1503), pytest.approx(2004))


def test_a_carried_position_keeps_its_value_and_does_not_compete(holding):
    manager = desk(holding)
    model = AlphaModel(NOW)
    (position,) = holding.state.portfolio.open_positions.values()
    pinned = model.carry_forward(position)
    model.set_signal(AAVE, 1)
    model.select_top_signals(5)
    model.assign_weights(weight_by_1_slash_n)
    model.normalise_weights()
    trades = rebalance(model, manager, 657.7 - pinned)
    assert [(t.pair, float(t.planned_reserve)) for t in trades] == [(AAVE, pytest.approx(500))]


@pytest.mark.parametrize("path", [{}, {"waterfall": True}, {"max_positions": 3}, {"size_risk_model": True}])
def test_a_position_without_a_signal_is_closed_even_when_old_weights_come_first(holding, path):
    if "size_risk_model" in path:
        path = {"size_risk_model": FixedSizeRiskModel(None, 1e9, 1e9)}
    manager = desk(holding)
    model = AlphaModel(NOW)
    model.set_signal(AAVE, 1)
    model.select_top_signals(5)
    model.update_old_weights(manager.get_current_portfolio())
    model.assign_weights(weight_equal)
    model.normalise_weights(investable_equity=100.0, **path)
    model.calculate_target_positions(manager)
    sell, buy = model.generate_rebalance_trades_and_triggers(manager)
    assert (sell.pair, sell.closing) == (WETH, True)
    assert (buy.pair, float(buy.planned_reserve)) == (AAVE, pytest.approx(100))


def test_a_change_that_is_only_rounding_is_left_out(holding):
    (position,) = holding.state.portfolio.open_positions.values()
    model = AlphaModel(NOW)
    model.set_signal(WETH, position.get_value() * (1 + 1e-13))
    model.set_signal(AAVE, 100.0)
    model.select_top_signals(5)
    model.assign_weights(weight_passthrough)
    model.normalise_weights()
    trades = rebalance(model, desk(holding), position.get_value() * (1 + 1e-13) + 100)
    assert [trade.pair for trade in trades] == [AAVE]
    assert model.get_signal_by_pair(WETH).flags == {Flag.individual_trade_quantity_too_small}


def test_a_buy_of_which_hardly_anything_is_left_is_left_out():
    ledger = Ledger(cash=1000)
    ledger.buy(1, Decimal("999.99999999999"), 1670, pair=WETH)
    model = model_of({WETH: 0.5, AAVE: 0.5})
    assert rebalance(model, desk(ledger), 1000, sell_rebalance_min_threshold=600) == []
    assert Flag.individual_trade_quantity_too_small in model.get_signal_by_pair(AAVE).flags


# -- properties -------------------------------------------------------------------------------------------------------

alphas = st.lists(st.floats(0.001, 1000), min_size=1, max_size=len(OTHERS))


@given(
    alphas,
    st.sampled_from([weight_passthrough, weight_equal, weight_by_1_slash_n]),
    st.floats(0.05, 1),
    st.floats(1, 1e6),
    st.sampled_from(["simple", "risk", "best", "waterfall"]),
    st.floats(0, 1e6),
)
def test_weights_and_targets_never_exceed_what_there_is(values, method, cap, equity, path, position_cap):
    risk = FixedSizeRiskModel(None, 1e12, position_cap)
    options = {
        "simple": {},
        "risk": {"investable_equity": equity, "size_risk_model": risk},
        "best": {"investable_equity": equity, "size_risk_model": risk, "max_positions": 3},
        "waterfall": {"investable_equity": equity, "size_risk_model": risk, "waterfall": True},
    }[path]
    model = model_of(dict(zip(OTHERS, values, strict=False)), method=method, max_weight=cap, **options)
    signals = list(model.iterate_signals())
    assert sum(signal.normalised_weight for signal in signals) <= 1
    assert all(0 <= signal.normalised_weight <= 1 for signal in signals)
    if path == "simple":
        assert all(signal.normalised_weight <= cap for signal in signals)
    else:
        assert model.get_allocated_value() <= equity * (1 + 1e-12)
        assert all(signal.position_target <= position_cap for signal in signals)
        if path != "risk":  # there later signals share what earlier ones were refused
            assert all(signal.position_target <= cap * equity * (1 + 1e-12) for signal in signals)
