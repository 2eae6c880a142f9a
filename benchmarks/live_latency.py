"""From the candle to the first transaction: python -m benchmarks.live_latency [--cycles N].

A strategy that trades every hour runs on the stage of the live demo (a local chain, a replay in which an hour takes
17 s) through ``dagster dev`` with the shipped settings: data-availability sensor, queue, run launcher. A cycle's time
begins when its candles are available and ends when the node gets its first transaction, in a proxy before the node.
The table has the median of each part over the cycles that sent one. Target: median of the whole under 8 s. The load of
the machine is printed with each cycle: with a load above the number of cores the numbers say little.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from trading_dagster.demo.show import drive_by_dagster
from trading_dagster.demo.stage import DEMO_ID, RPC_VARIABLE, DemoSetting, Stage, open_stage
from trading_dagster.domain.time import to_aware
from trading_dagster.live.opening import open_clock
from trading_dagster.orchestration.live_unit import DECISION_TAG

TARGET_S = 8.0
HOUR_S = 17.0
"""No multiple of the sensor's interval, so that candles come at every moment between two polls."""
JOB = f"live_{DEMO_ID}"
SEND = "eth_sendRawTransaction"
PARTS = ("sensor", "queue", "run start", "universe", "indicators", "decision", "execution")
MEANINGS = {
    "sensor": "candles available -> run asked for",
    "queue": "-> taken from the queue",
    "run start": "-> the run's process has started and imported",
    "universe": "-> universe loaded and kept",
    "indicators": "-> indicators calculated",
    "decision": "-> accounts checked, decided, planned trades in the ledger",
    "execution": "-> first transaction sent",
}


@dataclass(frozen=True)
class Measured:
    """A cycle: its decision time, naive UTC, seconds by part, and the load of the machine at its end."""

    decision_at: datetime
    parts: Mapping[str, float]
    load: float

    @property
    def whole(self) -> float:
        """Return the seconds from the candle to the first transaction."""
        return sum(self.parts.values())


@contextmanager
def note_sends(url: str, sends: list[float]) -> Iterator[str]:
    """Run a proxy before a node that notes when transactions are sent, unix time; yields its URL."""
    host = urlsplit(url).netloc
    local = threading.local()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65536

        def do_POST(self) -> None:
            now = time.time()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if json.loads(body).get("method") == SEND:
                sends.append(now)
            if not hasattr(local, "connection"):
                local.connection = HTTPConnection(host, timeout=30)
            local.connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = local.connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def measure(folder: Path, cycles: int) -> list[Measured]:
    """Run so many cycles that sent a transaction and return them."""
    setting = DemoSetting(folder, Path(__file__).with_name("latency_strategy.py"), hour_s=HOUR_S)
    sends: list[float] = []
    with open_stage(setting) as stage, note_sends(stage.node.url, sends) as proxy:
        os.environ[RPC_VARIABLE] = proxy
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with drive_by_dagster(port)(stage) as check, dg.DagsterInstance.get() as instance:
            return _collect(stage, instance, sends, cycles, check)


def _collect(
    stage: Stage, instance: dg.DagsterInstance, sends: Sequence[float], cycles: int, check: Any
) -> list[Measured]:
    done: dict[str, Measured | None] = {}
    began = float("inf")
    while True:
        check()
        stage.check()
        finished = dg.RunsFilter(job_name=JOB, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
        if began == float("inf") and instance.all_instigator_state():
            began = time.time()
        for run in instance.get_runs(finished):
            if run.run_id in done:
                continue
            done[run.run_id] = found = measure_run(stage, instance, run, sends, began)
            if found is not None:
                parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found.parts.items())
                print(f"{found.decision_at}  {found.whole:5.2f} s  load {found.load:.1f}  ({parts})", flush=True)
        measured = [cycle for cycle in done.values() if cycle is not None]
        if len(measured) >= cycles:
            return measured
        time.sleep(0.5)


def measure_run(
    stage: Stage, instance: dg.DagsterInstance, run: dg.DagsterRun, sends: Sequence[float], began: float
) -> Measured | None:
    """Return what a run's parts took; None when it sent nothing, or its candles were there when the daemon began."""
    decision_at = datetime.fromisoformat(run.tags[DECISION_TAG])
    available = find_availability(stage, decision_at)
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    times: dict[str, float] = {}
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is not None:
            step = (event.step_key or "").rpartition("__")[2]
            times.setdefault(f"{event.event_type_value} {step}".strip(), entry.timestamp)
    decided = times.get("STEP_SUCCESS decisions")
    sent = [at for at in sends if decided is not None and decided <= at <= (record.end_time or time.time())]
    created = record.create_timestamp.timestamp()
    if not sent or decided is None or available < began:
        return None
    marks = [
        available,
        created,
        times["PIPELINE_STARTING"],
        times["PIPELINE_START"],
        times["STEP_SUCCESS universe"],
        times["STEP_SUCCESS indicators"],
        decided,
        min(sent),
    ]
    spans = [end - begin for begin, end in pairwise(marks)]
    return Measured(decision_at, dict(zip(PARTS, spans, strict=True)), os.getloadavg()[0])


def find_availability(stage: Stage, decision_at: datetime) -> float:
    """Return when the candle that closes at a decision time became available by the wall clock, unix time."""
    clock = open_clock(stage.deployment, stage.home)
    delay = timedelta(seconds=stage.deployment.clock.delay_s)  # type: ignore[union-attr]
    ago = clock.now() - (to_aware(decision_at) + delay)
    return time.time() - ago.total_seconds() / stage.deployment.speed


def describe(cycles: Sequence[Measured]) -> tuple[list[str], bool]:
    """Return a table of medians, and whether the target is met."""
    lines = [f"| {'part':>10} | median | longest | what |"]
    for name in PARTS:
        spans = [cycle.parts[name] for cycle in cycles]
        lines.append(f"| {name:>10} | {statistics.median(spans):4.2f} s | {max(spans):5.2f} s | {MEANINGS[name]} |")
    wholes = [cycle.whole for cycle in cycles]
    median = statistics.median(wholes)
    lines.append(f"| {'whole':>10} | {median:4.2f} s | {max(wholes):5.2f} s | {len(cycles)} cycles |")
    loads = [cycle.load for cycle in cycles]
    verdict = "met" if median < TARGET_S else "NOT MET"
    lines.append(
        f"load {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores; target under {TARGET_S:g} s: {verdict}"
    )
    return lines, median < TARGET_S


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 when the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_latency", description=__doc__)
    parser.add_argument("--cycles", type=int, default=12, help="cycles to measure (12)")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="live-latency-benchmark-"))
    try:
        lines, is_met = describe(measure(folder / "stage", options.cycles))
        print(*lines, sep="\n")
        return int(not is_met)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
