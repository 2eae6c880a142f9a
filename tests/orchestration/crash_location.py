"""The project's code location whose runs die, or fail, at a named point: what the daemon serves in the crash test.

The point is in the file that an environment variable names; the process that reaches it takes the file away first, so
that it happens once. Points are ``before``/``after`` each step of a cycle and each save, and the steps of the
transaction protocol; ``:2`` at the end is the second time a process passes it, ``fail `` before it raises instead.
"""

import os
import signal
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

from trading_dagster.definitions import defs
from trading_dagster.evm.alarm import Step
from trading_dagster.live import chain_opening, opening, session
from trading_dagster.live.evm_venue import EvmVenue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.orchestration import live_asset

__all__ = ["defs"]

VARIABLE = "TRADING_DAGSTER_TEST_CRASH"
LEASE_S = 4.0
"""How long a killed run keeps its successor waiting."""
STEPS = {
    "universe": "start_cycle",
    "indicators": "calculate_step",
    "decisions": "decide_step",
    "trades": "execute_step",
    "statistics": "complete_step",
}
passed: dict[str, int] = {}


def pass_point(name: str) -> None:
    """Die or raise here when this is the point."""
    passed[name] = passed.get(name, 0) + 1
    file = Path(os.environ[VARIABLE])
    try:
        wanted = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    point, _, count = wanted.removeprefix("fail ").partition(":")
    if point != name or passed[name] != int(count or 1):
        return
    file.rename(file.with_name("reached"))
    if wanted.startswith("fail "):
        raise RuntimeError(f"the test makes it fail {name}")
    os.kill(os.getpid(), signal.SIGKILL)


def around(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with a point before and one after it."""

    @wraps(work)
    def with_points(*arguments: Any, **named: Any) -> Any:
        pass_point(f"before {name}")
        result = work(*arguments, **named)
        pass_point(f"after {name}")
        return result

    return with_points


def observe(step: Step, intent_id: str) -> None:
    """Pass the point of a transaction's step."""
    kind = "approve" if intent_id.count("/") > 3 else "swap"
    pass_point(f"{step.value} {kind}")


PATCHES: list[tuple[object, str, Callable[..., Any]]] = [
    *((live_asset, function, around(step, getattr(live_asset, function))) for step, function in STEPS.items()),
    (session.LiveSession, "save", around("save", session.LiveSession.save)),
    (chain_opening, "EvmVenue", partial(EvmVenue, observe=observe)),
    (opening, "LiveStrategy", partial(LiveStrategy, lease_s=LEASE_S)),
]
if VARIABLE in os.environ:  # in the processes of the daemon, not where the tests import this module
    for place, name, replacement in PATCHES:
        setattr(place, name, replacement)
