"""Events are written with the tokens they name, whatever was written before."""

from datetime import UTC, datetime

import pytest

from trading_dagster.domain.event import StateCreated
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.storage import event_codec
from trading_dagster.storage.event_codec import EventDecoder, encode_event

AT = datetime(2024, 1, 1, tzinfo=UTC)


def created(symbol: str, number: int = 1) -> StateCreated:
    return StateCreated(AT, "run", AssetIdentifier(1, f"0x{number:040x}", symbol))


def test_equal_tokens_that_are_described_differently_keep_their_own_text() -> None:
    old, new = created("USDC.e"), created("USDC")
    assert old.reserve_asset == new.reserve_asset

    read = [EventDecoder().decode(encode_event(event)) for event in (old, new, old)]

    symbols = [event.reserve_asset.token_symbol for event in read if isinstance(event, StateCreated)]
    assert symbols == ["USDC.e", "USDC", "USDC.e"]


def test_more_tokens_than_are_remembered_keep_their_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_codec, "MOST_REMEMBERED", 3)
    events = [created(f"T{number}", number) for number in range(20)] * 2

    assert [EventDecoder().decode(encode_event(event)) for event in events] == events
    assert len({encode_event(event) for event in events}) == 20
