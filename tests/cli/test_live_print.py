"""What the live commands write about a wallet says whose balances they are."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trading_dagster.cli.live_print import print_wallet
from trading_dagster.live.wallet_check import WalletBalance, WalletReport


def test_balances_of_a_vault_are_named_as_such(capsys: pytest.CaptureFixture[str]):
    balances = (WalletBalance("USDC", "0x" + "22" * 20, Decimal("12.5")),)
    report = WalletReport("fund", "0x" + "11" * 20, 7, Decimal("0.5"), balances)
    print_wallet(report)
    assert "vault" not in capsys.readouterr().out
    print_wallet(WalletReport("fund", "0x" + "11" * 20, 7, Decimal("0.5"), balances, "0x" + "33" * 20))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Wallet 0x1111")
    assert lines[1] == f"It trades for vault 0x{'33' * 20}, which has"
    assert "12.5" in lines[-1]
