"""Run engines against each other: one process each, taking turns run by run, so that noise hits all alike."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engine import ENGINES
from benchmarks.workload import WORKLOADS, cache_candles, make_cache

PATIENCE_S = 60.0
"""An engine whose timed runs have taken this long together sits out the rounds that are left."""

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one engine did on one workload.

    Attributes:
        engine: Engine name.
        workload: Workload name.
        version: Version of the library, "" for a floor.
        seconds: Wall time of each timed run, in order of the rounds.
        equity: Final equity in USD.
        fills: Number of executed trades.
        peak_mib: Peak resident memory of the process, loading included.
        problem: Why there is nothing above, "" when there is.
    """

    engine: str
    workload: str
    version: str = ""
    seconds: tuple[float, ...] = ()
    equity: float = float("nan")
    fills: int = 0
    peak_mib: float = float("nan")
    problem: str = ""

    @property
    def median_s(self) -> float:
        """Return the median wall time of a run, NaN without runs."""
        return median(self.seconds) if self.seconds else float("nan")

    @property
    def bars_per_second(self) -> float:
        """Return candles of all pairs per second of a median run."""
        return WORKLOADS[self.workload].rows / self.median_s


def compare_seconds(one: Measurement, other: Measurement) -> float:
    """Return how many times longer `one` took than `other`: the median of the ratios of runs made side by side."""
    pairs = list(zip(one.seconds, other.seconds, strict=False))
    return median(a / b for a, b in pairs) if pairs else float("nan")


class Worker:
    """A process that has loaded one workload for one engine and waits for the word to run.

    A worker that fails says so in its measurement; it does not stop the others.
    """

    def __init__(self, engine: str, workload: str, *, folder: Path, python: str) -> None:
        self.engine, self.workload, self.folder, self.python = engine, workload, folder, python
        self.version = ""
        self.problem = ENGINES[engine].unsupported.get(workload, "")
        self.answers: list[dict[str, Any]] = []
        self.log = folder / f"{engine}-{workload}.log"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process; return when data is loaded and code is warm."""
        if self.problem:
            return
        cache_candles(WORKLOADS[self.workload], self.folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [self.python, "-m", "benchmarks.worker", self.engine, self.workload, str(self.folder.resolve())]
        with self.log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                cwd=ROOT,
            )
        answer = self._receive()
        self.version = answer.get("version", "")
        self.problem = self.problem or answer.get("problem", "")

    def run(self) -> None:
        """Ask for one timed run and keep the answer."""
        if self.problem or self.process is None or self.process.stdin is None:
            return
        if sum(answer["seconds"] for answer in self.answers) > PATIENCE_S:
            return
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self._receive()
        if not self.problem:
            self.answers.append(answer)

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def summarise(self) -> Measurement:
        """Return all timed runs as one measurement."""
        if self.problem or not self.answers:
            return Measurement(self.engine, self.workload, self.version, problem=self.problem)
        last = self.answers[-1]
        seconds = tuple(answer["seconds"] for answer in self.answers)
        return Measurement(
            self.engine, self.workload, self.version, seconds, last["equity"], last["fills"], last["peak_mib"]
        )

    def _receive(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            printed = self.log.read_text(errors="replace").strip().splitlines()
            self.problem = f"failed: {printed[-1] if printed else 'the process ended without a word'}"
            return {}
        answer: dict[str, Any] = json.loads(line)
        return answer


def race(
    contestants: Sequence[tuple[str, str]], *, repeat: int, folder: Path, pythons: Mapping[str, str]
) -> list[Measurement]:
    """Measure (engine, workload) pairs in turns, `repeat` rounds.

    Args:
        contestants: Engine and workload names.
        repeat: Timed runs of each.
        folder: Where the candles are cached; what workers print goes there too.
        pythons: Engine name to the interpreter that has it installed, where that is not the running one.
    """
    make_cache(folder)
    with ExitStack() as stack:
        workers = []
        for engine, workload in contestants:
            worker = Worker(engine, workload, folder=folder, python=pythons.get(engine, sys.executable))
            stack.callback(worker.stop)
            # One after the other: nobody loads or compiles while another is being timed.
            worker.start()
            workers.append(worker)
        for _ in range(repeat):
            for worker in workers:
                worker.run()
        return [worker.summarise() for worker in workers]
