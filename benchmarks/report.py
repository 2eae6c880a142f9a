"""Tables of measurements and verdicts, as text."""

from collections.abc import Sequence

from benchmarks.engine import ENGINES, OURS
from benchmarks.race import Measurement, compare_seconds
from benchmarks.target import Verdict
from benchmarks.workload import WORKLOADS

EQUITY_TOLERANCE = 1e-6
HEADER = ("engine", "kind", "median s", "bars/s", "peak MiB", "final equity", "fills", "equity", "time / ours")
WORDS = {True: "met", False: "NOT MET", None: "not measured"}


def format_workload(measurements: Sequence[Measurement]) -> str:
    """Return the table of one workload, fastest first, and what to know about its rows."""
    workload = WORKLOADS[measurements[0].workload]
    ours = next((m for m in measurements if m.engine == OURS and m.seconds), None)
    ran = sorted((m for m in measurements if m.seconds), key=lambda m: m.median_s)
    reference = find_reference(ran)
    rows = [HEADER, *(_make_row(m, reference, ours) for m in ran)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADER))]
    lines = [f"{workload.name}: {workload.title} ({workload.rows:,} candles, fee {workload.fee:.4%})"]
    for row in rows:
        left, *right = (
            cell.ljust(w) if k < 2 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(["", left, *right]))
    notes = {m.engine: m.problem or ENGINES[m.engine].deviations for m in measurements}
    lines += [f"  {engine}: {note}" for engine, note in notes.items() if note]
    return "\n".join(lines)


def find_reference(ran: Sequence[Measurement]) -> Measurement | None:
    """Return the measurement whose equity the others are held to: a floor where one ran."""
    floors = [m for m in ran if m.engine.endswith("-floor")]
    return (floors or list(ran) or [None])[0]


def format_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Return one line a target."""
    width = max(len(verdict.target) for verdict in verdicts)
    return "\n".join(f"  {v.target.ljust(width)}  {v.measured}  {WORDS[v.is_met]}" for v in verdicts)


def _make_row(measurement: Measurement, reference: Measurement | None, ours: Measurement | None) -> tuple[str, ...]:
    assert reference is not None
    difference = abs(measurement.equity / reference.equity - 1)
    agrees = (
        "same" if difference <= EQUITY_TOLERANCE and measurement.fills == reference.fills else f"off {difference:.1e}"
    )
    return (
        f"{measurement.engine} {measurement.version}".strip(),
        ENGINES[measurement.engine].kind.value,
        f"{measurement.median_s:.4f}",
        f"{measurement.bars_per_second:,.0f}",
        f"{measurement.peak_mib:,.0f}",
        f"{measurement.equity:,.4f}",
        f"{measurement.fills:,}",
        "reference" if measurement is reference else agrees,
        f"{compare_seconds(measurement, ours):.3f}" if ours else "",
    )
