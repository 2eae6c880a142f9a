"""The terms of a vault: what is open when, when an order settles, and how they travel with the pair."""

from datetime import datetime, time, timedelta

import pytest
from tape import USDC, pair_of, token

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairKind
from trading_dagster.domain.vault import VaultLimit, VaultTerms, VaultWindow

DAY = timedelta(days=1)
MONDAY = datetime(2024, 1, 1)


def test_limits_hold_from_their_time_to_the_next():
    terms = VaultTerms(limits=(VaultLimit(MONDAY, 0, 500), VaultLimit(MONDAY + DAY, 1_000, 0)))

    assert terms.get_max_deposit(MONDAY - DAY) is None
    assert terms.get_max_deposit(MONDAY) == 0
    assert terms.get_max_deposit(MONDAY + DAY - timedelta(seconds=1)) == 0
    assert terms.get_max_deposit(MONDAY + DAY) == 1_000
    assert terms.get_max_redemption(MONDAY) == 500
    assert terms.get_max_redemption(MONDAY + 30 * DAY) == 0


def test_window_is_open_for_its_length_and_closed_at_its_end():
    window = VaultWindow(MONDAY, every=7 * DAY, length=2 * DAY)
    terms = VaultTerms(deposit_window=window)

    opened = [day for day in range(-1, 15) if window.is_open(MONDAY + day * DAY)]

    assert opened == [0, 1, 7, 8, 14]
    assert terms.get_max_deposit(MONDAY + 3 * DAY) == 0
    assert terms.get_max_deposit(MONDAY + 8 * DAY) is None
    assert terms.get_max_redemption(MONDAY + 3 * DAY) is None


@pytest.mark.parametrize(
    ("terms", "settles_at"),
    [
        (VaultTerms(), None),
        (VaultTerms(settlement_delay=2 * DAY), MONDAY + timedelta(days=2, hours=5)),
        (VaultTerms(settlement_time=time(18)), MONDAY + timedelta(days=1, hours=18)),
    ],
)
def test_order_settles_by_the_terms(terms, settles_at):
    assert terms.settles_at(MONDAY + timedelta(hours=5)) == settles_at
    assert terms.is_async() is (settles_at is not None)


@pytest.mark.parametrize(
    "terms",
    [
        VaultTerms(),
        VaultTerms("Safe", "euler", settlement_delay=DAY, limits=(VaultLimit(MONDAY, 0.0, None),)),
        VaultTerms("Slow", settlement_time=time(18, 30), redemption_window=VaultWindow(MONDAY, 7 * DAY, DAY)),
    ],
)
def test_terms_come_back_from_the_pair_that_carries_them(terms):
    pair = pair_of(5, token(5, "SHARE"), USDC, kind=TradingPairKind.vault, fee=0.0, other_data=terms.to_data())

    assert VaultTerms.of_pair(pair) == terms
    assert pair.is_async_vault() is terms.is_async()


def test_async_vault_without_terms_settles_after_two_days():
    pair = pair_of(5, token(5, "SHARE"), USDC, kind=TradingPairKind.vault, fee=0.0, other_data={"async_vault": True})

    assert VaultTerms.of_pair(pair).settles_at(MONDAY) == MONDAY + 2 * DAY


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VaultTerms("A", settlement_delay=-DAY), "give more than 0"),
        (lambda: VaultTerms("A", settlement_delay=DAY, settlement_time=time(18)), "give one of them"),
        (lambda: VaultTerms("A", limits=(VaultLimit(MONDAY + DAY), VaultLimit(MONDAY))), "not in order of time"),
        (lambda: VaultLimit(MONDAY, -1.0), "give USD from 0"),
        (lambda: VaultLimit(MONDAY, float("nan")), "give USD from 0"),
        (lambda: VaultWindow(MONDAY, DAY, 2 * DAY), "length <= every"),
    ],
)
def test_impossible_terms_are_refused(make, message):
    with pytest.raises(BadInput, match=message):
        make()
