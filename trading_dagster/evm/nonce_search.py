"""Who used a nonce: found positively, as the very transaction in the very block, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from trading_dagster.domain.error import BlockUnavailable
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient


@dataclass(frozen=True, slots=True)
class NonceUser:
    """The mined transaction that used a nonce."""

    tx_hash: str
    block: BlockHeader


def find_nonce_user(client: EvmClient, address: str, nonce: int, head: BlockHeader) -> NonceUser | None:
    """Search the blocks up to ``head`` for the transaction of an address with a nonce.

    The account's count of transactions grows with the blocks: steps back that double find a block before the use,
    halving finds the first block after it. None means not found: a count was stale or a reorg got between; ask again.
    Needs the state of blocks as far back as the use; raises BlockUnavailable where no node has it any more.
    """

    def is_used(number: int) -> bool:
        try:
            return client.read_transaction_count(address, number) > nonce
        except BlockUnavailable as error:
            raise BlockUnavailable(
                f"What used nonce {nonce} of {address} cannot be found, as no node has the state of block {number} "
                f"({error}): name an archive node, or look the wallet up in an explorer"
            ) from error

    high = head.number
    if not is_used(high):
        return None
    step = 1
    low = high - step
    while low >= 0 and is_used(low):
        high, step = low, step * 2
        low = high - step
    low = max(low, -1)  # not used before the first block
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_used(middle) else (middle, high)
    block, transactions = client.read_block_transactions(high)
    for transaction in transactions:
        if transaction.sender == address and transaction.nonce == nonce:
            return NonceUser(transaction.tx_hash, block)
    return None
