"""Who trades on a chain: the wallet that signs, the address that has the money, and how the one acts for the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trading_dagster.domain.transaction import Account, require_address
from trading_dagster.evm.abi import ContractCall


def call_directly(call: ContractCall) -> ContractCall:
    """Return a call as it is: the wallet trades with its own money."""
    return call


@dataclass(frozen=True, slots=True)
class TradingAccount:
    """A signer and what it trades with.

    Attributes:
        account: The wallet whose key signs and that pays gas; transactions are journaled under it.
        address: What has the tokens, allows them to be taken and gets what swaps bring: the wallet, or a vault.
        wrap: Returns the call that the wallet makes so that ``address`` makes the one given.
    """

    account: Account
    address: str
    wrap: Callable[[ContractCall], ContractCall] = call_directly

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "address", require_address(self.address, "address of the trading account"))

    @classmethod
    def of_wallet(cls, account: Account) -> TradingAccount:
        """Return a hot wallet that trades with what it has."""
        return cls(account, account.address)
