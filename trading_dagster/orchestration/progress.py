"""Show how far a long step is: nothing by default, bars on the terminal from the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from tqdm import tqdm

Advance = Callable[[int, int], object]
"""Called with (done, total)."""


class Progress(Protocol):
    """Where long steps report to; the Dagster resource ``progress``."""

    def bar(self, description: str, unit: str) -> AbstractContextManager[Advance | None]:
        """Return what to call with (done, total) while the block runs, None when nobody looks."""


class SilentProgress:
    """Reports nothing."""

    def bar(self, description: str, unit: str) -> AbstractContextManager[Advance | None]:  # noqa: ARG002 - port
        """Return None."""
        return nullcontext()


class TerminalProgress:
    """Draws bars on the standard error stream as it was when this was made: Dagster redirects it within steps."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2), "w")

    def close(self) -> None:
        """Close the copy of the stream."""
        self._file.close()

    @contextmanager
    def bar(self, description: str, unit: str) -> Iterator[Advance | None]:
        """Draw a bar while the block runs, or only its end where the stream is no terminal."""
        with tqdm(desc=f"{description:<28}", unit=unit, file=self._file, dynamic_ncols=True, mininterval=0.2) as bar:

            def advance(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield advance
