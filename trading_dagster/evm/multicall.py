"""Many reads at one block in one request: Multicall3 (https://github.com/mds1/multicall3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trading_dagster.domain.error import CallReverted, ContractMissing
from trading_dagster.evm.abi import Function, decode_values, revert_reason
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import BALANCE_OF

MULTICALL3 = "0xca11bde05977b3631167028862be2a173976ca11"
"""Where Multicall3 is on nearly every chain."""

AGGREGATE3 = Function("aggregate3", ("(address,bool,bytes)[]",), ("(bool,bytes)[]",))
DEFAULT_BATCH = 200


@dataclass(frozen=True, slots=True)
class Read:
    """One call of a view function."""

    target: str
    function: Function
    arguments: tuple[Any, ...] = ()


class Multicall:
    """Reads many values at one block."""

    def __init__(self, client: EvmClient, address: str = MULTICALL3, batch: int = DEFAULT_BATCH) -> None:
        """Use the contract at an address, with at most ``batch`` reads a request."""
        self._client = client
        self._address = address
        self._batch = batch

    def read(self, reads: Sequence[Read], block: BlockHeader) -> list[tuple[Any, ...]]:
        """Return the answer of each read, in order.

        An address without code answers (success, nothing): that raises ContractMissing, it is never zero. A read that
        reverts raises CallReverted and names its target.
        """
        answers: list[tuple[Any, ...]] = []
        for start in range(0, len(reads), self._batch):
            answers += self._read_batch(reads[start : start + self._batch], block)
        return answers

    def read_balances(self, tokens: Sequence[str], owner: str, block: BlockHeader) -> dict[str, int]:
        """Return the balance of each token, in its smallest unit."""
        answers = self.read([Read(token, BALANCE_OF, (owner,)) for token in tokens], block)
        return {token: int(answer[0]) for token, answer in zip(tokens, answers, strict=True)}

    def _read_batch(self, reads: Sequence[Read], block: BlockHeader) -> list[tuple[Any, ...]]:
        calls = [(r.target, True, bytes.fromhex(r.function.encode(*r.arguments)[2:])) for r in reads]
        (results,) = self._client.call(self._address, AGGREGATE3, (calls,), block)
        if len(results) != len(reads):
            raise ContractMissing(f"{self._address} answers {len(results)} of {len(reads)} reads: it is no Multicall3")
        return [_answer(read, *result) for read, result in zip(reads, results, strict=True)]


def _answer(read: Read, is_success: bool, data: bytes) -> tuple[Any, ...]:
    what = f"{read.target} to {read.function.signature}"
    if not is_success:
        raise CallReverted(f"{what}: {revert_reason(data.hex()) or 'reverted without a reason'}", "0x" + data.hex())
    if not data and read.function.outputs:
        raise ContractMissing(f"{what} gives no answer: no such contract there; check address and chain")
    return decode_values(read.function.outputs, data, what)
