"""Requests to an ERC-7540 vault: what is asked for now, settled by the vault later, and claimed then (EIP-7540).

A deposit gives assets with ``requestDeposit`` and claims shares with ``deposit``; a redemption gives shares with
``requestRedeem`` and claims assets with ``redeem``. A vault may do one of the two at once, as ERC-4626 says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trading_dagster.domain.error import CallReverted, ContractMissing
from trading_dagster.domain.transaction import LogEntry, Outcome
from trading_dagster.evm.abi import ContractCall, Function, decode_values, event_topic
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient

REQUEST_DEPOSIT = Function(
    "requestDeposit", ("uint256", "address", "address"), ("uint256",), ("assets", "controller", "owner")
)
REQUEST_REDEEM = Function(
    "requestRedeem", ("uint256", "address", "address"), ("uint256",), ("shares", "controller", "owner")
)
CLAIM_DEPOSIT = Function(
    "deposit", ("uint256", "address", "address"), ("uint256",), ("assets", "receiver", "controller")
)
CLAIM_REDEEM = Function("redeem", ("uint256", "address", "address"), ("uint256",), ("shares", "receiver", "controller"))
PENDING_DEPOSIT = Function("pendingDepositRequest", ("uint256", "address"), ("uint256",))
CLAIMABLE_DEPOSIT = Function("claimableDepositRequest", ("uint256", "address"), ("uint256",))
PENDING_REDEEM = Function("pendingRedeemRequest", ("uint256", "address"), ("uint256",))
CLAIMABLE_REDEEM = Function("claimableRedeemRequest", ("uint256", "address"), ("uint256",))
SHARE = Function("share", (), ("address",))
SUPPORTS_INTERFACE = Function("supportsInterface", ("bytes4",), ("bool",))
DEPOSITS_LATER = bytes.fromhex("ce3bbe50")
REDEMPTIONS_LATER = bytes.fromhex("620ee8e4")
DEPOSIT_REQUEST_TOPIC = event_topic("DepositRequest(address,address,uint256,address,uint256)")
REDEEM_REQUEST_TOPIC = event_topic("RedeemRequest(address,address,uint256,address,uint256)")
REQUEST_TOPICS = 4
REQUESTS = {REQUEST_DEPOSIT.signature: DEPOSIT_REQUEST_TOPIC, REQUEST_REDEEM.signature: REDEEM_REQUEST_TOPIC}


@dataclass(frozen=True, slots=True)
class LaterSides:
    """Which of its two sides a vault settles later."""

    deposits: bool = False
    redemptions: bool = False

    @property
    def is_any(self) -> bool:
        """Tell whether it settles anything later."""
        return self.deposits or self.redemptions

    def __str__(self) -> str:
        """Say which, in words."""
        named = [
            name for name, is_later in (("deposits", self.deposits), ("redemptions", self.redemptions)) if is_later
        ]
        return " and ".join(named) or "nothing"


@dataclass(frozen=True, slots=True)
class VaultRequest:
    """A request that a vault took.

    Attributes:
        vault: Where it was made.
        controller: Who may claim it.
        request_id: The vault's number of it; 0 where requests of a controller are one.
        is_deposit: Whether assets were given; else shares.
        amount: What was given, in the smallest unit.
    """

    vault: str
    controller: str
    request_id: int
    is_deposit: bool
    amount: int

    def read_open(self, client: EvmClient, block: BlockHeader) -> tuple[int, int]:
        """Return what of it is pending and what can be claimed at a block; raises CallReverted, NodeError."""
        arguments = (self.request_id, self.controller)
        pending, claimable = (
            (PENDING_DEPOSIT, CLAIMABLE_DEPOSIT) if self.is_deposit else (PENDING_REDEEM, CLAIMABLE_REDEEM)
        )
        (waits,) = client.call(self.vault, pending, arguments, block)
        (is_ready,) = client.call(self.vault, claimable, arguments, block)
        return int(waits), int(is_ready)

    def claim(self, amount: int) -> ContractCall:
        """Return the call that takes what was settled of it, counted as it was given."""
        function = CLAIM_DEPOSIT if self.is_deposit else CLAIM_REDEEM
        return function.call(self.vault, (amount, self.controller, self.controller))


def find_request(vault: str, function: str, controller: str, outcome: Outcome) -> VaultRequest | None:
    """Return the request that a confirmed transaction made, None when its receipt has none.

    ``function`` is the signature that was called; raises NodeAnswerInvalid for an event that is not as it should be.
    """
    topic = REQUESTS[function]
    for log in _list_events(outcome.logs, vault, topic):
        if "0x" + log.topics[1][-40:].lower() == controller:
            what = f"event {log.log_index} of {outcome.tx_hash}"
            _, amount = decode_values(("address", "uint256"), bytes.fromhex(log.data[2:]), what)
            return VaultRequest(vault, controller, int(log.topics[3], 16), topic == DEPOSIT_REQUEST_TOPIC, amount)
    return None


def read_later_sides(client: EvmClient, vault: str, block: BlockHeader) -> LaterSides:
    """Return what a vault says that it settles later (ERC-165); raises NodeError."""
    deposits, redemptions = (_supports(client, vault, side, block) for side in (DEPOSITS_LATER, REDEMPTIONS_LATER))
    return LaterSides(deposits, redemptions)


def read_share(client: EvmClient, vault: str, block: BlockHeader) -> str:
    """Return the token of a vault's shares: the vault itself when it does not say (ERC-7575); raises NodeError."""
    try:
        return str(client.call(vault, SHARE, (), block)[0]).lower()
    except (CallReverted, ContractMissing):
        return vault


def _list_events(logs: Iterable[LogEntry], vault: str, topic: str) -> Iterable[LogEntry]:
    return (
        log for log in logs if log.address == vault and len(log.topics) == REQUEST_TOPICS and log.topics[0] == topic
    )


def _supports(client: EvmClient, vault: str, interface: bytes, block: BlockHeader) -> bool:
    try:
        return bool(client.call(vault, SUPPORTS_INTERFACE, (interface,), block)[0])
    except (CallReverted, ContractMissing):
        return False  # most vaults do not know ERC-165
