"""A strategy on paper over the embedded sample, at whatever time a test sets."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trading_dagster.live.clock import ManualClock
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.strategy.module import load_strategy_file

STRATEGIES = Path(__file__).parents[2] / "strategies"


@pytest.fixture
def paper():
    """Return a function that makes a live strategy on paper."""

    def make(
        strategy="ema_cross",
        store=None,
        at=datetime(2018, 1, 1, tzinfo=UTC),
        venue=None,
        source=None,
        parameters=None,
    ):
        clock = ManualClock(at)
        module = load_strategy_file(STRATEGIES / f"{strategy}.py").with_parameters(parameters or {})
        return LiveStrategy(
            id=strategy,
            strategy=module,
            source=source or ReplaySource(EmbeddedSample(), clock.now),
            venue=venue or PaperVenue(10_000),
            store=store or MemoryLedgerStore(),
            clock=clock,
            wait_s=0.0,
        )

    return make
