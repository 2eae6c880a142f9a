"""A development node spoken to directly: it signs for its own accounts, mines on demand and changes its state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from trading_dagster.domain.error import CallReverted, NodeAnswerInvalid, NodeUnavailable
from trading_dagster.evm.abi import Function
from trading_dagster.evm.endpoint import HttpEndpoint

GAS = hex(8_000_000)
RECEIPT_TIMEOUT_S = 60.0
RECEIPT_POLL_S = 0.01


class DevNode:
    """Anvil or another node with unlocked accounts. Never a real chain: it is asked to do what only such nodes can.

    Args:
        url: Its address.
        timeout_s: For one answer.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self.url = url
        self._endpoint = HttpEndpoint(url, timeout_s=timeout_s)

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Return the result of one request; raises NodeError or CallReverted."""
        return self._endpoint.request(method, list(parameters))

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks now."""
        self.rpc("anvil_mine", hex(blocks))

    def head(self) -> int:
        """Return the number of the newest block."""
        return int(self.rpc("eth_blockNumber"), 16)

    def timestamp(self) -> int:
        """Return the time of the newest block, seconds since 1970."""
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def call(self, to: str, function: Function, *arguments: Any) -> tuple[Any, ...]:
        """Ask a contract at the newest block."""
        answer = self.rpc("eth_call", {"to": to, "data": function.encode(*arguments)}, "latest")
        return function.decode(str(answer), to)

    def send(self, sender: str, to: str | None, data: str, value: int = 0, **more: Any) -> str:
        """Send from an account of the node, without mining; return the hash."""
        fields = {"from": sender, "data": data, "value": hex(value), "gas": GAS} | more
        return str(self.rpc("eth_sendTransaction", fields | ({"to": to} if to else {})))

    def do(self, sender: str, to: str | None, data: str, value: int = 0) -> dict[str, Any]:
        """Send, mine and return the receipt.

        Raises:
            CallReverted: The transaction failed.
            NodeUnavailable: It was not mined in a minute.
        """
        tx_hash = self.send(sender, to, data, value)
        self.mine()
        end = time.monotonic() + RECEIPT_TIMEOUT_S
        while (receipt := self.rpc("eth_getTransactionReceipt", tx_hash)) is None:
            if time.monotonic() > end:
                raise NodeUnavailable(f"Transaction {tx_hash} was not mined in {RECEIPT_TIMEOUT_S} s")
            time.sleep(RECEIPT_POLL_S)
        if not isinstance(receipt, Mapping):
            raise NodeAnswerInvalid(f"The receipt of {tx_hash} is {receipt!r}")
        if receipt["status"] != "0x1":
            raise CallReverted(f"Transaction {tx_hash} of {sender} to {to} failed")
        return dict(receipt)

    def deploy(self, sender: str, bytecode: str, arguments: bytes = b"") -> str:
        """Deploy a contract and return its address, in lower case."""
        return str(self.do(sender, None, "0x" + bytecode + arguments.hex())["contractAddress"]).lower()
