"""Lending reserves and their rates, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

import pandas as pd

from trading_dagster.domain.error import NoLendingData, UnknownPair
from trading_dagster.domain.identifier import AssetIdentifier, AssetType, ChainId
from trading_dagster.domain.time import TimeBucket


class LendingProtocolType(Enum):
    """A lending protocol."""

    aave_v2 = "aave_v2"
    aave_v3 = "aave_v3"


class LendingCandleType(Enum):
    """Which rate of a reserve."""

    supply_apr = "supply_apr"
    variable_borrow_apr = "variable_borrow_apr"


@dataclass(frozen=True, slots=True)
class LendingReserve:
    """A token that can be lent and borrowed: the token, its interest-bearing token and its debt token."""

    reserve_id: int
    chain_id: ChainId
    protocol: LendingProtocolType
    asset: AssetIdentifier
    atoken: AssetIdentifier
    vtoken: AssetIdentifier


@dataclass(frozen=True, eq=False)
class LendingUniverse:
    """Reserves and their yearly rates in percent.

    Args:
        time_bucket: Width of a rate candle.
        reserves: The reserves.
        rates: By (reserve id, rate) a Series of percent a year, indexed by candle open time, naive UTC.
    """

    time_bucket: TimeBucket
    reserves: tuple[LendingReserve, ...]
    rates: Mapping[tuple[int, LendingCandleType], pd.Series]

    def get_reserve(self, asset: AssetIdentifier) -> LendingReserve:
        """Return the reserve of a token; raises UnknownPair."""
        for reserve in self.reserves:
            if reserve.asset == asset:
                return reserve
        known = ", ".join(reserve.asset.token_symbol for reserve in self.reserves)
        raise UnknownPair(f"No lending reserve for {asset}: there are {known or 'none'}")

    def content_hash(self) -> str:
        """Return a hash of reserves and rates."""
        digest = hashlib.blake2b(repr((self.time_bucket, self.reserves)).encode(), digest_size=16)
        for (reserve_id, rate), series in sorted(self.rates.items(), key=lambda item: (item[0][0], item[0][1].value)):
            digest.update(f"{reserve_id} {rate.value}".encode())
            digest.update(pd.DatetimeIndex(series.index).as_unit("us").asi8.tobytes())
            digest.update(series.to_numpy(dtype="float64").tobytes())
        return digest.hexdigest()

    def get_rate(
        self, reserve: LendingReserve, rate: LendingCandleType, timestamp: datetime, tolerance: timedelta
    ) -> float:
        """Return the rate in percent a year of the latest candle at or before a time.

        Raises:
            NoLendingData: There is none within the tolerance.
        """
        series = self.rates.get((reserve.reserve_id, rate))
        position = -1 if series is None else int(series.index.searchsorted(pd.Timestamp(timestamp), side="right")) - 1
        if series is None or position < 0 or timestamp - series.index[position].to_pydatetime() > tolerance:
            raise NoLendingData(
                f"No {rate.value} of {reserve.asset.token_symbol} within {tolerance} before {timestamp}"
            )
        return float(series.iloc[position])


def make_reserve_tokens(asset: AssetIdentifier, addresses: Sequence[str]) -> tuple[AssetIdentifier, AssetIdentifier]:
    """Return the aToken and the variable debt token of a token at the two addresses."""
    collateral, debt = addresses
    atoken = AssetIdentifier(
        asset.chain_id,
        collateral,
        f"a{asset.token_symbol}",
        asset.decimals,
        underlying=asset,
        type=AssetType.collateral,
    )
    vtoken = AssetIdentifier(
        asset.chain_id, debt, f"v{asset.token_symbol}", asset.decimals, underlying=asset, type=AssetType.borrowed
    )
    return atoken, vtoken
