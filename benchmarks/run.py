"""Command line of the benchmarks: choose workloads and engines, race them, print tables and verdicts."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.engine import ENGINES, OURS
from benchmarks.race import Measurement, race
from benchmarks.report import format_verdicts, format_workload
from benchmarks.target import judge
from benchmarks.workload import DEFAULT_FOLDER

SIDE_BY_SIDE = ("w1", "w2", "w3", "w4", "w5", "alpha")
GROWTH = ("growth-20k", "growth-320k")
CHOICES = (*SIDE_BY_SIDE, "growth", "memory")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = parse(arguments)
    pythons = dict(pair.split("=", 1) for pair in options.python)
    measurements: list[Measurement] = []
    for choice in options.workloads or CHOICES:
        contestants = list_contestants(choice, options.engines)
        measured = race(contestants, repeat=options.repeat, folder=options.data, pythons=pythons)
        measurements += measured
        for workload in dict.fromkeys(m.workload for m in measured):
            print(format_workload([m for m in measured if m.workload == workload]), end="\n\n", flush=True)
    if verdicts := judge(measurements):
        print("targets", format_verdicts(verdicts), sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(m) for m in measurements], indent=2) + "\n", encoding="utf8")


def list_contestants(choice: str, engines: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return the (engine, workload) pairs to race; growth and memory are for our engine unless others are named."""
    if choice in SIDE_BY_SIDE:
        return [(engine, choice) for engine in engines or ENGINES]
    workloads = GROWTH if choice == "growth" else (choice,)
    return [(engine, workload) for engine in engines or [OURS] for workload in workloads]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "workloads", nargs="*", choices=[*CHOICES, []], metavar="WORKLOAD", help=f"{', '.join(CHOICES)}; all"
    )
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), metavar="ENGINE", help=", ".join(ENGINES))
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="timed runs of each engine (5)")
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, metavar="FOLDER", help=f"cache ({DEFAULT_FOLDER})")
    parser.add_argument(
        "--python", action="append", default=[], metavar="ENGINE=PATH", help="interpreter in which a peer is installed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the measurements as JSON")
    return parser.parse_args(arguments)
