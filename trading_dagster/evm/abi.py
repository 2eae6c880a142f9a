"""Contract functions by their signature: encodes calls, decodes answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from trading_dagster.domain.error import BadInput, ContractMissing, NodeAnswerInvalid
from trading_dagster.domain.transaction import Account, Intent, Plain


@dataclass(frozen=True, slots=True)
class ContractCall:
    """A call that changes the chain once it is mined."""

    to: str
    data: str
    function: str
    arguments: Mapping[str, Plain]
    value: int = 0
    expires_at: int = 0

    def to_intent(self, intent_id: str, account: Account, gas_limit: int = 0) -> Intent:
        """Return what the journal plans."""
        return Intent(
            intent_id=intent_id,
            account=account,
            to=self.to,
            data=self.data,
            value=self.value,
            gas_limit=gas_limit,
            expires_at=self.expires_at,
            function=self.function,
            arguments=self.arguments,
        )


@dataclass(frozen=True, slots=True)
class Function:
    """A contract function, such as ``Function("transfer", ("address", "uint256"), ("bool",))``."""

    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    selector: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Hash the signature."""
        object.__setattr__(self, "selector", keccak(text=self.signature)[:4])

    @property
    def signature(self) -> str:
        """Return the canonical signature, such as ``transfer(address,uint256)``."""
        return f"{self.name}({','.join(self.inputs)})"

    def encode(self, *arguments: Any) -> str:
        """Return the call data, hexadecimal; raises BadInput when an argument has not its type."""
        try:
            return "0x" + (self.selector + encode(self.inputs, arguments)).hex()
        except (EncodingError, TypeError, ValueError) as error:
            raise BadInput(f"{self.signature} cannot be called with {arguments!r}: {error}") from error

    def decode(self, answer: str, target: str) -> tuple[Any, ...]:
        """Return an answer's values; raises ContractMissing when there is none, as from an address without code."""
        if answer == "0x":
            raise ContractMissing(
                f"{target} gives no answer to {self.signature}: no such contract there, or without that function; "
                "check address and chain"
            )
        return decode_values(self.outputs, bytes.fromhex(answer[2:]), f"{target} to {self.signature}")

    def call(self, to: str, arguments: Sequence[Plain], *, value: int = 0, expires_at: int = 0) -> ContractCall:
        """Return a call of ``to`` with these arguments, named by ``parameters``."""
        names = self.parameters or tuple(f"arg{i}" for i in range(len(self.inputs)))
        return ContractCall(
            to=to,
            data=self.encode(*arguments),
            function=self.signature,
            arguments=dict(zip(names, arguments, strict=True)),
            value=value,
            expires_at=expires_at,
        )


def decode_values(types: Sequence[str], data: bytes, what: str) -> tuple[Any, ...]:
    """Decode ABI data; raises NodeAnswerInvalid when it has not these types."""
    try:
        return tuple(decode(types, data))
    except (DecodingError, OverflowError, ValueError) as error:
        raise NodeAnswerInvalid(f"The answer of {what} is no ({', '.join(types)}): {data.hex()[:200]}") from error


def event_topic(signature: str) -> str:
    """Return the first topic of an event's logs."""
    return "0x" + keccak(text=signature).hex()


ERROR_STRING = bytes.fromhex("08c379a0")
PANIC = bytes.fromhex("4e487b71")


def revert_reason(data: str) -> str:
    """Say in words what a revert's data means; empty when it says nothing."""
    try:
        content = bytes.fromhex(data.removeprefix("0x"))
        if content[:4] == ERROR_STRING:
            return str(decode(["string"], content[4:], strict=False)[0])
        if content[:4] == PANIC:
            return f"panic 0x{decode(['uint256'], content[4:])[0]:02x}"
    except (DecodingError, OverflowError, ValueError):
        return data
    return data if content else ""
