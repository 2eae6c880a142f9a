"""What daily and cycle limits compare with, read from the newest end of a strategy's ledger."""

from __future__ import annotations

from datetime import datetime, timedelta

from trading_dagster.domain.event import TradeExecuted
from trading_dagster.domain.state import State
from trading_dagster.domain.time import from_unix_us, to_aware, to_naive, to_unix_us
from trading_dagster.execution.limit import DAY, EquityMark
from trading_dagster.storage.event_codec import EventDecoder
from trading_dagster.storage.ledger_store import LedgerStore, Sample

FIRST_CHUNK, CHUNK = 32, 512
"""Events read at a time, the newest first: a day has few as a rule, so that the first few are enough."""


class LedgerLimitHistory:
    """A LimitHistory over a ledger store; reads the last day's rows and little more, however long the ledger is."""

    def __init__(self, store: LedgerStore, strategy_id: str) -> None:
        """Look at one strategy's ledger."""
        self._store = store
        self._strategy_id = strategy_id

    def find_day_start(self, now: datetime) -> EquityMark | None:
        """See LimitHistory."""
        end_us, reach = to_unix_us(to_naive(now) - DAY), DAY
        head_us = to_unix_us(to_naive(now))
        while True:
            after_us = head_us - reach // timedelta(microseconds=1) - 1
            samples = self._store.read_samples(self._strategy_id, after_us)
            older = [sample for sample in samples if sample.at_us <= end_us]
            if older:
                return _mark(older[-1])
            if after_us < 0:
                return _mark(samples[0]) if samples else None
            reach *= 2

    def find_cycle_end(self, last_cycle_at: datetime) -> EquityMark | None:
        """See LimitHistory."""
        samples = self._store.read_samples(self._strategy_id, to_unix_us(last_cycle_at) - 1)
        return _mark(samples[0]) if samples else None

    def sum_turnover(self, state: State, now: datetime) -> float:
        """See LimitHistory."""
        since = now - DAY
        since_us = to_unix_us(to_naive(since))
        total = sum(
            (
                float(event.reserve)
                for event in state.new_events
                if isinstance(event, TradeExecuted) and event.at > since
            ),
            0.0,
        )
        decoder = EventDecoder()
        end, size = self._store.head(self._strategy_id), min(FIRST_CHUNK, CHUNK)
        while end > 0:
            first = max(1, end - size + 1)
            rows = self._store.read_some(self._strategy_id, end, seqs=range(first, end + 1))
            for row in rows:
                if row.type == TradeExecuted.__name__ and row.at_us > since_us:
                    event = decoder.decode(row.body)
                    total += float(event.reserve) if isinstance(event, TradeExecuted) else 0.0
            if all(row.at_us <= since_us for row in rows):
                break
            end, size = first - 1, min(2 * size, CHUNK)
        return total * state.portfolio.reserve.reserve_token_price


def _mark(sample: Sample) -> EquityMark:
    at = to_aware(from_unix_us(sample.at_us))
    return EquityMark(at, sample.equity, sample.share_count, sample.share_price)
