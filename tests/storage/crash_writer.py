"""Kill ledger writers at random, and at each statement of an append; after each kill, look whether the ledger is whole.

Run as ``python crash_writer.py random|statement URL KILLS``: a process of its own, because it forks. It keeps one child
alive at a time, which appends batches and acknowledges each over a pipe once ``append`` returned.
"""

import os
import random
import signal
import sys
import time

from sqlalchemy import event

from trading_dagster.storage.ledger_store import EndedPosition, EventRow, LedgerBatch, Sample, ShownRow, StateSnapshot
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

NAME = "crash"
EVENTS = 5


def batch_of(number: int) -> LedgerBatch:
    """The batch that brings the ledger to ``(number + 1) * EVENTS`` events; its content follows from its number."""
    first = number * EVENTS + 1
    rows = tuple(
        EventRow(seq, seq * 10, "Test", seq % 7, None, f'{{"seq":{seq},"filler":"{"x" * (seq * 37 % 900)}"}}')
        for seq in range(first, first + EVENTS)
    )
    return LedgerBatch(
        NAME,
        number * EVENTS,
        rows,
        (EndedPosition(number, "closed", number, "m", number),),
        StateSnapshot(rows[-1].seq, 1, f"snapshot {number}"),
        (Sample(number, float(number), 0.1, 0.2, 3),),
        tuple(ShownRow(rows[-1].seq, place, number, "plot", f'{{"plot":{place}}}') for place in range(3)),
    )


def write_for_ever(url: str, acknowledge: int, kill_at: int | None) -> None:
    store = SqlLedgerStore(url)
    lease = store.acquire(f"writer {os.getpid()}", [f"strategy:{NAME}"], 0.001)
    number = store.head(NAME) // EVENTS
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if kill_at is not None:
        event.listen(store.database._engine, "before_cursor_execute", count)
        event.listen(store.database._engine, "after_cursor_execute", count)
        event.listen(store.database._engine, "commit", count)
    while True:
        store.append(batch_of(number), lease)
        os.write(acknowledge, number.to_bytes(4, "big"))
        number += 1


def verify(url: str, acknowledged: int, first_shown: int = 0) -> int:
    """Return the number of whole batches; fails when a batch is partial, doubled, altered or lost.

    Batches before ``first_shown`` were stored without what is shown.
    """
    with SqlLedgerStore(url) as store:
        head = store.head(NAME)
        rows = list(store.read(NAME))
        ended = store.read_ended(NAME, "closed", 10**9)
        snapshot, samples = store.read_snapshot(NAME), store.read_samples(NAME)
        shown = store.read_shown(NAME, "plot")
    batches = head // EVENTS
    expected = [batch_of(number) for number in range(batches)]
    assert head == len(rows) == batches * EVENTS, f"partial batch: head {head}, {len(rows)} rows"
    assert rows == [row for batch in expected for row in batch.events], "altered events"
    assert list(ended) == [position for batch in expected for position in batch.ended], "ended positions differ"
    assert list(samples) == [sample for batch in expected for sample in batch.samples], "samples differ"
    assert list(shown) == [row for batch in expected[first_shown:] for row in batch.shown], "what is shown differs"
    assert snapshot == (expected[-1].snapshot if expected else None), "the snapshot is not of the newest batch"
    assert acknowledged <= batches, f"lost: {acknowledged} batches were acknowledged, {batches} are there"
    return batches


def kill_one(url: str, wait_s: float, kill_at: int | None) -> int:
    """Start a writer, kill it, return how many batches it says are stored."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            write_for_ever(url, writer, kill_at)
        finally:
            os._exit(3)
    os.close(writer)
    if kill_at is None:
        first = os.read(reader, 4)  # the database is open and a batch is stored
        time.sleep(wait_s)
        os.kill(child, signal.SIGKILL)
    else:
        first = b""
    answers = first
    while piece := os.read(reader, 65536):
        answers += piece
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the writer ended by itself with {status}"
    assert os.WTERMSIG(status) == signal.SIGKILL
    return int.from_bytes(answers[-4:], "big") + 1 if answers else 0


def main() -> None:
    how, url, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rng = random.Random(20_240_601)
    acknowledged = batches = 0
    for number in range(kills):
        kill_at = number + 1 if how == "statement" else None
        acknowledged = max(acknowledged, kill_one(url, rng.uniform(0, 0.02), kill_at))
        batches = verify(url, acknowledged)
    sys.stdout.write(f"kills={kills} batches={batches}\n")


if __name__ == "__main__":
    main()
