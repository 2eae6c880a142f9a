"""A hot wallet: signs transactions, and never shows its key."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from eth_account import Account as KeyReader
from eth_account.signers.local import LocalAccount
from eth_typing import HexStr
from eth_utils.address import to_checksum_address

from trading_dagster.domain.error import SigningKeyUnusable
from trading_dagster.domain.transaction import Account


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """An EIP-1559 transaction; fees are wei per gas."""

    account: Account
    nonce: int
    to: str
    data: str
    value: int
    gas_limit: int
    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """What can be sent, and the hash it will have."""

    tx_hash: str
    raw: bytes


class HotWallet:
    """A private key in this process's memory.

    The key appears in no text of this object, in no message and no attribute of an error, and cannot be copied out:
    pickling and copying raise SigningKeyUnusable. Errors are raised outside of the frames that have seen the key.
    """

    __slots__ = ("__signer", "address")

    def __init__(self, signer: LocalAccount) -> None:
        """Take a signer; use ``from_environment`` or ``from_keystore``."""
        self.__signer = signer
        self.address = signer.address.lower()

    @classmethod
    def from_environment(cls, variable: str) -> HotWallet:
        """Read the key (32 bytes, hexadecimal) from the environment variable of that NAME."""
        if not os.environ.get(variable):
            raise SigningKeyUnusable(f"The environment variable {variable} is not set: it must hold the private key")
        signer = _read_key(variable)
        if signer is None:
            raise SigningKeyUnusable(f"The environment variable {variable} holds no private key: 64 hexadecimal digits")
        return cls(signer)

    @classmethod
    def from_keystore(cls, path: Path, password_variable: str) -> HotWallet:
        """Decrypt a keystore file (Web3 Secret Storage, version 3) by the password in an environment variable."""
        if password_variable not in os.environ:
            raise SigningKeyUnusable(
                f"The environment variable {password_variable} is not set: it must hold the keystore's password"
            )
        signer = _decrypt(path, password_variable)
        if isinstance(signer, str):
            raise SigningKeyUnusable(f"The keystore {path} cannot be opened: {signer}")
        return cls(signer)

    def sign(self, transaction: UnsignedTransaction) -> SignedTransaction:
        """Sign; equal transactions give equal bytes (RFC 6979)."""
        if transaction.account.address != self.address:
            raise SigningKeyUnusable(f"{transaction.account.address} is to sign, but this wallet is {self.address}")
        signed = self.__signer.sign_transaction(
            {
                "type": 2,
                "chainId": transaction.account.chain_id,
                "nonce": transaction.nonce,
                "to": to_checksum_address(transaction.to),
                "data": HexStr(transaction.data),
                "value": transaction.value,
                "gas": transaction.gas_limit,
                "maxFeePerGas": transaction.max_fee,
                "maxPriorityFeePerGas": transaction.priority_fee,
            }
        )
        return SignedTransaction("0x" + bytes(signed.hash).hex(), bytes(signed.raw_transaction))

    def __repr__(self) -> str:
        """Show the address only."""
        return f"HotWallet({self.address})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise SigningKeyUnusable(f"{self!r} may not be pickled or copied: build it where it is used")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied."""
        self.__reduce__()


def _read_key(variable: str) -> LocalAccount | None:
    """Return None instead of raising, so that no traceback holds a frame which has seen the key."""
    try:
        signer: LocalAccount = KeyReader.from_key(os.environ[variable].strip())
    except Exception:  # noqa: BLE001 - whatever it is, its text may have the key
        return None
    return signer


def _decrypt(path: Path, password_variable: str) -> LocalAccount | str:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except ValueError:
        return "it is no JSON"
    try:
        signer: LocalAccount = KeyReader.from_key(KeyReader.decrypt(body, os.environ[password_variable]))
    except Exception:  # noqa: BLE001 - whatever it is, its text may have the password
        return f"it is no version 3 keystore, or the password in {password_variable} is wrong"
    return signer
