"""What files of other programs mean: freqtrade's and Binance's own dumps are known by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket

BINANCE_COLUMNS = (
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
BINANCE_NAME = re.compile(r"^([A-Z0-9]{5,})-(\d+[smhdw]|1mo)-(\d{4}-\d{2}(?:-\d{2})?)\.(?:csv|zip)$")
FREQTRADE_NAME = re.compile(r"^([A-Za-z0-9]+)_([A-Za-z0-9]+)-(\d+[mhdw])\.(?:feather|json|parquet)$")
QUOTES = (
    "FDUSD",
    "USDT",
    "USDC",
    "TUSD",
    "BUSD",
    "USDP",
    "DAI",
    "TRY",
    "EUR",
    "GBP",
    "BRL",
    "BTC",
    "ETH",
    "BNB",
    "USD",
)
"""How the symbols of Binance end; the first that fits is the quote."""

UNITS: Mapping[str, float] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""How many microseconds a unit of times has."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """How a file is to be read.

    Args:
        names: By what the file calls a column, the name it has here.
        header: Names of the columns in order, where the file has no line of names.
        pairs: By what the file calls a pair, BASE/QUOTE.
        pair: The only pair, where no column says it.
        exchange: The venue, where no column says it.
        bucket: Width of the candles; None finds out.
        unit: Of times written as numbers: s, ms, us, ns; None tells by their size.
        time_format: Of times written as text or digits, as of strptime; None finds out where there is but one way.
        shift: What is subtracted from the times, so that they are the opens of the candles, in UTC.
        decimal: What decimals in CSV begin with: a point, or a comma where columns are told apart by another sign.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] | None = None
    pairs: Mapping[str, str] = field(default_factory=dict)
    pair: str | None = None
    exchange: str | None = None
    bucket: TimeBucket | None = None
    unit: str | None = None
    time_format: str | None = None
    shift: timedelta = timedelta(0)
    decimal: str = "."


def recognise(path: Path) -> FileLayout | None:
    """Return the layout of a dump that its name gives away, None for other files.

    Raises:
        BadInput: A symbol of Binance whose quote is not known.
    """
    found = BINANCE_NAME.match(path.name)
    if found is not None:
        return FileLayout(
            header=BINANCE_COLUMNS,
            pair=split_symbol(found[1], path),
            exchange="binance",
            bucket=_bucket(found[2], path),
        )
    found = FREQTRADE_NAME.match(path.name)
    if found is not None:
        venue = path.parent.name if path.parent.parent.name == "data" else None
        return FileLayout(
            header=("timestamp", *BINANCE_COLUMNS[1:6]) if path.suffix == ".json" else None,
            pair=f"{found[1]}/{found[2]}",
            exchange=venue,
            bucket=_bucket(found[3], path),
        )
    return None


def is_other_dump(path: Path) -> bool:
    """Tell whether a file of freqtrade holds something else than spot candles: futures, marks, funding, trades."""
    return bool(re.search(r"-(?:futures|mark|index|premiumIndex|funding_rate|trades)\.\w+(?:\.gz)?$", path.name))


def split_symbol(symbol: str, path: Path) -> str:
    """Return BASE/QUOTE of a symbol such as BTCUSDT; raises BadInput."""
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return f"{symbol.removesuffix(quote)}/{quote}"
    raise BadInput(
        f"path {path}: the symbol {symbol} ends in none of {', '.join(QUOTES)}: name the pair in a mapping file"
    )


def _bucket(text: str, path: Path) -> TimeBucket:
    value = {"1w": "7d"}.get(text, text)
    for bucket in TimeBucket:
        if bucket.value == value:
            return bucket
    raise BadInput(
        f"path {path}: candles of {text} have no bucket here: use one of {[each.value for each in TimeBucket]}"
    )
