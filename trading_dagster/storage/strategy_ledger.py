"""The ledger of one strategy: its State is loaded from a store, and what happened is saved back.

Loading takes the newest snapshot and the events after it; see domain.checkpoint for what is read besides. Saving stores
all events since the last save, the positions that ended, a new snapshot, equity samples and what the strategy showed
in a cycle, in one transaction. Loading never reads what was shown: see storage.visualisation_codec.

When saving fails with StorageFailed it is not known whether the batch arrived: save again, which stores it at most
once. After LeaseLost or LedgerConflict the State is not what the ledger says: load it anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice

from trading_dagster.domain.checkpoint import Archives, fold_ended_positions, restore_state, take_checkpoint
from trading_dagster.domain.error import LeaseLost, LedgerConflict, LedgerError, SerialisationRefused
from trading_dagster.domain.event import (
    AssetAllowed,
    AssetBlacklisted,
    BalanceUpdated,
    DataSaved,
    Event,
    FundFeesTaken,
    InterestAccrued,
    LedgerBound,
    LedgerEnded,
    PairIntroduced,
    RedemptionEnded,
    RedemptionRequested,
    StateCreated,
    TradePlanned,
    TradeStarted,
)
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import Marks, TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive, to_unix_us
from trading_dagster.domain.treasury import BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.storage.event_codec import EventDecoder, encode_event
from trading_dagster.storage.lease import Lease
from trading_dagster.storage.ledger_store import EndedPosition, EventRow, LedgerBatch, LedgerStore, Sample, ShownRow
from trading_dagster.storage.state_snapshot import StoredState, decode_snapshot, encode_snapshot
from trading_dagster.storage.visualisation_codec import take_shown_rows

PAIR, FLOW, ASSET, DATA, BINDING = "pair", "flow", "asset", "data", "binding"
CLOSED, EXPIRED = "closed", "expired"


class StrategyLedger:
    """Loads and saves the State of a strategy."""

    def __init__(self, store: LedgerStore, strategy_id: str, lease: Lease | None = None) -> None:
        """Work on a strategy's ledger; without a lease it can only be loaded."""
        self.store = store
        self.strategy_id = strategy_id
        self.lease = lease
        self._reset()

    def _reset(self, known_pairs: Iterable[TradingPairIdentifier] = ()) -> None:
        self._state: State | None = None
        self._head = 0
        self._decoder = EventDecoder(known_pairs)
        self._waiting: list[EventRow] = []
        self._waiting_samples: list[Sample] = []
        self._waiting_shown: list[ShownRow] = []
        self._data_seqs: dict[str, int] = {}
        self._allocations: dict[int, Decimal] = {}
        self._ended_counts = {CLOSED: 0, EXPIRED: 0}

    @property
    def is_stored(self) -> bool:
        """Tell whether the ledger that was loaded or created has events in the store."""
        return self._head > 0

    # -- loading ------------------------------------------------------------------------------------------------------

    def create(self, created: StateCreated, marks: Marks | None = None) -> State:
        """Begin a new ledger; raises LedgerConflict when there is one. Nothing is stored before the first save."""
        head = self.store.head(self.strategy_id)
        if head:
            raise LedgerConflict(f"{self.strategy_id} has a ledger of {head} events: load it instead of creating it")
        self._reset()
        self._state = State(created, marks)
        return self._state

    def load(
        self,
        known_pairs: Iterable[TradingPairIdentifier] = (),
        marks: Marks | None = None,
        *,
        use_snapshot: bool = True,
    ) -> State | None:
        """Return the State that the ledger adds up to, None when there is no ledger.

        Args:
            known_pairs: Pairs of the running universe, which events then refer to.
            marks: Prices to value positions with.
            use_snapshot: False replays every event.
        """
        self._reset(known_pairs)
        stored = decode_snapshot(self.store.read_snapshot(self.strategy_id)) if use_snapshot else None
        if stored is None:
            rows = self.store.read(self.strategy_id)
            if not rows:
                return None
            state = State.replay(self._decoder.decode_all(row.body for row in rows), marks)
            self._note(state, rows)
        else:
            state = self._restore(stored, marks)
            rows = self.store.read(self.strategy_id, stored.seq)
            for event in self._decoder.decode_all(row.body for row in rows):
                state.apply(event)
            self._note(state, rows)
        self._head = rows[-1].seq if rows else self._head
        self._ended_counts = _count_ended(state)
        self._state = state
        return state

    def _restore(self, stored: StoredState, marks: Marks | None) -> State:
        checkpoint = stored.checkpoint
        rows = self.store.read_some(
            self.strategy_id,
            stored.seq,
            topics=(PAIR, FLOW, ASSET, BINDING),
            position_ids=checkpoint.live_position_ids,
            seqs=(1, *stored.data_seqs.values()),
        )
        created, *events = self._decoder.decode_all(row.body for row in rows)
        if not isinstance(created, StateCreated):
            raise LedgerError(f"The ledger of {self.strategy_id} begins with {type(created).__name__}: is it whole?")
        at_seq = {row.seq: event for row, event in zip(rows, (created, *events), strict=True)}
        latest = [event for seq in stored.data_seqs.values() if isinstance(event := at_seq.get(seq), DataSaved)]
        if len(latest) != len(stored.data_seqs):
            raise LedgerError(f"Values that {self.strategy_id} stored are missing from its ledger: restore a backup")
        self._head = stored.seq
        self._data_seqs = dict(stored.data_seqs)
        self._allocations = dict(checkpoint.allocations)

        def marks_now() -> Marks:
            return state.portfolio.marks

        def load_data() -> list[DataSaved]:
            found = self.store.read_some(self.strategy_id, stored.seq, topics=(DATA,))
            decoded = self._decoder.decode_all(row.body for row in found)
            return [event for event in decoded if isinstance(event, DataSaved)]

        def archive(kind: str, count: int) -> _StoredArchive:
            store, decoder = self.store, self._decoder
            return _StoredArchive(store, self.strategy_id, decoder, created, stored.seq, kind, count, marks_now)

        archives = Archives(
            archive(CLOSED, checkpoint.closed_count), archive(EXPIRED, checkpoint.expired_count), load_data
        )
        folded = [event for event in events if not isinstance(event, DataSaved)]
        state = restore_state(created, checkpoint, folded, latest, archives, marks)
        return state

    # -- saving -------------------------------------------------------------------------------------------------------

    def save(self, samples: Sequence[Sample] = (), *, shown_at: datetime | None = None) -> int:
        """Store what happened since the last save in one transaction; returns the number of the newest event.

        Args:
            samples: Equity samples.
            shown_at: The decision time whose messages, calculations and plots are stored too, and leave the State;
                None stores none: a step that may still be run again would show them once more. It needs an event to
                be stored with, such as the one that says that the step is done.

        Raises:
            LeaseLost, LedgerConflict: Nothing was stored and the State is stale: load it anew.
            StorageFailed: The batch may or may not be stored: save again.
            SerialisationRefused: An event would not come back as it is; nothing was stored, load the State anew.
        """
        state, lease = self._state, self.lease
        if state is None:
            raise LedgerConflict(f"The state of {self.strategy_id} is stale or was never loaded: load it, then decide")
        if lease is None:
            raise LeaseLost(f"Saving {self.strategy_id} needs a lease: acquire one first")
        try:
            fresh = self._encode(state.take_events())
            self._waiting += fresh
            self._note(state, fresh)
            self._waiting_samples += samples
            if shown_at is not None:
                end_seq = self._head + len(self._waiting)
                self._waiting_shown += take_shown_rows(state.visualisation, to_unix_us(shown_at), end_seq)
            if not self._waiting and not self._waiting_samples and not self._waiting_shown:
                return self._head
            self._head = self.store.append(self._batch(state), lease)
        except (LeaseLost, LedgerConflict, SerialisationRefused):
            self._state = None
            raise
        self._waiting.clear()
        self._waiting_samples.clear()
        self._waiting_shown.clear()
        self._ended_counts = _count_ended(state)
        return self._head

    def _encode(self, events: Iterable[Event]) -> list[EventRow]:
        rows = []
        for seq, event in enumerate(events, self._head + len(self._waiting) + 1):
            body = encode_event(event)
            if encode_event(self._decode_back(event, body)) != body:
                raise SerialisationRefused(f"{type(event).__name__} would not come back as it is: {body[:300]}")
            rows.append(EventRow(seq, _unix_us(event), type(event).__name__, _position_id(event), _topic(event), body))
        return rows

    def _decode_back(self, event: Event, body: str) -> Event:
        try:
            return self._decoder.decode(body)
        except LedgerError as error:
            raise SerialisationRefused(f"{type(event).__name__} could not be read back: {error}") from error

    def _batch(self, state: State) -> LedgerBatch:
        after_seq, rows, samples = self._head, tuple(self._waiting), tuple(self._waiting_samples)
        shown = tuple(self._waiting_shown)
        if not rows:
            return LedgerBatch(self.strategy_id, after_seq, samples=samples, shown=shown)
        end_seq = after_seq + len(rows)
        ended = tuple(self._ended(state))
        gone = {position.position_id for position in ended}
        for position_id in gone:
            for trade_id in state.portfolio.get_position_by_id(position_id).trades:
                self._allocations.pop(trade_id, None)
        checkpoint = take_checkpoint(state, self._allocations)
        snapshot = encode_snapshot(StoredState(end_seq, checkpoint, self._data_seqs))
        return LedgerBatch(self.strategy_id, after_seq, rows, ended, snapshot, samples, shown)

    def _ended(self, state: State) -> Iterable[EndedPosition]:
        portfolio = state.portfolio
        for kind, ended in ((CLOSED, portfolio.closed_positions), (EXPIRED, portfolio.expired_positions)):
            first = self._ended_counts[kind]
            newest = list(islice(reversed(ended), len(ended) - first))
            for number, position_id in enumerate(reversed(newest), first):
                yield _describe_ended(ended[position_id], kind, number)

    def _note(self, state: State, rows: Iterable[EventRow]) -> None:
        """Remember where values are stored, and which buys took another amount than planned out of cash."""
        portfolio = state.portfolio
        for row in rows:
            if row.topic == DATA:
                self._data_seqs[json.loads(row.body)["name"]] = row.seq
            elif row.type == TradeStarted.__name__:
                position_id, trade_id = row.position_id or 0, int(json.loads(row.body)["trade_id"])
                position = portfolio.open_positions.get(position_id) or portfolio.frozen_positions.get(position_id)
                trade = None if position is None else position.trades[trade_id]
                if trade is not None and trade.allocated != trade.plan.allocation:
                    self._allocations[trade_id] = trade.allocated


class _StoredArchive:
    """Ended positions of one kind, as of a snapshot, read from a store."""

    def __init__(
        self,
        store: LedgerStore,
        strategy_id: str,
        decoder: EventDecoder,
        created: StateCreated,
        seq: int,
        kind: str,
        count: int,
        marks: Callable[[], Marks],
    ) -> None:
        self._store = store
        self._strategy_id = strategy_id
        self._decoder = decoder
        self._created = created
        self._seq = seq
        self._kind = kind
        self._count = count
        self._marks = marks

    def list_ids(self) -> list[int]:
        return self._ids(self._store.read_ended(self._strategy_id, self._kind, self._count))

    def has(self, position_id: int) -> bool:
        return bool(self._store.read_ended(self._strategy_id, self._kind, self._count, position_id=position_id))

    def list_ids_of_pair(self, pair: TradingPairIdentifier) -> list[int]:
        return self._ids(self._store.read_ended(self._strategy_id, self._kind, self._count, market=_market(pair)))

    def find_newest_id(self) -> int | None:
        found = self._store.read_ended(self._strategy_id, self._kind, self._count, newest=True)
        return found[0].position_id if found else None

    def load(self, position_ids: Sequence[int]) -> list[TradingPosition]:
        interest = [_interest_topic(position_id) for position_id in position_ids]
        rows = self._store.read_some(self._strategy_id, self._seq, topics=interest, position_ids=position_ids)
        allocations: dict[int, Decimal] = {}
        for ended in self._store.read_allocations(self._strategy_id, position_ids):
            allocations |= {int(key): Decimal(text) for key, text in json.loads(ended.allocations or "{}").items()}
        events = self._decoder.decode_all(row.body for row in rows)
        portfolio = fold_ended_positions(self._created, events, allocations, self._marks()).portfolio
        return [portfolio.get_position_by_id(position_id) for position_id in position_ids]

    def _ids(self, ended: Iterable[EndedPosition]) -> list[int]:
        return [position.position_id for position in ended]


def _count_ended(state: State) -> dict[str, int]:
    return {CLOSED: len(state.portfolio.closed_positions), EXPIRED: len(state.portfolio.expired_positions)}


def _describe_ended(position: TradingPosition, kind: str, number: int) -> EndedPosition:
    unusual = {
        str(trade_id): str(trade.allocated)
        for trade_id, trade in position.trades.items()
        if trade.started_at is not None and trade.allocated != trade.plan.allocation
    }
    closed_at = position.closed_at
    ended_us = 0 if closed_at is None else to_unix_us(closed_at)
    allocations = json.dumps(unusual, separators=(",", ":")) if unusual else None
    return EndedPosition(position.position_id, kind, number, _market(position.pair), ended_us, allocations)


def _market(pair: TradingPairIdentifier) -> str:
    """Return what equal pairs have in common; others may share it."""
    return f"{pair.base.get_identifier()}/{pair.quote.get_identifier()}"


def _unix_us(event: Event) -> int:
    return to_unix_us(to_naive(event.at))


def _position_id(event: Event) -> int | None:
    if isinstance(event, TradePlanned):
        return event.plan.position_id
    if isinstance(event, BalanceUpdated):
        return event.update.position_id
    position_id: int | None = getattr(event, "position_id", None)
    return position_id


def _interest_topic(position_id: int | None) -> str:
    """Return where the interest of a position is found: it accrues in every cycle, so only ended positions read it."""
    return f"loan-{position_id}"


def _topic(event: Event) -> str | None:
    """Return why an event is needed whatever its age; see domain.checkpoint."""
    if isinstance(event, PairIntroduced):
        return PAIR
    if isinstance(event, AssetBlacklisted | AssetAllowed):
        return ASSET
    if isinstance(event, DataSaved):
        return DATA
    if isinstance(event, LedgerBound | LedgerEnded):
        return BINDING
    if isinstance(event, FundFeesTaken | RedemptionRequested | RedemptionEnded):
        return FLOW
    if isinstance(event, InterestAccrued):
        return _interest_topic(event.update.position_id)
    if isinstance(event, BalanceUpdated):
        update = event.update
        is_reserve = update.position_type is BalanceUpdatePositionType.reserve
        is_interest = update.cause is BalanceUpdateCause.interest
        return FLOW if is_reserve or not is_interest or update.chain_key() is not None else None
    return None
