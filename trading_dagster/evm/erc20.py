"""ERC-20 tokens: metadata, balances, allowances, approvals."""

from __future__ import annotations

from trading_dagster.domain.error import ContractMissing, NodeAnswerInvalid
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.abi import ContractCall, Function, decode_values
from trading_dagster.evm.block import BlockReference
from trading_dagster.evm.client import EvmClient

SYMBOL = Function("symbol", (), ("string",))
DECIMALS = Function("decimals", (), ("uint8",))
BALANCE_OF = Function("balanceOf", ("address",), ("uint256",), ("owner",))
ALLOWANCE = Function("allowance", ("address", "address"), ("uint256",), ("owner", "spender"))
APPROVE = Function("approve", ("address", "uint256"), ("bool",), ("spender", "amount"))
TRANSFER = Function("transfer", ("address", "uint256"), ("bool",), ("to", "amount"))

BYTES32_LENGTH = 32


def read_asset(client: EvmClient, token: str, block: BlockReference) -> AssetIdentifier:
    """Read symbol and decimals; raises ContractMissing when there is no such token."""
    (decimals,) = client.call(token, DECIMALS, (), block)
    return AssetIdentifier(
        client.chain_id, require_address(token, "token"), _read_symbol(client, token, block), decimals
    )


def _read_symbol(client: EvmClient, token: str, block: BlockReference) -> str:
    """Read a symbol as string, or as the bytes32 that the oldest tokens have."""
    answer = client.call_raw(token, SYMBOL.encode(), block)
    content = bytes.fromhex(answer[2:])
    if not content:
        raise ContractMissing(f"{token} gives no symbol: no token there; check address and chain")
    if len(content) == BYTES32_LENGTH:
        return content.rstrip(b"\0").decode(errors="replace")
    try:
        return str(decode_values(("string",), content, f"{token} to symbol()")[0])
    except UnicodeDecodeError as error:
        raise NodeAnswerInvalid(f"The symbol of {token} is no text: {answer[:200]}") from error


def read_balance(client: EvmClient, token: str, owner: str, block: BlockReference) -> int:
    """Return a balance in the token's smallest unit."""
    (balance,) = client.call(token, BALANCE_OF, (owner,), block)
    return int(balance)


def read_allowance(client: EvmClient, token: str, owner: str, spender: str, block: BlockReference) -> int:
    """Return how much a spender may take, in the token's smallest unit."""
    (allowance,) = client.call(token, ALLOWANCE, (owner, spender), block)
    return int(allowance)


def approve(token: str, spender: str, amount: int) -> ContractCall:
    """Allow a spender an amount in the token's smallest unit; it replaces what was allowed before."""
    return APPROVE.call(token, (spender, amount))


def transfer(token: str, to: str, amount: int) -> ContractCall:
    """Send an amount in the token's smallest unit."""
    return TRANSFER.call(token, (to, amount))
