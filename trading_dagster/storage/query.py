"""SQL over what the project keeps: candles of the lake, results of backtests, the ledger of live trading.

DuckDB works in memory on the files as they are and needs no extension. Everything is read only: a ledger is copied in
one transaction, so that its tables fit together and its writer does not wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from trading_dagster.domain.error import BadInput, StorageFailed
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_view import create_lake_views

RESULTS = ("trades", "equity", "decisions")
RESULT_VIEW = """
CREATE VIEW backtest_{name} AS SELECT
    parse_path(filename)[-5] AS strategy, parse_path(filename)[-3] AS grain, parse_path(filename)[-2] AS partition,
    * EXCLUDE (filename)
FROM read_parquet({files}, filename = true, union_by_name = true)
"""
WHOLE_VIEW = """
CREATE VIEW backtest_{name} AS SELECT parse_path(filename)[-2] AS strategy, * EXCLUDE (filename)
FROM read_parquet({files}, filename = true, union_by_name = true)
"""


@dataclass(frozen=True, slots=True)
class QueryPlaces:
    """Where the data is; what is None or not there has no views.

    Args:
        lake: The lake.
        artefacts: Folder of backtests, one folder a strategy.
        ledger: A SQLite file, or the URL of a database.
    """

    lake: Lake
    artefacts: Path | None = None
    ledger: str | None = None


class QuerySession:
    """A DuckDB connection in memory with views of everything; see `open_session`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def query(self, sql: str) -> pd.DataFrame:
        """Return the result of a statement; raises BadInput when it is wrong or gives no table."""
        try:
            result = self._connection.sql(sql)
            if result is None:
                raise BadInput(f"sql {sql!r} gives no table; ask with SELECT")
            return pd.DataFrame(result.to_arrow_table().to_pandas())
        except duckdb.Error as error:
            raise BadInput(f"sql {sql!r}: {error}") from error

    def list_views(self) -> pd.DataFrame:
        """Return the views and their columns: view, column, type."""
        return self.query(
            'SELECT table_name AS "view", column_name AS "column", data_type AS "type" FROM duckdb_columns() '
            "WHERE NOT internal ORDER BY table_name, column_index"
        )


@contextmanager
def open_session(places: QueryPlaces) -> Iterator[QuerySession]:
    """Open a session with views of what there is.

    Views: ``candles``, ``coverage``, ``repairs`` of the lake; ``backtest_trades``, ``backtest_equity``,
    ``backtest_decisions``, ``backtest_positions``, ``backtest_statistics`` of backtests; ``ledger_<table>`` for each
    table of a ledger.

    Raises:
        StorageFailed: The ledger cannot be read.
        CandleContractBroken: A month of the lake is damaged.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        create_lake_views(connection, places.lake)
        if places.artefacts is not None:
            _create_result_views(connection, places.artefacts)
        if places.ledger is not None:
            _copy_ledger(connection, places.ledger)
        yield QuerySession(connection)


def _create_result_views(connection: duckdb.DuckDBPyConnection, artefacts: Path) -> None:
    for name in RESULTS:
        files = sorted(artefacts.glob(f"*/partitions/*/*/{name}.parquet"))
        if files:
            connection.execute(RESULT_VIEW.format(name=name, files=_sql_list(files)))
    for name in ("positions", "statistics"):
        files = sorted(artefacts.glob(f"*/{name}.parquet"))
        if files:
            connection.execute(WHOLE_VIEW.format(name=name, files=_sql_list(files)))


def _copy_ledger(connection: duckdb.DuckDBPyConnection, place: str) -> None:
    """Copy every table of a ledger in one transaction."""
    url = place
    if "://" not in place:
        path = Path(place)
        if not path.is_file():
            raise BadInput(f"ledger {place}: there is no such file; give a SQLite file or the URL of a database")
        url = f"sqlite:///file:{path.absolute()}?mode=ro&uri=true"
    try:
        shown = sa.make_url(url).render_as_string(hide_password=True)
        engine = sa.create_engine(url)
    except sa.exc.ArgumentError as error:
        raise BadInput(f"ledger: not the URL of a database: {error}") from error
    try:
        with engine.connect() as reader, reader.begin():
            for name in sa.inspect(reader).get_table_names():
                rows = reader.execute(sa.select(sa.text("*")).select_from(sa.table(name)))
                columns = list(rows.keys())
                values = [dict(zip(columns, row, strict=True)) for row in rows]
                table = pa.Table.from_pylist(values) if values else pa.table({column: [] for column in columns})
                connection.register(f"ledger_{name}", table)
    except sa.exc.SQLAlchemyError as error:
        raise StorageFailed(f"ledger {shown}: cannot be read: {error}") from error
    finally:
        engine.dispose()


def _sql_list(files: list[Path]) -> str:
    quoted = ", ".join("'" + str(path.absolute()).replace("'", "''") + "'" for path in files)
    return f"[{quoted}]"
