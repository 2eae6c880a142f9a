"""Whose money a ledger counts: nobody's on paper, a wallet's or a vault's on a chain; nothing of it is secret."""

from __future__ import annotations

from enum import Enum

from trading_dagster.domain.value import value


class PurseKind(Enum):
    """What the money is in."""

    paper = "paper"
    wallet = "wallet"
    vault = "vault"


@value
class Purse:
    """Money that one ledger at a time may count; ``address`` is lower case, on paper there is none and no chain.

    Of a vault it is the vault's address, whoever signs for it.
    """

    kind: PurseKind
    chain_id: int = 0
    address: str = ""

    @property
    def is_real(self) -> bool:
        """Tell whether two ledgers cannot both have it."""
        return self.kind is not PurseKind.paper

    def __str__(self) -> str:
        """Return what a person knows it by."""
        return f"{self.kind.value} {self.address} on chain {self.chain_id}" if self.is_real else "paper, no real money"


PAPER = Purse(PurseKind.paper)


def wallet_purse(chain_id: int, address: str) -> Purse:
    """Return the money of a wallet on a chain."""
    return Purse(PurseKind.wallet, chain_id, address.lower())


def vault_purse(chain_id: int, address: str) -> Purse:
    """Return the money of a vault on a chain."""
    return Purse(PurseKind.vault, chain_id, address.lower())
