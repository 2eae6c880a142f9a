"""One engine in a process of its own: loads the data once, then runs and times on request.

Protocol: one JSON object a line on standard output; "run" on standard input asks for a timed run, end of input ends it.
"""

import gc
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from benchmarks.engine import ENGINES, Run
from benchmarks.workload import WORKLOADS

STATUS = Path("/proc/self/status")


def main(engine_name: str, workload_name: str, folder: str) -> None:
    """Serve timed runs of one engine on one workload."""
    # Libraries may print; what they print must not mix with the protocol.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    engine = ENGINES[engine_name]
    try:
        prepare = engine.load()
    except ModuleNotFoundError as error:
        say(answers, {"problem": f"not installed: {error}"})
        return
    run = prepare(WORKLOADS[workload_name], Path(folder))
    if engine.warm_up:
        run()
    say(answers, {"version": engine.version})
    for _ in sys.stdin:
        say(answers, measure(run))


def measure(run: Run) -> dict[str, Any]:
    """Time one run from prepared data to final equity."""
    gc.collect()
    begin = time.perf_counter()
    outcome = run()
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "equity": outcome.equity, "fills": outcome.fills, "peak_mib": read_peak_mib()}


def read_peak_mib() -> float:
    """Return the process's peak resident memory in MiB, NaN where the system does not tell."""
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


def say(answers: TextIO, message: dict[str, Any]) -> None:
    """Write one protocol line."""
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4])
