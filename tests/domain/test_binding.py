"""A ledger counts the money of one purse, and ends once."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trading_dagster.domain.binding import Binding
from trading_dagster.domain.error import LedgerError
from trading_dagster.domain.event import LedgerBound, LedgerEnded
from trading_dagster.domain.purse import PAPER, Purse, PurseKind, vault_purse, wallet_purse

AT = datetime(2026, 1, 1, tzinfo=UTC)
WALLET = wallet_purse(8453, "0xABC")


def test_purses_differ_by_kind_chain_and_address_only():
    assert wallet_purse(8453, "0xabc") == WALLET == Purse(PurseKind.wallet, 8453, "0xabc")
    others = [PAPER, replace(WALLET, chain_id=1), replace(WALLET, address="0xabd"), vault_purse(8453, "0xabc")]
    assert len({WALLET, *others}) == 5
    assert [purse.is_real for purse in (WALLET, *others)] == [True, False, True, True, True]


def test_purse_is_told_in_words():
    assert str(WALLET) == "wallet 0xabc on chain 8453"
    assert str(vault_purse(1, "0xDEF")) == "vault 0xdef on chain 1"
    assert str(PAPER) == "paper, no real money"


def test_bound_ledger_takes_no_other_purse():
    binding = Binding()
    for _ in range(2):
        binding.bind(LedgerBound(AT, WALLET))
    assert binding == Binding(WALLET)
    with pytest.raises(LedgerError, match=r"wallet 0xabc on chain 8453, it cannot count that of paper"):
        binding.bind(LedgerBound(AT, PAPER))


def test_ledger_ends_once():
    binding = Binding(WALLET)
    binding.end(LedgerEnded(AT, "Ann", "over"))
    assert binding == Binding(WALLET, datetime(2026, 1, 1), "Ann: over")
    with pytest.raises(LedgerError, match="ended at 2026-01-01 00:00:00 already"):
        binding.end(LedgerEnded(AT, "Bob", "again"))
