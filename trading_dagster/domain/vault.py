"""When shares of a vault can be bought and sold, and when an order of them settles.

A vault is a pair whose base token is a share and whose price is that of a share. Its terms travel with the pair, in
``other_data``, but for its limits: what was open when is history, which a universe keeps apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import require_naive_utc

VAULT = "vault"
ASYNC_VAULT = "async_vault"
LIMITS = "limits"
DEFAULT_SETTLEMENT_DELAY = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class VaultLimit:
    """What a vault takes and gives from a time on, until the next limit.

    Args:
        at: From when, naive UTC.
        max_deposit: Most USD a deposit may have; 0 is closed, None is not known, which counts as open.
        max_redemption: The same for redemptions.
    """

    at: datetime
    max_deposit: float | None = None
    max_redemption: float | None = None

    def __post_init__(self) -> None:
        """Check."""
        require_naive_utc(self.at)
        for name in ("max_deposit", "max_redemption"):
            limit = getattr(self, name)
            if limit is not None and not limit >= 0:
                raise BadInput(f"The {name} of a vault at {self.at} is {limit}: give USD from 0, or None for unknown")

    def to_data(self) -> list[Any]:
        """Return plain data."""
        return [self.at.isoformat(), self.max_deposit, self.max_redemption]

    @classmethod
    def from_data(cls, data: Sequence[Any]) -> VaultLimit:
        """Return the limit of ``to_data``."""
        at, max_deposit, max_redemption = data
        return cls(datetime.fromisoformat(at), max_deposit, max_redemption)


@dataclass(frozen=True, slots=True)
class VaultWindow:
    """A schedule: open for ``length`` from ``first_at`` on, again after every ``every``; naive UTC."""

    first_at: datetime
    every: timedelta
    length: timedelta

    def __post_init__(self) -> None:
        """Check."""
        require_naive_utc(self.first_at)
        if not timedelta(0) < self.length <= self.every:
            raise BadInput(f"A vault's window is open for {self.length} every {self.every}: give 0 < length <= every")

    def is_open(self, timestamp: datetime) -> bool:
        """Tell whether the window is open at a naive UTC time; its end is exclusive."""
        return timestamp >= self.first_at and (timestamp - self.first_at) % self.every < self.length


@dataclass(frozen=True, slots=True)
class SettlementMove:
    """What a vault took from the wallet (below 0) or gave it before an order of it settled, in tokens."""

    quantity: Decimal
    reserve: Decimal


@dataclass(frozen=True, slots=True)
class VaultTerms:
    """The rules of one vault.

    Args:
        name: What it is called.
        protocol: Who runs it, a slug; caps on a protocol's share of the portfolio go by it.
        settlement_delay: An order settles in the first cycle at or after request + delay; None settles at once.
        settlement_time: With it an order settles on the day after the request, at this time of day, UTC.
        limits: What was open when, in order of time.
        deposit_window: When deposits are taken, beside the limits; None is always.
        redemption_window: When redemptions are taken.
    """

    name: str = ""
    protocol: str = ""
    settlement_delay: timedelta | None = None
    settlement_time: time | None = None
    limits: tuple[VaultLimit, ...] = ()
    deposit_window: VaultWindow | None = None
    redemption_window: VaultWindow | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.settlement_delay is not None and self.settlement_delay <= timedelta(0):
            raise BadInput(f"Vault {self.name!r} settles after {self.settlement_delay}: give more than 0, or None")
        if self.settlement_delay is not None and self.settlement_time is not None:
            raise BadInput(f"Vault {self.name!r} has a settlement_delay and a settlement_time: give one of them")
        times = [limit.at for limit in self.limits]
        if times != sorted(set(times)):
            raise BadInput(f"The limits of vault {self.name!r} are not in order of time, each time once: {times[:10]}")

    def is_async(self) -> bool:
        """Tell whether orders settle later."""
        return self.settlement_delay is not None or self.settlement_time is not None

    def settles_at(self, requested_at: datetime) -> datetime | None:
        """Return the earliest time a request settles, naive UTC; None at once."""
        if self.settlement_time is not None:
            return datetime.combine(requested_at.date() + timedelta(days=1), self.settlement_time)
        return None if self.settlement_delay is None else requested_at + self.settlement_delay

    def get_max_deposit(self, timestamp: datetime) -> float | None:
        """Return the most USD a deposit may have at a naive UTC time; 0 is closed, None is no known limit."""
        if self.deposit_window is not None and not self.deposit_window.is_open(timestamp):
            return 0.0
        limit = self._limit_at(timestamp)
        return None if limit is None else limit.max_deposit

    def get_max_redemption(self, timestamp: datetime) -> float | None:
        """Return the most USD a redemption may have at a naive UTC time; 0 is closed, None is no known limit."""
        if self.redemption_window is not None and not self.redemption_window.is_open(timestamp):
            return 0.0
        limit = self._limit_at(timestamp)
        return None if limit is None else limit.max_redemption

    def _limit_at(self, timestamp: datetime) -> VaultLimit | None:
        return next((limit for limit in reversed(self.limits) if limit.at <= timestamp), None)

    def to_data(self) -> dict[str, Any]:
        """Return plain data for a pair's ``other_data``."""
        terms: dict[str, Any] = {"name": self.name, "protocol": self.protocol}
        if self.settlement_delay is not None:
            terms["settlement_delay_s"] = self.settlement_delay.total_seconds()
        if self.settlement_time is not None:
            terms["settlement_time"] = self.settlement_time.isoformat()
        if self.limits:
            terms[LIMITS] = [limit.to_data() for limit in self.limits]
        for field in ("deposit_window", "redemption_window"):
            window: VaultWindow | None = getattr(self, field)
            if window is not None:
                spans = [window.every.total_seconds(), window.length.total_seconds()]
                terms[field] = [window.first_at.isoformat(), *spans]
        return {VAULT: terms, **({ASYNC_VAULT: True} if self.is_async() else {})}

    @classmethod
    def of_pair(cls, pair: TradingPairIdentifier) -> VaultTerms:
        """Return the terms that a pair carries; without any the vault is always open and settles at once.

        Pairs of a universe carry no limits: see VaultHistory.
        """
        data: Mapping[str, Any] = pair.other_data.get(VAULT) or {}
        delay = data.get("settlement_delay_s")
        at = data.get("settlement_time")
        if delay is None and at is None and pair.is_async_vault():
            delay = DEFAULT_SETTLEMENT_DELAY.total_seconds()
        return cls(
            name=data.get("name", ""),
            protocol=data.get("protocol", ""),
            settlement_delay=None if delay is None else timedelta(seconds=delay),
            settlement_time=None if at is None else time.fromisoformat(at),
            limits=tuple(map(VaultLimit.from_data, data.get(LIMITS, ()))),
            deposit_window=_read_window(data.get("deposit_window")),
            redemption_window=_read_window(data.get("redemption_window")),
        )


def _read_window(data: Sequence[Any] | None) -> VaultWindow | None:
    if data is None:
        return None
    first_at, every, length = data
    return VaultWindow(datetime.fromisoformat(first_at), timedelta(seconds=every), timedelta(seconds=length))
