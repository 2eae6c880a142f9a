"""The speed targets of the project, judged from measurements; they inform and never fail a build."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.engine import OURS, OURS_MEASURED
from benchmarks.race import Measurement, compare_seconds
from benchmarks.workload import WORKLOADS

GROWTH_CYCLES = 16
GROWTH_LIMIT = 17.0
MEMORY_LIMIT_MIB = 4096.0
ALPHA_CYCLES_PER_SECOND = 1000.0


@dataclass(frozen=True, slots=True)
class Target:
    """Our engine must be at least `factor` times as fast as a peer.

    Attributes:
        workload: Workload name.
        peer: Engine to beat.
        factor: Required ratio of speeds, ours to the peer's.
        ours: Which of our paths the target is for.
    """

    workload: str
    peer: str
    factor: float
    ours: str = OURS


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target with what was measured.

    Attributes:
        target: The target in words.
        measured: The measured number in words, or why there is none.
        is_met: Whether it holds; None when it could not be measured.
    """

    target: str
    measured: str
    is_met: bool | None


TARGETS = (
    Target("w1", "backtesting.py", 2.0),
    Target("w2", "backtesting.py", 2.0),
    Target("w3", "bt", 5.0, OURS_MEASURED),
    Target("w3", "vectorbt", 1.0),
    Target("w4", "bt", 5.0, OURS_MEASURED),
    Target("w4", "vectorbt", 1.0),
    Target("w5", "backtesting.py", 2.0),
    Target("alpha", "bt", 5.0, OURS_MEASURED),
    Target("alpha", "backtrader", 5.0),
)


def judge(measurements: Sequence[Measurement]) -> list[Verdict]:
    """Return a verdict for each target whose workload was measured."""
    known = {(measurement.engine, measurement.workload): measurement for measurement in measurements}
    verdicts = [_judge_speed(target, known) for target in TARGETS if (target.ours, target.workload) in known]
    small, large = known.get((OURS, "growth-20k")), known.get((OURS, "growth-320k"))
    if small and large:
        verdicts.append(_judge_growth(small, large))
    if memory := known.get((OURS, "memory")):
        verdicts.append(_judge_memory(memory))
    if alpha := known.get((OURS, "alpha")):
        verdicts.append(_judge_alpha(alpha))
    return verdicts


def _judge_alpha(alpha: Measurement) -> Verdict:
    words = f"alpha: at least {ALPHA_CYCLES_PER_SECOND:,.0f} decisions of the alpha model over 136 pairs a second"
    if alpha.problem:
        return Verdict(words, alpha.problem, None)
    rate = WORKLOADS["alpha"].bars / alpha.median_s
    return Verdict(words, f"{rate:,.0f}", rate >= ALPHA_CYCLES_PER_SECOND)


def _judge_speed(target: Target, known: dict[tuple[str, str], Measurement]) -> Verdict:
    words = f"{target.workload}: {target.ours} at least {target.factor:g} x {target.peer}"
    ours, peer = known[target.ours, target.workload], known.get((target.peer, target.workload))
    problem = ours.problem or (peer.problem if peer else f"{target.peer} was not run")
    if problem or peer is None:
        return Verdict(words, problem, None)
    ratio = compare_seconds(peer, ours)
    return Verdict(words, f"{ratio:.2f} x", ratio >= target.factor)


def _judge_growth(small: Measurement, large: Measurement) -> Verdict:
    words = f"growth: {GROWTH_CYCLES} x the cycles in at most {GROWTH_LIMIT:g} x the time"
    problem = small.problem or large.problem
    if problem:
        return Verdict(words, problem, None)
    ratio = compare_seconds(large, small)
    return Verdict(words, f"{ratio:.2f} x", ratio <= GROWTH_LIMIT)


def _judge_memory(memory: Measurement) -> Verdict:
    words = f"memory: 17.5 M candles, 3 indicators and the run under {MEMORY_LIMIT_MIB:g} MiB"
    if memory.problem:
        return Verdict(words, memory.problem, None)
    return Verdict(words, f"{memory.peak_mib:,.0f} MiB", memory.peak_mib <= MEMORY_LIMIT_MIB)
