"""The live benchmark measures real cycles on a ledger that has the history it claims."""

from pathlib import Path

import pytest

from benchmarks.live_cycle import COSTS, compare, run_live_cycle
from benchmarks.live_history import DAY, FIRST_MEASURED, HELD, make_deployment, open_deployment
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.storage.strategy_ledger import StrategyLedger


@pytest.mark.parametrize(("cycles", "trades"), [(0, 0), (30, 14)])
def test_a_measured_cycle_trades_on_top_of_its_history(tmp_path: Path, cycles: int, trades: int) -> None:
    folder = tmp_path / "deployment"
    make_deployment(folder, cycles, trades)

    first = run_live_cycle(folder, FIRST_MEASURED)
    run_live_cycle(folder, FIRST_MEASURED + DAY)

    live = open_deployment(folder, FIRST_MEASURED + DAY)
    state = StrategyLedger(live.store, live.id).load()
    samples = live.store.read_samples(live.id)
    live.store.close()
    assert state is not None
    assert state.cycle == cycles + 1 + 2 + 1
    done = [trade for trade in state.portfolio.get_all_trades() if trade.get_status() is TradeStatus.success]
    assert len(done) == HELD + trades + 4
    assert len(state.portfolio.open_positions) == HELD
    assert len(samples) == cycles + 1 + 2
    assert set(first) == set(COSTS)
    assert all(first[name] > 0 for name in COSTS if name != "database growth")


def test_a_cycle_that_costs_more_after_a_history_misses_the_target() -> None:
    cheap, dear = dict.fromkeys(COSTS, 1.0), dict.fromkeys(COSTS, 1.3)
    assert compare({0: [cheap], 10: [cheap]})[1]
    lines, is_met = compare({0: [cheap, cheap], 10: [dear, dear]})
    assert not is_met
    assert all(line.rstrip(" |").endswith("1.30") for line in lines[1:])
