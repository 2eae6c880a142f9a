"""A wallet signs, and its key appears nowhere."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from pathlib import Path

import pytest
from eth_account import Account as KeyReader
from evm.deployment import KEY, KEY_VARIABLE

from trading_dagster.domain.error import SigningKeyUnusable
from trading_dagster.domain.transaction import Account
from trading_dagster.evm.wallet import HotWallet, UnsignedTransaction

PASSWORD = "correct horse battery staple"
TRANSACTION = UnsignedTransaction(
    Account(1, KeyReader.from_key(KEY).address), 7, "0x" + "ab" * 20, "0x1234", 5, 21_000, 10**9, 10**8
)


@pytest.fixture
def wallet(monkeypatch: pytest.MonkeyPatch) -> HotWallet:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return HotWallet.from_environment(KEY_VARIABLE)


def everything_said(error: BaseException) -> str:
    """Return the text of an error, its causes, and the local variables of every frame."""
    assert error.__traceback__ is not None
    frame = error.__traceback__.tb_next  # the first frame is the test's own
    told = traceback.TracebackException(type(error), error, frame, capture_locals=True)
    texts = ["".join(told.format()), repr(error), str(error.args)]
    while frame:
        texts.append(repr(frame.tb_frame.f_locals))
        frame = frame.tb_next
    assert error.__context__ is None
    assert error.__cause__ is None
    return "".join(texts)


def has_key(text: str, secret: str = KEY) -> bool:
    number = str(int(secret, 16)) if secret == KEY else secret
    return secret.removeprefix("0x").lower() in text.lower() or number in text


def test_signature_is_valid_and_repeatable(wallet: HotWallet):
    signed = wallet.sign(TRANSACTION)
    assert signed == wallet.sign(TRANSACTION)
    assert KeyReader.recover_transaction(signed.raw).lower() == wallet.address


def test_key_is_in_no_text_of_the_wallet(wallet: HotWallet, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").warning("wallet %s %r %s", wallet, wallet, [wallet])
        wallet.sign(TRANSACTION)
    assert repr(wallet) == f"HotWallet({wallet.address})"
    texts = [str(wallet), f"{wallet}", caplog.text, *(repr(getattr(wallet, name, "")) for name in dir(wallet))]
    assert not any(has_key(text) for text in texts)
    assert not hasattr(wallet, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_wallet_cannot_be_pickled(wallet: HotWallet, protocol: int):
    with pytest.raises(SigningKeyUnusable, match="pickled"):
        pickle.dumps(wallet, protocol)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_wallet_cannot_be_copied(wallet: HotWallet, duplicate):
    with pytest.raises(SigningKeyUnusable):
        duplicate(wallet)


@pytest.mark.parametrize("bad", [KEY[:-2], KEY + "00", KEY[:-1] + "g", "0x" + "ff" * 32])
def test_malformed_key_is_not_shown(monkeypatch: pytest.MonkeyPatch, bad: str):
    monkeypatch.setenv(KEY_VARIABLE, bad)
    with pytest.raises(SigningKeyUnusable, match=KEY_VARIABLE) as caught:
        HotWallet.from_environment(KEY_VARIABLE)
    assert bad.removeprefix("0x") not in everything_said(caught.value)


def test_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(SigningKeyUnusable, match=KEY_VARIABLE):
        HotWallet.from_environment(KEY_VARIABLE)


def test_keystore_opens_with_its_password_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "keystore.json"
    path.write_text(json.dumps(KeyReader.encrypt(KEY, PASSWORD, kdf="pbkdf2", iterations=1000)))
    monkeypatch.setenv("STORE_PASSWORD", PASSWORD)
    wallet = HotWallet.from_keystore(path, "STORE_PASSWORD")
    assert wallet.address == KeyReader.from_key(KEY).address.lower()

    monkeypatch.setenv("STORE_PASSWORD", "a wrong one")
    with pytest.raises(SigningKeyUnusable, match="STORE_PASSWORD is wrong") as caught:
        HotWallet.from_keystore(path, "STORE_PASSWORD")
    assert "a wrong one" not in everything_said(caught.value)
    with pytest.raises(SigningKeyUnusable, match="cannot be read"):
        HotWallet.from_keystore(tmp_path / "none", "STORE_PASSWORD")
    path.write_text("{")
    with pytest.raises(SigningKeyUnusable, match="no JSON"):
        HotWallet.from_keystore(path, "STORE_PASSWORD")
    monkeypatch.delenv("STORE_PASSWORD")
    with pytest.raises(SigningKeyUnusable, match="is not set"):
        HotWallet.from_keystore(path, "STORE_PASSWORD")


def test_another_account_is_not_signed_for(wallet: HotWallet):
    other = UnsignedTransaction(Account(1, "0x" + "01" * 20), 0, "0x" + "ab" * 20, "0x", 0, 21_000, 1, 1)
    with pytest.raises(SigningKeyUnusable, match="is to sign") as caught:
        wallet.sign(other)
    assert not has_key(everything_said(caught.value))
