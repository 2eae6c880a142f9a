"""Blockchain transactions as the journal keeps them: what was intended, what was signed, what became of it.

::

    Planned ──sign──► InFlight ──settle──► Finished
       └──────────refuse──────────────────────▲
    InFlight ◄──reopen (a reorg moved it)── Finished

Amounts are integers in the smallest unit, addresses are lower case, times of the chain are unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from trading_dagster.domain.error import BadInput, IntentConflict, LeaseLost

Plain: TypeAlias = "str | int | bool | list[Plain] | None"
"""What an argument of a contract call is stored as; bytes are hexadecimal text, tuples are lists."""


@dataclass(frozen=True, slots=True)
class Account:
    """An address on a chain: what one executor at a time may sign for."""

    chain_id: int
    address: str

    def __post_init__(self) -> None:
        """Normalise the address."""
        object.__setattr__(self, "address", require_address(self.address, "account"))

    def __str__(self) -> str:
        """Return "chain:address"."""
        return f"{self.chain_id}:{self.address}"


@dataclass(frozen=True, slots=True)
class Intent:
    """One thing that must happen on the chain exactly once, or be known never to happen.

    ``data`` is hexadecimal call data; ``function`` and ``arguments`` say what it is. ``gas_limit`` 0 means to
    estimate. ``expires_at`` is the chain time after which the call can have no effect, because its call data has
    that deadline; 0 means never. Only an intent that expires may be planned again after it failed.
    """

    intent_id: str
    account: Account
    to: str
    data: str
    value: int = 0
    gas_limit: int = 0
    expires_at: int = 0
    function: str = ""
    arguments: Mapping[str, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "to", require_address(self.to, "target"))
        if not self.intent_id:
            raise BadInput("An intent needs an id: derive it from the trade, so that planning twice gives the same one")
        if not self.data.startswith("0x"):
            raise BadInput(f"Call data of intent {self.intent_id} must start with 0x, it is {self.data[:20]!r}")
        for name in ("value", "gas_limit", "expires_at"):
            if getattr(self, name) < 0:
                raise BadInput(f"Intent {self.intent_id} has {name} {getattr(self, name)}: it may not be negative")

    def has_expired(self, chain_time: int) -> bool:
        """Tell whether the call can have no effect in a block of that time or later."""
        return 0 < self.expires_at < chain_time


class AttemptPurpose(Enum):
    """What a signed transaction is for."""

    execute = "execute"
    cancel = "cancel"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of an intent. All attempts of an intent share the nonce: at most one can be mined.

    ``raw`` is what is sent, as often as needed. Fees are wei per gas; ``signed_block`` is the head when it was signed.
    """

    intent_id: str
    purpose: AttemptPurpose
    nonce: int
    tx_hash: str
    raw: bytes = field(repr=False)
    gas_limit: int
    max_fee: int
    priority_fee: int
    signed_block: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event of a receipt; ``topics`` and ``data`` are hexadecimal."""

    address: str
    topics: tuple[str, ...]
    data: str
    log_index: int


class OutcomeStatus(Enum):
    """What became of an intent."""

    confirmed = "confirmed"
    """Mined and successful."""
    reverted = "reverted"
    """Mined and without effect but its gas."""
    cancelled = "cancelled"
    """An empty transaction of ours took its nonce after it had expired."""
    released = "released"
    """A transaction that is not of this intent took its nonce."""
    refused = "refused"
    """Never signed: a simulation failed, or it expired before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an intent: where the transaction is that used its nonce, and what it did.

    A refused intent has no transaction: its hashes are empty and its numbers 0.
    """

    intent_id: str
    status: OutcomeStatus
    reason: str = ""
    tx_hash: str = ""
    block_number: int = 0
    block_hash: str = ""
    gas_used: int = 0
    effective_gas_price: int = 0
    logs: tuple[LogEntry, ...] = ()

    @property
    def gas_cost(self) -> int:
        """Return what was paid for gas, in wei."""
        return self.gas_used * self.effective_gas_price


@dataclass(frozen=True, slots=True)
class Planned:
    """An intent nothing was signed for."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class InFlight:
    """An intent with at least one signed transaction, which may or may not be on the chain."""

    intent: Intent
    attempts: tuple[Attempt, ...]

    @property
    def nonce(self) -> int:
        """Return the nonce all attempts share."""
        return self.attempts[0].nonce

    @property
    def newest(self) -> Attempt:
        """Return the attempt that pays most, the last one signed."""
        return self.attempts[-1]


@dataclass(frozen=True, slots=True)
class Finished:
    """An intent whose end is known and confirmed."""

    intent: Intent
    attempts: tuple[Attempt, ...]
    outcome: Outcome


IntentRecord: TypeAlias = Planned | InFlight | Finished


@dataclass(frozen=True, slots=True)
class WalletRecord:
    """What the journal knows of an account.

    ``nonce_floor`` is one above the highest nonce ever signed or given up: no lower one is used for a new intent.
    ``halt_reason`` is empty while the wallet may sign; ``fence`` is the newest lease that wrote.
    """

    account: Account
    nonce_floor: int
    fence: int
    halt_reason: str = ""


def require_address(address: str, what: str) -> str:
    """Return an address in lower case; raises BadInput when it is none."""
    text = address.lower()
    if len(text) != 42 or not text.startswith("0x") or not set(text[2:]) <= set("0123456789abcdef"):
        raise BadInput(f"The {what} {address!r} is no address: expected 0x and 40 hexadecimal digits")
    return text


def require_fence(wallet: WalletRecord, fence: int) -> None:
    """Raise LeaseLost when a newer lease has written."""
    if fence < wallet.fence:
        raise LeaseLost(
            f"Another executor took over wallet {wallet.account} (its lease is {wallet.fence}, ours {fence}): "
            "stop this one"
        )


def require_same(known: Intent, asked: Intent) -> None:
    """Raise IntentConflict when one id is used for two different intents."""
    if known != asked:
        raise IntentConflict(
            f"Intent {asked.intent_id} is planned already with other contents: known {known}, asked {asked}; "
            "an id may be used once"
        )


def require_free_nonce(attempt: Attempt, record: IntentRecord, users: set[str]) -> None:
    """Raise IntentConflict when an attempt could be a second transaction of an intent, or the first of two."""
    if isinstance(record, Finished):
        raise IntentConflict(f"Intent {attempt.intent_id} is finished: nothing may be signed for it")
    if isinstance(record, InFlight) and record.nonce != attempt.nonce:
        raise IntentConflict(
            f"Intent {attempt.intent_id} has attempts with nonce {record.nonce}: another with {attempt.nonce} could be "
            "mined beside them"
        )
    if users - {attempt.intent_id}:
        raise IntentConflict(f"Nonce {attempt.nonce} is used by intent {sorted(users)} already")
