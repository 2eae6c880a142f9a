"""Turn errors of the engine into Dagster failures: no retries, and the engine's own message as their description."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from trading_dagster.domain.error import TradingDagsterError


@contextmanager
def explain_failures() -> Iterator[None]:
    """Raise what the engine refuses as ``dg.Failure``; trying again would not change it."""
    try:
        yield
    except TradingDagsterError as error:
        raise dg.Failure(
            description=str(error), metadata={"error": type(error).__name__}, allow_retries=False
        ) from error
