"""What a transaction moved in and out of a wallet: the Transfer events of its receipt, not what a pool says it sold.

A token that taxes transfers delivers less than the pool's Swap event says; only the wallet's own flows are true.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trading_dagster.domain.error import NodeAnswerInvalid
from trading_dagster.domain.transaction import LogEntry, require_address
from trading_dagster.evm.abi import event_topic

TRANSFER_TOPIC = event_topic("Transfer(address,address,uint256)")
TRANSFER_TOPICS = 3
"""ERC-721 has the same signature with a fourth topic: it is no fungible flow."""


@dataclass(frozen=True, slots=True)
class TokenFlow:
    """What a wallet got and gave of one token, in its smallest unit."""

    token: str
    received: int
    sent: int

    @property
    def net(self) -> int:
        """Return what the balance changed by."""
        return self.received - self.sent


@dataclass(frozen=True, slots=True)
class Fill:
    """What a swap cost and brought, in the tokens' smallest units."""

    amount_in: int
    amount_out: int


def read_flows(logs: Iterable[LogEntry], wallet: str) -> dict[str, TokenFlow]:
    """Return the flows of a wallet by token address; transfers to itself count on both sides."""
    owner = require_address(wallet, "wallet")
    received: dict[str, int] = {}
    sent: dict[str, int] = {}
    for log in logs:
        if len(log.topics) != TRANSFER_TOPICS or log.topics[0] != TRANSFER_TOPIC:
            continue
        if len(log.data) != 66:
            raise NodeAnswerInvalid(f"The Transfer event {log.log_index} of {log.address} has the data {log.data[:80]}")
        amount = int(log.data, 16)
        if _address(log.topics[1]) == owner:
            sent[log.address] = sent.get(log.address, 0) + amount
        if _address(log.topics[2]) == owner:
            received[log.address] = received.get(log.address, 0) + amount
    tokens = sorted(received.keys() | sent.keys())
    return {token: TokenFlow(token, received.get(token, 0), sent.get(token, 0)) for token in tokens}


def read_fill(logs: Iterable[LogEntry], wallet: str, token_in: str, token_out: str) -> Fill:
    """Return the fill of a swap: what the wallet gave net of one token and got net of the other."""
    flows = read_flows(logs, wallet)
    given = flows.get(require_address(token_in, "token"))
    got = flows.get(require_address(token_out, "token"))
    return Fill(amount_in=-given.net if given else 0, amount_out=got.net if got else 0)


def _address(topic: str) -> str:
    return "0x" + topic[-40:].lower()
