"""A background process that keeps pools of a local chain at the opens of replayed candles."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from trading_dagster.domain.error import EvmError, TradingDagsterError
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.demo_market import DemoPool
from trading_dagster.evm.dev_node import DevNode
from trading_dagster.evm.price_mover import Move, PriceMover
from trading_dagster.market.replay_source import ReplaySource

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class FollowedPool:
    """A pool, and the candles whose opens it is brought to."""

    pool: DemoPool
    pair: HumanReadableTradingPairDescription
    bucket: TimeBucket


@dataclass(frozen=True, slots=True)
class FollowPlan:
    """What the background process does; it must be picklable, the source's clock too.

    Args:
        url: Of the node.
        account: An account of the node that has the tokens of all pools.
        source: The replay. Its candles may be seen here earlier than by the strategy, whose own replay of the same
            clock then has a publication delay: the pools are at the open when the strategy may first trade at it.
        pools: What follows what.
        poll_s: Wall-clock seconds between two looks at the clock.
        log: File for one line a move; None for none.
    """

    url: str
    account: str
    source: ReplaySource
    pools: tuple[FollowedPool, ...]
    poll_s: float = 0.05
    log: Path | None = None


class PriceFollower:
    """The background process. It ends with ``stop``, with the block it is used in, or with its parent.

    Example::

        with PriceFollower(plan) as follower:
            ...
            follower.check()
    """

    def __init__(self, plan: FollowPlan) -> None:
        self._plan = plan
        self._process: BaseProcess | None = None
        self._link: Connection | None = None

    def start(self) -> None:
        """Start the process, and return once every pool is at its open; raises EvmError when it fails."""
        context = multiprocessing.get_context("spawn")
        self._link, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(self._plan, theirs), name="price-follower", daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise EvmError when the process has ended by itself."""
        if self._process is not None and not self._process.is_alive():
            self._receive()

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.is_alive()

    def stop(self) -> None:
        """End the process after the move it is at; does nothing when it does not run."""
        process, link = self._process, self._link
        self._process = self._link = None
        if link is not None:
            link.close()  # which the process takes as the sign to end
        if process is None:
            return
        process.join(STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _receive(self) -> None:
        assert self._link is not None
        try:
            said = self._link.recv()
        except (EOFError, OSError):
            said = "it was killed"
        if said is not None:
            raise EvmError(f"The price follower has ended: {said}")


def follow(
    plan: FollowPlan, mover: PriceMover, is_over: Callable[[float], bool], report: Callable[[], None] = lambda: None
) -> None:
    """Bring each pool to the newest open whenever a candle begins, until told to end.

    Args:
        plan: What follows what.
        mover: Moves the pools.
        is_over: Waits for so many seconds; tells whether to end.
        report: Called once every pool is at its open for the first time.
    """
    reached: dict[str, datetime] = {}
    is_reported = False
    while True:
        follow_once(plan.source, plan.pools, mover, reached)
        if not is_reported:
            report()
            is_reported = True
        if is_over(plan.poll_s):
            return


def follow_once(
    source: ReplaySource, pools: Sequence[FollowedPool], mover: PriceMover, reached: dict[str, datetime]
) -> list[Move]:
    """Bring each pool to the newest open of its candles, if that is a new one; return what was moved.

    ``reached`` has by pool address the bar that was looked at last, naive UTC; it is brought up to date.
    """
    moves = []
    for item in pools:
        address = item.pool.pair.pool_address
        bar = item.bucket.floor(source.seen_until())
        if reached.get(address) == bar:
            continue
        found = source.read_open(item.pair, item.bucket)
        if found is not None:
            move = mover.move(item.pool, found[1])
            logger.info(
                "%s at %s: %s -> %s in %s",
                item.pool.pair,
                found[0],
                float(move.before),
                float(move.after),
                move.tx_hash,
            )
            moves.append(move)
        reached[address] = bar
    return moves


def _run(plan: FollowPlan, link: Connection) -> None:
    """Follow until the other end of the link is closed or the parent is gone; the target of the process."""
    if plan.log is not None:
        plan.log.parent.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(filename=plan.log, level=logging.INFO, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt at the terminal is for the parent, which then stops us
    parent = multiprocessing.parent_process()
    assert parent is not None

    def is_over(seconds: float) -> bool:
        return bool(wait([link, parent.sentinel], seconds))

    mover = PriceMover(DevNode(plan.url), plan.account)
    try:
        follow(plan, mover, is_over, lambda: link.send(None))
    except (TradingDagsterError, OSError) as error:
        logger.exception("The price follower ends")
        if not wait([parent.sentinel], 0):
            link.send(f"{type(error).__name__}: {error}")
