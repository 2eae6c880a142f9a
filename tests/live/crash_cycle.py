"""Kill live cycles at each save of the ledger and between all steps; after each kill, start again from the ledger.

Run as ``python crash_cycle.py FOLDER``, or ``FOLDER orders`` for a strategy whose orders wait: a process of its own,
because it forks. For each point of a run of some days, with a trigger check after each step, a child kills itself there
with SIGKILL, and further children finish the run. Each ledger is left in the folder, named for its point;
``undisturbed.db`` is of a run without kills.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from live.order_strategy import decide_with_orders
from live.showing import decide, with_hooks
from live.world import DAY, START, Steps, load, make_live, set_time

from trading_dagster.live.cycle import CycleStatus
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

DAYS = 2
LEASE_S = 0.2


class KillPoint:
    """Counts points and kills its process at one of them."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.count = 0

    def pass_by(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class KilledStore(SqlLedgerStore):
    """Passes a point before and after each batch is stored."""

    def __init__(self, path: Path, point: KillPoint) -> None:
        super().__init__(path)
        self._point = point

    def append(self, batch, lease):
        self._point.pass_by()
        head = super().append(batch, lease)
        self._point.pass_by()
        return head


def run_to_the_end(path: Path, kill_at: int | None, has_orders: bool) -> int:
    """Run all days from wherever the ledger is; returns how many points were passed."""
    point = KillPoint(kill_at)
    with KilledStore(path, point) as store:
        live = make_live(store=store, lease_s=LEASE_S, wait_s=60.0)
        live = replace(live, strategy=with_hooks(live.strategy, decide_with_orders if has_orders else decide))
        for number in range(DAYS):
            at = START + number * DAY
            set_time(live, at)
            steps = Steps(live)
            for step in (steps.decide, steps.execute, steps.complete):
                report = step()
                assert report.status in (CycleStatus.done, CycleStatus.already_done)
                point.pass_by()
                check_triggers(live)
                point.pass_by()
        load(live).perform_integrity_check()
        return point.count


def run_in_child(path: Path, kill_at: int | None, has_orders: bool) -> bool:
    """Run in a child; returns whether it came to the end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run_to_the_end(path, kill_at, has_orders)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0, f"a child failed after a kill at point {kill_at}"
    return True


def main(folder: Path, has_orders: bool) -> None:
    run_in_child(folder / "undisturbed.db", None, has_orders)
    point = 0
    while True:
        point += 1
        path = folder / f"point_{point:03d}.db"
        if run_in_child(path, point, has_orders):
            path.unlink()
            break
        # The second start is killed a little later in the same work, the third comes to the end.
        run_in_child(path, 2, has_orders)
        assert run_in_child(path, None, has_orders)
    sys.stdout.write(str(point - 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["orders"])
