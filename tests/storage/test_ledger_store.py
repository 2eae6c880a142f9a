"""The ledger store keeps batches whole, once, in order, and for the newest lease only; in memory and in databases."""

from dataclasses import replace

import pytest
from storage.crash_writer import EVENTS, NAME, batch_of

from trading_dagster.domain.error import BadInput, LeaseLost, LedgerConflict
from trading_dagster.storage.ledger_store import EventRow, LedgerBatch, MemoryLedgerStore, Sample, ShownRow
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryLedgerStore()
        return
    place = tmp_path / "ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    with SqlLedgerStore(place) as opened:
        yield opened


@pytest.fixture
def lease(store):
    return store.acquire("tester", [f"strategy:{NAME}"], 600)


def everything(store, name=NAME) -> tuple:
    return (
        store.head(name),
        list(store.read(name)),
        list(store.read_ended(name, "closed", 10**6)),
        store.read_snapshot(name),
        list(store.read_samples(name)),
        list(store.read_shown(name, "plot")),
    )


def test_what_is_stored_is_read_back(store, lease):
    batches = [batch_of(n) for n in range(3)]
    assert [store.append(batch, lease) for batch in batches] == [EVENTS, 2 * EVENTS, 3 * EVENTS]
    rows = [row for batch in batches for row in batch.events]
    ended = [position for batch in batches for position in batch.ended]
    samples = [sample for batch in batches for sample in batch.samples]
    shown = [row for batch in batches for row in batch.shown]
    assert everything(store) == (15, rows, ended, batches[-1].snapshot, samples, shown)
    assert list(store.read(NAME, 12)) == rows[12:]
    assert list(store.read_samples(NAME, 0)) == samples[1:]
    assert [p.position_id for p in store.read_ended(NAME, "closed", 2)] == [0, 1]
    assert [p.position_id for p in store.read_ended(NAME, "closed", 2, newest=True)] == [1]
    assert list(store.read_ended(NAME, "closed", 2, market="other")) == []
    assert [p.position_id for p in store.read_ended(NAME, "closed", 2, position_id=1)] == [1]
    assert list(store.read_ended(NAME, "closed", 1, position_id=1)) == []
    assert list(store.read_ended(NAME, "closed", 2, position_id=99)) == []
    some = store.read_some(NAME, 14, position_ids=[3], seqs=[1, 2, 15])
    assert [row.seq for row in some] == [1, 2, 3, 10]


def test_topics_are_found_and_each_event_comes_once(store, lease):
    topics = ["pair", None, "flow", "data", "pair"]
    rows = tuple(EventRow(n, n, "T", n, topic, "{}") for n, topic in enumerate(topics, 1))
    store.append(LedgerBatch(NAME, 0, rows), lease)
    assert [r.seq for r in store.read_some(NAME, 5, topics=("pair", "flow"), position_ids=[1, 2], seqs=[3])] == [
        1,
        2,
        3,
        5,
    ]


def test_unknown_strategy_is_empty(store, lease):
    store.append(batch_of(0), lease)
    assert everything(store, "nobody") == (0, [], [], None, [], [])
    assert list(store.list_strategies()) == [NAME]


def test_strategies_do_not_see_each_other(store, lease):
    other = store.acquire("tester", ["strategy:other"], 600)
    for n in range(2):
        store.append(batch_of(n), lease)
        store.append(replace(batch_of(n), strategy_id="other"), other)
    assert everything(store) == everything(store, "other")
    assert list(store.list_strategies()) == sorted([NAME, "other"])


def test_storing_the_same_again_does_nothing(store, lease):
    for n in (0, 0, 1, 1, 0, 2):
        store.append(batch_of(n), lease)
    before = everything(store)
    for n in range(3):
        assert store.append(batch_of(n), lease) == 3 * EVENTS
    assert everything(store) == before
    assert before[3] == batch_of(2).snapshot


def test_longer_batch_after_an_unknown_outcome_adds_the_rest(store, lease):
    first, second = batch_of(0), batch_of(1)
    store.append(first, lease)
    joined = LedgerBatch(
        NAME, 0, first.events + second.events, first.ended + second.ended, second.snapshot, second.samples,
        first.shown + second.shown,
    )  # fmt: skip
    assert store.append(joined, lease) == 2 * EVENTS
    assert everything(store)[:4] == (10, list(joined.events), list(joined.ended), second.snapshot)
    assert list(store.read_shown(NAME, "plot")) == [*first.shown, *second.shown]


@pytest.mark.parametrize("field", ["at_us", "type", "position_id", "topic", "body"])
def test_other_content_for_a_used_number_is_refused(store, lease, field):
    store.append(batch_of(0), lease)
    before = everything(store)
    good = batch_of(0)
    changed = replace(good.events[3], **{field: 99 if field in ("at_us", "position_id") else "other"})
    with pytest.raises(LedgerConflict, match="another event #4"):
        store.append(replace(good, events=(*good.events[:3], changed, *good.events[4:])), lease)
    assert everything(store) == before


def test_writer_with_a_stale_or_foreign_view_is_refused(store, lease):
    store.append(batch_of(0), lease)
    with pytest.raises(LedgerConflict, match="has 5 events but the batch follows event #10"):
        store.append(batch_of(2), lease)
    sample = Sample(1, 1.0, 1.0, 1.0, 0)
    with pytest.raises(LedgerConflict, match="moved on to event #5, the writer knows #0"):
        store.append(LedgerBatch(NAME, 0, samples=(sample,)), lease)
    assert store.append(LedgerBatch(NAME, EVENTS, samples=(sample,)), lease) == EVENTS
    assert store.read_samples(NAME)[-1] == sample


def test_what_is_shown_is_read_by_kind_and_by_range(store, lease):
    def row(seq, number, at_us, kind):
        return ShownRow(seq, number, at_us, kind, f"{seq}.{number}")

    first = [row(5, number, 100, "plot" if number % 2 else "message") for number in range(4)]
    second = [row(10, number, 200, "plot") for number in range(12)]
    third = [row(15, 0, 300, "plot"), row(15, 1, 300, "message")]
    for number, shown in enumerate((first, second, third)):
        store.append(replace(batch_of(number), shown=tuple(shown)), lease)
    plots = [first[1], first[3], *second, third[0]]
    assert list(store.read_shown(NAME, "plot")) == plots
    assert list(store.read_shown(NAME, "message")) == [first[0], first[2], third[1]]
    assert list(store.read_shown(NAME, "plot", newest=3)) == plots[-3:]
    assert list(store.read_shown(NAME, "plot", newest=100)) == plots
    assert list(store.read_shown(NAME, "plot", from_us=200, to_us=200)) == second
    assert list(store.read_shown(NAME, "plot", to_us=200, newest=2)) == second[-2:]
    assert list(store.read_shown(NAME, "plot", from_us=301)) == []
    assert list(store.read_shown("nobody", "plot")) == []


@pytest.mark.parametrize("seq", [0, 6])
def test_what_is_shown_belongs_to_an_event_of_its_batch(seq):
    with pytest.raises(BadInput, match=f"belongs to event #{seq}, the batch has #1 to #5"):
        replace(batch_of(0), shown=(ShownRow(seq, 0, 0, "plot", "{}"),))


def test_batch_with_gaps_is_refused():
    rows = batch_of(0).events
    with pytest.raises(BadInput, match="expected"):
        LedgerBatch(NAME, 0, rows[1:])
    with pytest.raises(BadInput, match="the batch ends at #5"):
        replace(batch_of(0), snapshot=batch_of(1).snapshot)


def test_writing_needs_a_lease_for_that_strategy(store):
    other = store.acquire("tester", ["strategy:other", "wallet:0x1"], 600)
    with pytest.raises(BadInput, match=f"needs a lease for strategy:{NAME}"):
        store.append(batch_of(0), other)


def test_writer_whose_lease_was_taken_over_is_refused(store):
    old = store.acquire("old", [f"strategy:{NAME}", "wallet:0x1"], 0.001)
    store.append(batch_of(0), old)
    new = take(store, "new", ["wallet:0x1"])
    before = everything(store)
    for attempt in (batch_of(0), batch_of(1)):
        with pytest.raises(LeaseLost, match=r"old holds wallet:0x1 no longer \(token 1\): new has token 2"):
            store.append(attempt, old)
    assert everything(store) == before
    strategy = take(store, "new", [f"strategy:{NAME}"])
    assert store.append(batch_of(1), strategy) == 2 * EVENTS
    store.check(new)


def take(store, holder, resources, duration_s=600.0):
    """Acquire as soon as the leases before have expired."""
    for _ in range(10_000):
        lease = store.acquire(holder, resources, duration_s)
        if hasattr(lease, "fences"):
            return lease
    raise AssertionError(f"{resources} never became free: {lease}")
