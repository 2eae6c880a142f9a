"""Money that moves without a trade: deposits, redemptions, interest and corrections."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from itertools import takewhile

from trading_dagster.domain.fund_fee import FundFeeEntry
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.value import value


class BalanceUpdateCause(Enum):
    """Why a balance changed."""

    deposit = "deposit"
    redemption = "redemption"
    deposit_and_redemption = "deposit_and_redemption"
    interest = "interest"
    correction = "correction"
    vault_flow = "vault_flow"


class BalanceUpdatePositionType(Enum):
    """What the changed balance belongs to."""

    reserve = "reserve"
    open_position = "open_position"


@dataclass(frozen=True, slots=True, eq=False)
class BalanceUpdate:
    """One change of a balance; equal by id. Quantity is signed, in tokens; ``usd_value`` in USD."""

    balance_update_id: int
    cause: BalanceUpdateCause
    position_type: BalanceUpdatePositionType
    asset: AssetIdentifier
    quantity: Decimal
    old_balance: Decimal
    usd_value: float
    block_mined_at: datetime
    strategy_cycle_included_at: datetime | None
    previous_update_at: datetime | None = None
    position_id: int | None = None
    tx_hash: str | None = None
    log_index: int | None = None
    owner_address: str | None = None
    notes: str | None = None

    def __eq__(self, other: object) -> bool:
        """Compare by id."""
        if not isinstance(other, BalanceUpdate):
            return NotImplemented
        return self.balance_update_id == other.balance_update_id

    def __hash__(self) -> int:
        """Hash the id."""
        return hash(self.balance_update_id)

    def chain_key(self) -> tuple[int, str, int, str] | None:
        """Return what identifies the update on a chain, or None when it came from no transaction."""
        if self.tx_hash is None or self.log_index is None:
            return None
        return (self.asset.chain_id, self.tx_hash, self.log_index, self.asset.address)


@dataclass(frozen=True, slots=True)
class BalanceUpdateReference:
    """A treasury entry that points at a balance update."""

    balance_update_id: int
    strategy_cycle_included_at: datetime | None
    cause: BalanceUpdateCause
    usd_value: float


@value
class Redemption:
    """Reserve tokens that somebody asked for and did not get yet; ``requested_at`` is naive UTC.

    ``recipient`` is an address on a chain, and may be empty on paper.
    """

    number: int
    requested_at: datetime
    amount: Decimal
    recipient: str

    def __str__(self) -> str:
        """Return a line a person can read."""
        to = f" to {self.recipient}" if self.recipient else ""
        return f"redemption {self.number} of {self.amount:f}{to}"


@dataclass(slots=True)
class Treasury:
    """What is known of flows into and out of the strategy. ``share_count`` is None when unknown.

    ``redemptions`` are those that were asked for live and wait, by number.
    """

    last_updated_at: datetime | None = None
    last_cycle_at: datetime | None = None
    last_block_scanned: int | None = None
    balance_update_refs: list[BalanceUpdateReference] = field(default_factory=list)
    pending_redemptions: float | None = None
    pending_deposits: float | None = None
    share_count: Decimal | None = None
    fund_fees: list[FundFeeEntry] = field(default_factory=list)
    redemptions: dict[int, Redemption] = field(default_factory=dict)
    next_redemption: int = 1
    applied_chain_keys: set[tuple[int, str, int, str]] = field(default_factory=set)

    @property
    def fund_fees_at(self) -> datetime | None:
        """Return when fees of the fund were taken last, naive UTC."""
        return self.fund_fees[-1].at if self.fund_fees else None

    @property
    def fee_shares(self) -> Decimal:
        """Return how many shares were made for the manager as fees of the fund."""
        return self.count_fee_shares()

    def count_fee_shares(self, since: datetime | None = None) -> Decimal:
        """Return how many shares were made as fees of the fund after a naive UTC time, None for all."""
        newest = takewhile(lambda entry: since is None or entry.at > since, reversed(self.fund_fees))
        return sum((entry.take.management_shares + entry.take.performance_shares for entry in newest), ZERO)

    @property
    def high_water_mark(self) -> float | None:
        """Return the share price above which a performance fee is due, None while none was taken."""
        return self.fund_fees[-1].take.high_water_mark if self.fund_fees else None

    def note_flow(self, update: BalanceUpdate) -> None:
        """Remember that an update was applied, and refer to it unless it is interest; only State calls this."""
        key = update.chain_key()
        if key is not None:
            self.applied_chain_keys.add(key)
        if update.cause is not BalanceUpdateCause.interest:
            self.balance_update_refs.append(
                BalanceUpdateReference(
                    update.balance_update_id, update.strategy_cycle_included_at, update.cause, update.usd_value
                )
            )


@dataclass(slots=True)
class Sync:
    """Where accounting stands against the outside."""

    treasury: Treasury = field(default_factory=Treasury)
    interest_last_sync_at: datetime | None = None


@dataclass(slots=True)
class ReservePosition:
    """The cash of the strategy in its one reserve token."""

    asset: AssetIdentifier
    quantity: Decimal = ZERO
    reserve_token_price: float = 1.0
    last_sync_at: datetime | None = None
    last_pricing_at: datetime | None = None
    initial_deposit: Decimal | None = None
    initial_deposit_reserve_token_price: float | None = None
    balance_updates: dict[int, BalanceUpdate] = field(default_factory=dict)

    def get_value(self) -> float:
        """Return the USD value."""
        return float(self.quantity) * self.reserve_token_price
