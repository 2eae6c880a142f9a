"""What a signer asks before it signs: whether the lease is held, and whether the transaction may be sent now."""

from __future__ import annotations

from typing import Protocol

from trading_dagster.domain.transaction import Intent
from trading_dagster.evm.block import BlockHeader


class WalletLease(Protocol):
    """The right to be the only executor of a wallet."""

    @property
    def token(self) -> int:
        """Return the fencing token: larger than that of every earlier holder."""
        ...

    def check(self) -> None:
        """Raise LeaseLost when the lease is not held any more."""
        ...


def allow_signing(intent: Intent) -> str:  # noqa: ARG001
    """Allow every intent to be signed; a kill switch returns why not instead."""
    return ""


def refuse_nothing(intent: Intent, head: BlockHeader) -> str:  # noqa: ARG001
    """Refuse nothing; a check of what an intent would bring now returns why it must not be signed any more."""
    return ""
