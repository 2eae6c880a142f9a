"""What a backtest gives back can be read, saved and replayed."""

import json
from pathlib import Path

import pandas as pd
from random_strategy import Parameters, decide_by_seed, describe, make_universe

import trading_dagster as td
from trading_dagster.domain.state import State
from trading_dagster.storage.event_codec import EventDecoder


def run(seed: int = 11) -> td.BacktestResult:
    return td.run_backtest(
        decide_trades=decide_by_seed(seed), universe=make_universe(seed), parameters=Parameters, progress=False
    )


def test_result_tables_agree_with_each_other():
    result = run()
    assert len(result.decisions) == result.plan.cycle_count == 120
    rebalances = result.trades[result.trades["trade_type"] == "rebalance"]
    assert result.decisions[["buys", "sells"]].to_numpy().sum() == len(rebalances)
    assert result.equity_curve.index.is_unique
    assert result.equity_curve.iloc[-1] == result.state.portfolio.calculate_total_equity()
    by_position = result.trades.groupby("position_id")
    bought_first = by_position["side"].apply(lambda side: "".join(side).rfind("buy") < "".join(side).find("sell"))
    closed = result.positions[result.positions["status"] == "closed"].set_index("position_id")
    simple = closed.index[bought_first.loc[closed.index]]  # later buys would change the average cost of earlier sells
    assert len(simple) > 20
    pd.testing.assert_series_equal(
        closed.loc[simple, "realised_profit"].rename("profit"), by_position["profit"].sum().loc[simple], rtol=1e-9
    )


def test_saved_result_replays_to_the_same_state(tmp_path: Path):
    result = run()
    folder = result.save(tmp_path / "saved")
    lines = (folder / "ledger.jsonl").read_text().splitlines()
    replayed = State.replay(EventDecoder(result.universe.pairs).decode_all(lines), result.state.portfolio.marks)
    assert describe(replayed) == describe(result.state)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "trades.parquet"), result.trades)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "samples.parquet"), result.samples)
    assert json.loads((folder / "parameters.json").read_text())["initial_cash"] == "10000"
    assert "<html" in (folder / "report.html").read_text()
    assert (
        json.loads((folder / "metrics.json").read_text())[
            "Max Drawdown" if "Max Drawdown" in result.metrics else "Max drawdown"
        ]
        < 0
    )


def test_report_is_one_file_that_names_the_strategy(tmp_path: Path):
    path = run().report(tmp_path / "deep" / "report.html")
    text = path.read_text()
    assert "strategy" in text
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_same_inputs_give_the_same_bytes(tmp_path: Path):
    first, second = run().save(tmp_path / "a"), run().save(tmp_path / "b")
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
