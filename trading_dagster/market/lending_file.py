"""Lending rates from frames and files: Aave's rates per reserve, or candles of rates in percent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing, NoLendingData
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.exchange import pseudo_address
from trading_dagster.market.lending import (
    RATE_COLUMNS,
    LendingCandleType,
    LendingProtocolType,
    LendingReserve,
    LendingReserveDescription,
    LendingUniverse,
    make_reserve_tokens,
)

DEFAULT_LIQUIDATION_THRESHOLD = 0.85
AAVE_COLUMNS = {
    "liquidity_rate": LendingCandleType.supply_apr,
    "variable_borrow_rate": LendingCandleType.variable_borrow_apr,
}
"""Columns of Aave's reserve data, fractions a year, and the rate each is."""

RateInput = pd.DataFrame | str | Path


def read_lending_rates(
    rates: RateInput,
    tokens: Mapping[str, AssetIdentifier],
    time_bucket: TimeBucket,
    *,
    protocol: LendingProtocolType = LendingProtocolType.aave_v3,
    liquidation_threshold: float | Mapping[str, float] = DEFAULT_LIQUIDATION_THRESHOLD,
) -> LendingUniverse:
    """Return the lending markets of some tokens, their rates as candles of a bucket.

    Two shapes are known. Aave's: ``block_timestamp`` (or ``timestamp``), ``token``, ``liquidity_rate`` and
    ``variable_borrow_rate``, fractions a year, of which candles are made. Rate candles: ``timestamp`` (open),
    ``token``, ``rate`` (supply_apr or variable_borrow_apr), ``open``, ``high``, ``low``, ``close``, percent a year.

    Args:
        rates: A frame, or a Parquet or CSV file.
        tokens: What the data calls a token (symbol or address, in any case), and which token that is here.
        time_bucket: Width of the candles to make; not finer than the data.
        protocol: The lending protocol.
        liquidation_threshold: Fraction of collateral value at which a loan is liquidated, for all or by symbol.

    Raises:
        MarketDataMissing: There is no such file.
        CandleContractBroken: Columns are missing, or rates are no numbers.
        NoLendingData: The data has no rates of a token.
    """
    frame = _read(rates)
    wanted = {name.lower(): asset for name, asset in tokens.items()}
    frame = frame[frame["token"].isin(list(wanted))]
    missing = [name for name in tokens if name.lower() not in set(frame["token"])]
    if missing:
        raise NoLendingData(
            f"The lending rates have no token {missing}: they have {sorted(set(_read(rates)['token']))}"
        )
    reserves, candles = [], {}
    for number, (name, asset) in enumerate(wanted.items(), 1):
        threshold = _threshold_of(asset, liquidation_threshold)
        reserves.append(make_lending_reserve(asset, number, protocol, threshold))
        for kind, part in _split(frame[frame["token"] == name]):
            candles[number, kind] = _resample(part, time_bucket)
    return LendingUniverse(time_bucket, tuple(reserves), candles)


def make_lending_reserve(
    asset: AssetIdentifier, reserve_id: int, protocol: LendingProtocolType, liquidation_threshold: float
) -> LendingReserve:
    """Return the lending market of a token; its aToken and debt token get addresses made from the token's."""
    addresses = [pseudo_address(protocol.value, kind, asset.get_identifier()) for kind in ("supply", "variable")]
    atoken, vtoken = make_reserve_tokens(asset, addresses, liquidation_threshold)
    return LendingReserve(reserve_id, ChainId(asset.chain_id), protocol, asset, atoken, vtoken)


def lend_tokens_of(
    pairs: Iterable[TradingPairIdentifier],
    lending: LendingUniverse | Collection[str | LendingReserveDescription] | None,
    rates: RateInput | None,
    bucket: TimeBucket,
    names: Mapping[str, str] | None,
) -> LendingUniverse | None:
    """Return the lending markets that a loader was asked for.

    Args:
        pairs: Whose tokens may be lent and borrowed.
        lending: Markets as they are; or the symbols of tokens whose rates ``rates`` has; None for all it has.
        rates: As in read_lending_rates; None for none.
        bucket: Width of the candles made of it.
        names: What ``rates`` calls a token, by symbol; tokens that are not named are called by their symbol.
    """
    if isinstance(lending, LendingUniverse):
        if rates is not None:
            raise BadInput("Give lending markets with their rates as lending_reserves, or lending_rates, not both")
        return lending
    if rates is None:
        if lending is None:
            return None
        raise NoLendingData(
            f"lending_reserves {list(lending)} have no rates here: give lending_rates (a frame or file; see "
            "docs/loans.md), or a LendingUniverse as lending_reserves"
        )
    symbols = {token.token_symbol: token for pair in pairs for token in (pair.base, pair.quote)}
    chosen = list(symbols) if lending is None else [_symbol_of(reserve) for reserve in lending]
    unknown = [symbol for symbol in chosen if symbol not in symbols]
    if unknown:
        raise NoLendingData(f"lending_reserves name {unknown}, which no pair trades: there are {sorted(symbols)}")
    called = {symbol: (names or {}).get(symbol, symbol) for symbol in chosen}
    if lending is None:
        there = set(_read(rates)["token"])
        called = {symbol: name for symbol, name in called.items() if name.lower() in there}
    return read_lending_rates(rates, {name: symbols[symbol] for symbol, name in called.items()}, bucket)


def _symbol_of(reserve: object) -> str:
    """Return the symbol of a token: itself, or the end of (chain, protocol, symbol)."""
    return str(reserve[-1]) if isinstance(reserve, tuple | list) else str(reserve)


def _read(rates: RateInput) -> pd.DataFrame:
    if isinstance(rates, str | Path):
        file = Path(rates)
        if not file.is_file():
            raise MarketDataMissing(f"lending_rates {file}: there is no such file")
        frame = pd.read_csv(file) if file.suffix.lower() == ".csv" else pd.read_parquet(file)
    else:
        frame = rates.copy()
    frame = frame.rename(columns={"block_timestamp": "timestamp", "symbol": "token", "asset": "token"})
    missing = [name for name in ("timestamp", "token") if name not in frame.columns]
    is_known = all(name in frame.columns for name in AAVE_COLUMNS) or "rate" in frame.columns
    if missing or not is_known:
        raise CandleContractBroken(
            f"The lending rates have columns {list(frame.columns)}: needed are timestamp, token, and either "
            "liquidity_rate and variable_borrow_rate (fractions a year) or rate, open, high, low, close (percent)"
        )
    times = pd.to_datetime(frame["timestamp"], utc=True).dt.tz_localize(None)
    return frame.assign(timestamp=times, token=frame["token"].astype(str).str.lower())


def _split(frame: pd.DataFrame) -> Iterable[tuple[LendingCandleType, pd.DataFrame]]:
    """Yield each rate as candles of the data's own width, percent a year."""
    if "rate" in frame.columns:
        for name, part in frame.groupby("rate"):
            yield LendingCandleType(str(name)), part.set_index("timestamp")[list(RATE_COLUMNS)]
        return
    for column, kind in AAVE_COLUMNS.items():
        percent = frame.set_index("timestamp")[column] * 100
        yield kind, pd.DataFrame(dict.fromkeys(RATE_COLUMNS, percent))


def _resample(candles: pd.DataFrame, bucket: TimeBucket) -> pd.DataFrame:
    if not np.isfinite(candles.to_numpy(dtype="float64")).all():
        raise CandleContractBroken("The lending rates have values that are no numbers: drop or fill them")
    bins = candles.sort_index().resample(bucket.to_pandas_timedelta())
    return bins.agg({"open": "first", "high": "max", "low": "min", "close": "last"}).dropna()


def _threshold_of(asset: AssetIdentifier, threshold: float | Mapping[str, float]) -> float:
    if isinstance(threshold, Mapping):
        return threshold.get(asset.token_symbol, DEFAULT_LIQUIDATION_THRESHOLD)
    return threshold
