"""Lending reserves and their rates, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import CandleContractBroken, NoLendingData, UnknownPair
from trading_dagster.domain.identifier import AssetIdentifier, AssetType, ChainId
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.panel import ONE_US

TOLERANCE = timedelta(days=2)
"""How old a lending rate may be."""


class LendingProtocolType(Enum):
    """A lending protocol."""

    aave_v2 = "aave_v2"
    aave_v3 = "aave_v3"


class LendingCandleType(Enum):
    """Which rate of a reserve."""

    supply_apr = "supply_apr"
    variable_borrow_apr = "variable_borrow_apr"


LendingReserveDescription: TypeAlias = tuple[ChainId, LendingProtocolType, str]
"""(chain, protocol, symbol of the token)."""


@dataclass(frozen=True, slots=True)
class LendingReserve:
    """A token that can be lent and borrowed: the token, its interest-bearing token and its debt token."""

    reserve_id: int
    chain_id: ChainId
    protocol: LendingProtocolType
    asset: AssetIdentifier
    atoken: AssetIdentifier
    vtoken: AssetIdentifier


RATE_COLUMNS = ("open", "high", "low", "close")
ReserveLike: TypeAlias = "LendingReserve | LendingReserveDescription | AssetIdentifier"


@dataclass(frozen=True, slots=True)
class _RateColumns:
    """A rate as arrays: open times, (high + low) / 2 and close, percent a year."""

    times_us: npt.NDArray[np.int64]
    middle: npt.NDArray[np.float64]
    close: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LendingUniverse:
    """Reserves and their yearly rates in percent.

    Args:
        time_bucket: Width of a rate candle.
        reserves: The reserves.
        rates: By (reserve id, rate) a frame with open, high, low and close in percent a year, indexed by candle open
            time, naive UTC. A Series stands for candles whose four values are equal.
    """

    time_bucket: TimeBucket
    reserves: tuple[LendingReserve, ...]
    rates: Mapping[tuple[int, LendingCandleType], pd.DataFrame]

    def __post_init__(self) -> None:
        """Make a frame of every rate; raises CandleContractBroken for one that is unsorted or has no numbers."""
        frames = {key: _as_frame(rate, key[1].value) for key, rate in self.rates.items()}
        object.__setattr__(self, "rates", frames)

    def get_reserve(self, asset: AssetIdentifier) -> LendingReserve:
        """Return the reserve of a token, its interest-bearing token or its debt token; raises UnknownPair."""
        for reserve in self.reserves:
            if asset in (reserve.asset, reserve.atoken, reserve.vtoken):
                return reserve
        known = ", ".join(reserve.asset.token_symbol for reserve in self.reserves)
        raise UnknownPair(f"No lending reserve for {asset}: there are {known or 'none'}")

    def find_reserve(self, reserve: ReserveLike) -> LendingReserve:
        """Return the reserve of a token or of (chain, protocol, symbol); raises UnknownPair."""
        if isinstance(reserve, LendingReserve):
            return reserve
        if isinstance(reserve, AssetIdentifier):
            return self.get_reserve(reserve)
        chain, protocol, symbol = reserve
        for own in self.reserves:
            if (own.chain_id, own.protocol, own.asset.token_symbol) == (chain, protocol, symbol):
                return own
        known = ", ".join(f"({r.chain_id.name}, {r.protocol.value}, {r.asset.token_symbol})" for r in self.reserves)
        raise UnknownPair(f"No lending reserve {reserve}: there are {known or 'none'}")

    def limit(self, reserves: Iterable[ReserveLike]) -> LendingUniverse:
        """Return the universe of some of its reserves; raises UnknownPair."""
        chosen = tuple(dict.fromkeys(map(self.find_reserve, reserves)))
        ids = {reserve.reserve_id for reserve in chosen}
        return replace(self, reserves=chosen, rates={k: rate for k, rate in self.rates.items() if k[0] in ids})

    def until(self, timestamp: datetime) -> LendingUniverse:
        """Return what was known at a naive UTC time: the candles that closed by then."""
        last_open = pd.Timestamp(timestamp) - self.time_bucket.to_timedelta()
        rates = {key: rate.iloc[: rate.index.searchsorted(last_open, side="right")] for key, rate in self.rates.items()}
        return replace(self, rates=rates)

    def content_hash(self) -> str:
        """Return a hash of reserves and rates."""
        digest = hashlib.blake2b(repr((self.time_bucket, self.reserves)).encode(), digest_size=16)
        for (reserve_id, rate), frame in sorted(self.rates.items(), key=lambda item: (item[0][0], item[0][1].value)):
            digest.update(f"{reserve_id} {rate.value}".encode())
            digest.update(pd.DatetimeIndex(frame.index).as_unit("us").asi8.tobytes())
            digest.update(frame.to_numpy(dtype="float64").tobytes())
        return digest.hexdigest()

    def get_rate(
        self, reserve: LendingReserve, rate: LendingCandleType, timestamp: datetime, tolerance: timedelta
    ) -> float:
        """Return the close in percent a year of the latest candle at or before a time.

        Raises:
            NoLendingData: There is none within the tolerance.
        """
        columns = self._columns_of(reserve, rate)
        timestamp_us = to_unix_us(timestamp)
        position = int(columns.times_us.searchsorted(timestamp_us, side="right")) - 1
        if position < 0 or timestamp_us - columns.times_us[position] > tolerance // ONE_US:
            raise NoLendingData(
                f"No {rate.value} of {reserve.asset.token_symbol} within {tolerance} before {timestamp}: "
                f"{self._describe_span(columns)}"
            )
        return float(columns.close[position])

    def mean_rate(self, reserve: LendingReserve, rate: LendingCandleType, start: datetime, end: datetime) -> float:
        """Return the rate that interest accrues at from one time to another, percent a year; naive UTC.

        The mean of (high + low) / 2 of the candles that open in [start, end], both included; without one the last
        close before.

        Raises:
            NoLendingData: The interval is not within the rates, which hold two days beyond their last candle.
        """
        columns = self._columns_of(reserve, rate)
        times, start_us, end_us = columns.times_us, to_unix_us(start), to_unix_us(end)
        last_us = -1 if not len(times) else int(times[-1]) + max(self.time_bucket.to_timedelta(), TOLERANCE) // ONE_US
        if not len(times) or start_us < times[0] or end_us > last_us:
            raise NoLendingData(
                f"No {rate.value} of {reserve.asset.token_symbol} from {start} to {end}: "
                f"{self._describe_span(columns)}; load rates for the whole range"
            )
        first, after = (int(place) for place in times.searchsorted([start_us, end_us + 1]))
        if first == after:
            return float(columns.close[first - 1])
        return float(columns.middle[first]) if after == first + 1 else float(columns.middle[first:after].mean())

    def _columns_of(self, reserve: LendingReserve, rate: LendingCandleType) -> _RateColumns:
        key = (reserve.reserve_id, rate)
        known = self._columns.get(key)
        if known is None:
            frame = self.rates.get(key)
            if frame is None:
                raise NoLendingData(f"There is no {rate.value} of {reserve.asset.token_symbol}: load its rates")
            times_us = pd.DatetimeIndex(frame.index).as_unit("us").asi8
            middle = (frame["high"].to_numpy(dtype="float64") + frame["low"].to_numpy(dtype="float64")) / 2
            known = self._columns[key] = _RateColumns(times_us, middle, frame["close"].to_numpy(dtype="float64"))
        return known

    @cached_property
    def _columns(self) -> dict[tuple[int, LendingCandleType], _RateColumns]:
        return {}

    def _describe_span(self, columns: _RateColumns) -> str:
        if not len(columns.times_us):
            return "there are no rates"
        first, last = (from_unix_us(int(columns.times_us[place])) for place in (0, -1))
        return f"the rates reach from {first} to {last + self.time_bucket.to_timedelta()}"


def _as_frame(rate: pd.DataFrame | pd.Series, name: str) -> pd.DataFrame:
    frame = pd.DataFrame(dict.fromkeys(RATE_COLUMNS, rate)) if isinstance(rate, pd.Series) else rate
    missing = [column for column in RATE_COLUMNS if column not in frame.columns]
    if missing:
        raise CandleContractBroken(
            f"Lending rate {name} lacks {missing}: give open, high, low, close in percent a year"
        )
    frame = frame[list(RATE_COLUMNS)].astype("float64")
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or not index.is_monotonic_increasing:
        raise CandleContractBroken(f"Lending rate {name} needs an index of sorted times, naive UTC")
    if not index.is_unique:
        raise CandleContractBroken(f"Lending rate {name} has two candles at {index[index.duplicated()][0]}")
    if not np.isfinite(frame.to_numpy()).all():
        raise CandleContractBroken(f"Lending rate {name} has values that are no numbers: drop or fill them")
    return frame


def make_reserve_tokens(
    asset: AssetIdentifier, addresses: Sequence[str], liquidation_threshold: float | None = None
) -> tuple[AssetIdentifier, AssetIdentifier]:
    """Return the aToken and the variable debt token of a token at the two addresses.

    ``liquidation_threshold`` is the fraction of the aToken's value at which a loan against it is liquidated.
    """
    collateral, debt = addresses
    atoken = AssetIdentifier(
        asset.chain_id,
        collateral,
        f"a{asset.token_symbol}",
        asset.decimals,
        underlying=asset,
        type=AssetType.collateral,
        liquidation_threshold=liquidation_threshold,
    )
    vtoken = AssetIdentifier(
        asset.chain_id, debt, f"v{asset.token_symbol}", asset.decimals, underlying=asset, type=AssetType.borrowed
    )
    return atoken, vtoken
