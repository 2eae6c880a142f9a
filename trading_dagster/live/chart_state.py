"""The state of a live strategy as charts are given it: the ledger, with the newest of what was shown and sampled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from trading_dagster.domain.equity_statistics import Statistics
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import from_unix_us, to_unix_us
from trading_dagster.domain.visualisation import Visualisation
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.storage.visualisation_codec import read_visualisation

SHOWN_CYCLES = 500
"""How many of the newest cycles are drawn."""

SHOWN_ROWS = 20_000
"""How many of the newest plots, a row a plot and cycle, and messages are read for that at most."""


def read_newest_samples(live: LiveStrategy) -> Sequence[Sample]:
    """Return the newest equity samples: those since as many cycles ago as are drawn."""
    return live.store.read_samples(live.id, _first_us(live))[-SHOWN_CYCLES:]


def read_newest_visualisation(live: LiveStrategy, pairs: Iterable[TradingPairIdentifier] = ()) -> Visualisation:
    """Return what the strategy showed in the newest cycles; pairs are looked up among those given."""
    return read_visualisation(live.store, live.id, pairs=pairs, from_us=_first_us(live), newest=SHOWN_ROWS)


def load_chart_state(live: LiveStrategy, pairs: Sequence[TradingPairIdentifier], shown: Visualisation) -> State | None:
    """Return the ledger's state with its newest equity samples and what was shown; None before the ledger began."""
    state = StrategyLedger(live.store, live.id).load(pairs)
    if state is None:
        return None
    state.visualisation = shown
    samples = read_newest_samples(live)
    state.stats = Statistics(
        {
            "timestamp": [from_unix_us(sample.at_us) for sample in samples],
            "equity": [sample.equity for sample in samples],
            "cash": [sample.cash for sample in samples],
            "position_equity": [sample.position_equity for sample in samples],
            "open_positions": [sample.open_positions for sample in samples],
            "share_count": [math.nan if sample.share_count is None else sample.share_count for sample in samples],
            "share_price": [math.nan if sample.share_price is None else sample.share_price for sample in samples],
        }
    )
    return state


def _first_us(live: LiveStrategy) -> int:
    return to_unix_us(live.now() - live.cycle_duration.to_timedelta() * SHOWN_CYCLES)
