"""The lake as views of a DuckDB connection: candles, what is covered, what was repaired."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pandas as pd

from trading_dagster.domain.time import from_unix_us
from trading_dagster.market.lake import LAKE_VIEW, NO_EXTRA, Lake, months_sql, sql_files
from trading_dagster.market.market_key import market_key
from trading_dagster.market.month_file import EXTRA_COLUMNS
from trading_dagster.market.month_import import repairs_path

NOTHING = """
CREATE VIEW candles AS SELECT NULL::VARCHAR AS source, NULL::VARCHAR AS bucket, NULL::VARCHAR AS exchange,
    NULL::VARCHAR AS pair, NULL::VARCHAR AS market, NULL::TIMESTAMPTZ AS timestamp, NULL::DOUBLE AS open,
    NULL::DOUBLE AS high, NULL::DOUBLE AS low, NULL::DOUBLE AS close, NULL::DOUBLE AS volume LIMIT 0
"""
REPAIRS_VIEW = """
CREATE VIEW repairs AS SELECT
    parse_path(filename)[-3] AS source, parse_path(filename)[-2] AS bucket,
    split_part(split_part(market, '@', 2), ' ', 1) AS exchange, split_part(market, '@', 1) AS pair,
    * EXCLUDE (filename)
FROM read_parquet({files}, filename = true, union_by_name = true)
"""
COVERAGE_COLUMNS = (
    "source",
    "bucket",
    "month",
    "exchange",
    "pair",
    "market",
    "rows",
    "first",
    "last",
    "covered_from",
    "covered_to",
    "content_hash",
)


def create_lake_views(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Create the views ``candles``, ``coverage`` and ``repairs``; of an empty lake they are empty.

    Raises:
        CandleContractBroken: A month is damaged.
    """
    contents = [item for source in lake.list_sources() for item in lake.read_contents(source)]
    files = [str(path.absolute()) for path, _ in contents]
    if files:
        view = LAKE_VIEW.format(months=months_sql(files), extra=", ".join(EXTRA_COLUMNS), none=NO_EXTRA)
        connection.execute(view)
    else:
        connection.execute(NOTHING)
    rows: list[Sequence[object]] = [
        (
            path.parent.parent.name,
            path.parent.name,
            path.stem,
            coverage.market.exchange_slug,
            coverage.market.pair,
            market_key(coverage.market),
            coverage.row_count,
            coverage.market.first_at if coverage.row_count else pd.NaT,
            coverage.market.last_at if coverage.row_count else pd.NaT,
            from_unix_us(coverage.covered[0][0]) if coverage.covered else pd.NaT,
            from_unix_us(coverage.covered[-1][1]) if coverage.covered else pd.NaT,
            content.content_hash,
        )
        for path, content in contents
        for coverage in content.coverages
    ]
    frame = pd.DataFrame(rows, columns=list(COVERAGE_COLUMNS))
    for name in ("first", "last", "covered_from", "covered_to"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    connection.register("coverage", frame)
    repairs = [str(repairs_path(path).absolute()) for path, _ in contents if repairs_path(path).is_file()]
    if repairs:
        connection.execute(REPAIRS_VIEW.format(files=sql_files(repairs)))
