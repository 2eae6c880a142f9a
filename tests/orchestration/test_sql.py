"""SQL sees the lake, the results of a real backtest and a ledger that another process may be writing to."""

import io
import sys
from datetime import datetime

import pytest
from cli.conftest import run  # noqa: F401 - fixture

from trading_dagster.cli.data_sql import prompt
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.storage.query import QueryPlaces, open_session
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

pytestmark = pytest.mark.dagster


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    import_candles(
        lake,
        EmbeddedSample(),
        name="sample",
        bucket=TimeBucket.h1,
        start_at=datetime(2018, 1, 1),
        end_at=datetime(2018, 3, 1),
    )
    return lake


def test_candles_and_their_coverage_are_asked(lake):
    with open_session(QueryPlaces(lake)) as session:
        counts = session.query("SELECT source, bucket, exchange, pair, count(*) AS n FROM candles GROUP BY ALL")
        assert counts.to_numpy().tolist() == [["sample", "1h", "coinbase", "BTC/USD", 59 * 24]]
        covered = session.query("SELECT month, rows, covered_to FROM coverage ORDER BY month")
        assert covered["rows"].tolist() == [31 * 24, 28 * 24]
        assert covered["covered_to"].max().isoformat() == "2018-03-01T00:00:00+00:00"
        views = session.list_views()
        assert {"candles", "coverage"} <= set(views["view"])
        with pytest.raises(BadInput, match="SELEC"):
            session.query("SELEC 1")


def test_empty_lake_has_empty_views(tmp_path):
    with open_session(QueryPlaces(Lake(tmp_path / "none"))) as session:
        assert session.query("SELECT count(*) AS n FROM candles")["n"].tolist() == [0]
        assert session.query("SELECT count(*) AS n FROM coverage")["n"].tolist() == [0]


def test_results_of_a_backtest_are_asked(driver, lake, artefacts):
    result = driver.run_all()
    with open_session(QueryPlaces(lake, artefacts)) as session:
        trades = session.query("SELECT strategy, count(*) AS n FROM backtest_trades GROUP BY 1")
        assert trades.to_numpy().tolist() == [[driver.strategy.id, len(result.trades)]]
        last = session.query("SELECT equity FROM backtest_equity ORDER BY timestamp DESC LIMIT 1")
        assert last["equity"].tolist() == [result.equity_curve.iloc[-1]]
        assert len(session.query("SELECT * FROM backtest_positions")) == len(result.positions)
        joined = (
            "SELECT count(*) AS n FROM backtest_equity e JOIN candles c ON c.timestamp = timezone('UTC', e.timestamp)"
        )
        assert session.query(joined)["n"][0] > 0


def test_ledger_is_read_while_it_is_open(lake, tmp_path):
    file = tmp_path / "ledger.sqlite"
    store = SqlLedgerStore(file)
    with store.database.write(), open_session(QueryPlaces(lake, ledger=str(file))) as session:
        assert session.query("SELECT count(*) AS n FROM ledger_events")["n"].tolist() == [0]
    store.close()
    with (
        pytest.raises(BadInput, match="there is no such file"),
        open_session(QueryPlaces(lake, ledger="absent.sqlite")),
    ):
        pass


def test_command_answers_once_or_at_a_prompt(run, lake, capsys, monkeypatch):  # noqa: F811
    code, output, _ = run("data", "sql", "SELECT count(*) AS n FROM candles", "--lake", lake.folder, "--format", "csv")
    assert (code, output.split()) == (0, ["n", "1416"])
    assert "coverage" in run("data", "sql", "--views", "--lake", lake.folder)[1]
    assert run("data", "sql", "SELECT nothing", "--lake", lake.folder)[0] == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1\n AS one;\nSELEC;\n.views\nSELECT 2 AS two;\n.exit\n"))
    with open_session(QueryPlaces(lake)) as session:
        prompt(session, sys.stdin, lambda frame: frame.to_csv(index=False))
    told = capsys.readouterr()
    assert "one\n1" in told.out
    assert "two\n2" in told.out
    assert "Error: sql 'SELEC;'" in told.err
