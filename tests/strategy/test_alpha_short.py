"""The alpha model with shorts: opening, changing, flipping and closing them at its weights."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.loan_scenario import lending_universe, run_with_loans
from tests.scenario import WETH_USDC
from trading_dagster.domain.error import InvalidTrade
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.weighting import weight_passthrough


def decide_by(signals, equity=5_000.0, **options):
    """Return a decision that gives the one pair a signal each cycle; None leaves it out."""

    def decide(input):
        manager = input.get_position_manager()
        model = AlphaModel(input.timestamp)
        signal = signals[min(input.cycle, len(signals)) - 1]
        if signal is not None:
            model.set_signal(input.get_default_pair(), signal, leverage=2.0 if signal < 0 else None, **options)
        model.select_top_signals(1)
        model.assign_weights(weight_passthrough)
        model.normalise_weights()
        model.update_old_weights(manager.get_current_portfolio())
        model.calculate_target_positions(manager, equity)
        return model.generate_rebalance_trades_and_triggers(manager, min_trade_threshold=1.0)

    return decide


def run(signals, **options):
    return run_with_loans(decide_by(signals, **options), datetime(2023, 1, 5))


def kinds(result):
    trades = sorted(result.state.portfolio.get_all_trades(), key=lambda trade: trade.trade_id)
    return [("short" if t.is_short() else "long", t.is_shrinking(), t.closing) for t in trades]


def test_negative_signal_opens_a_short_and_keeps_it_at_its_target():
    result = run([-1.0])
    assert kinds(result)[0] == ("short", False, False)
    assert all(kind == "short" and not closing for kind, _, closing in kinds(result))
    (position,) = result.state.portfolio.open_positions.values()
    assert position.get_value() == pytest.approx(5_000, rel=1e-9)
    assert position.loan.get_leverage() == pytest.approx(1.7328534300127445)  # adjusting keeps what prices made of 2


def test_changed_sign_closes_one_side_and_opens_the_other():
    result = run([1.0, -1.0, 1.0])
    assert kinds(result)[:5] == [
        ("long", False, False),
        ("long", True, True),
        ("short", False, False),
        ("short", True, True),
        ("long", False, False),
    ]
    (position,) = result.state.portfolio.open_positions.values()
    assert position.is_long()
    assert position.get_value() == pytest.approx(5_000, rel=0.07)
    assert len(result.state.portfolio.closed_positions) == 2


def test_missing_signal_closes_the_short():
    result = run([-1.0, None])
    assert kinds(result) == [("short", False, False), ("short", True, True)]
    assert result.state.portfolio.get_cash() == result.state.portfolio.calculate_total_equity()


def test_flip_of_everything_never_runs_out_of_cash():
    result = run([-1.0, 1.0, -1.0, 1.0], equity=9_990.0)
    assert [closing for *_, closing in kinds(result)].count(True) == 3
    assert result.state.portfolio.get_cash() >= 0


def test_levels_of_the_signal_are_those_of_the_short():
    result = run([-1.0], stop_loss=0.97, take_profit=1.2)
    position = next(
        iter([*result.state.portfolio.open_positions.values(), *result.state.portfolio.closed_positions.values()])
    )
    assert position.get_original_stop_loss() == pytest.approx(1800 * 1.03)
    assert position.trigger_updates[0].take_profit_after == pytest.approx(1800 * 0.8)


def test_only_pairs_of_a_part_of_the_portfolio_are_counted():
    universe = lending_universe(datetime(2023, 1, 30))
    seen = []

    def decide(input):
        manager = input.get_position_manager()
        if input.cycle == 1:
            return manager.open_short(WETH_USDC, 1_000)
        for pairs in ([], [WETH_USDC]):
            model = AlphaModel(input.timestamp)
            model.update_old_weights(manager.get_current_portfolio(), portfolio_pairs=pairs)
            seen.append(model.get_signal_count())
        return []

    run_with_loans(decide, universe=universe)
    assert seen == [0, 1, 0, 1, 0, 1]


def test_long_and_short_of_one_market_are_refused_before_anything_is_planned():
    def decide(input):
        manager, pair = input.get_position_manager(), input.get_default_pair()
        if input.cycle == 1:
            return manager.open_spot(pair, 1_000) + manager.open_short(pair, 1_000)
        before = len(input.state.new_events)
        with pytest.raises(InvalidTrade, match="one position of each, long or short"):
            decide_by([1.0])(input)
        assert len(input.state.new_events) == before
        return []

    run_with_loans(decide, datetime(2023, 1, 4))


def test_short_whose_target_is_nothing_is_closed():
    def decide(input):
        return decide_by([-1.0], equity=5_000.0 if input.cycle == 1 else 0.0)(input)

    result = run_with_loans(decide, datetime(2023, 1, 4))
    assert kinds(result) == [("short", False, False), ("short", True, True)]


def test_short_that_owes_interest_only_is_opened_anew():
    """A partial repayment covers the principal to the last unit; no leverage is left to keep."""
    made = []

    def decide(input):
        manager = input.get_position_manager()
        if input.cycle != 3:
            trades = decide_by([-1.0])(input)
            made.append([(t.closing, t.is_shrinking()) for t in trades])
            return trades
        short = manager.get_current_short_position()
        trades = manager.close_short(short, quantity=short.loan.borrowed.quantity)
        assert trades[0].plan.loan.repaid_interest == 0
        return trades

    run_with_loans(decide, datetime(2023, 1, 5))
    assert made[-1] == [(True, True), (False, False)]


def test_partial_repayment_beyond_the_principal_repays_interest():
    def decide(input):
        manager = input.get_position_manager()
        if input.cycle == 1:
            return manager.open_short(input.get_default_pair(), 1_000)
        if input.cycle == 3:
            short = manager.get_current_short_position()
            borrowed = short.loan.borrowed
            half = borrowed.interest.outstanding / 2
            return manager.close_short(short, quantity=borrowed.quantity + half)
        return []

    result = run_with_loans(decide, datetime(2023, 1, 4))
    borrowed = result.state.portfolio.open_positions[1].loan.borrowed
    assert borrowed.quantity == 0
    assert borrowed.interest.outstanding == borrowed.total > 0
