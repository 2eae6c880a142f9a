"""The example that moves cash between vaults: golden numbers, and equity counted again from its trades alone."""

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import trading_dagster as td

FILE = Path(__file__).parents[2] / "strategies" / "yield_rotation.py"


@pytest.fixture(scope="module")
def result() -> td.BacktestResult:
    return td.run_backtest(FILE, progress=False)


def test_golden_numbers(result: td.BacktestResult) -> None:
    assert len(result.trades) == 46
    assert result.equity_curve.iloc[-1] == pytest.approx(114_704.00742063735, rel=1e-9)


def test_equity_is_what_trades_and_share_prices_say(result: td.BacktestResult) -> None:
    days = result.equity_curve.index
    opens = {
        p.get_ticker(): result.universe.candles.frame(p.internal_id, ("open",))["open"] for p in result.universe.pairs
    }
    cash, value = pd.Series(100_000.0, index=days), pd.Series(0.0, index=days)
    for trade in result.state.portfolio.get_all_trades():
        ticker, asked, settled = trade.pair.get_ticker(), trade.opened_at, trade.executed_at
        amount, shares = float(trade.executed_reserve), float(trade.executed_quantity)
        if trade.is_buy():
            cash[days >= asked] -= amount
            value[(days >= asked) & (days < settled)] += amount
        else:
            cash[days >= settled] += amount
        value[days >= settled] += shares * opens[ticker].reindex(days)[days >= settled]

    pd.testing.assert_series_equal(cash + value, result.equity_curve, check_names=False, check_freq=False, rtol=1e-9)


def test_vaults_are_used_by_their_terms(result: td.BacktestResult) -> None:
    for trade in result.state.portfolio.get_all_trades():
        wait = trade.executed_at - trade.opened_at
        assert wait == (timedelta(days=2) if trade.pair.base.token_symbol == "SLOW" else timedelta(0))
        assert trade.opened_at.weekday() == 0
    used = {trade.pair.base.token_symbol for trade in result.state.portfolio.get_all_trades()}
    assert used == {"SAFE", "SLOW", "OPEN"}


def test_it_stays_where_it_cannot_leave() -> None:
    shut = datetime(2022, 7, 1)
    slow = td.Vault(
        (td.ChainId.centralised_exchange, "vaults", "SLOW", "USDC"),
        td.VaultTerms("Slow", settlement_delay=timedelta(days=2), limits=(td.VaultLimit(shut, 0, 0),)),
    )
    vaults = td.load_strategy_file(FILE).parameters["vaults"]

    result = td.run_backtest(FILE, parameters={"vaults": (vaults[0], slow, vaults[2])}, progress=False)

    slow_trades = [t for t in result.state.portfolio.get_all_trades() if t.pair.base.token_symbol == "SLOW"]
    assert slow_trades
    assert all(trade.opened_at < shut for trade in slow_trades)
    assert any(position.pair.base.token_symbol == "SLOW" for position in result.state.portfolio.get_open_positions())
