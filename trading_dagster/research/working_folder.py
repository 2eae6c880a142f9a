"""A temporary folder for a search, which does not stay when the search is killed: the next one removes it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if os.name == "posix":
    import fcntl

PREFIX = "trading-dagster-search-"
LOCK = ".lock"


@contextmanager
def working_folder(purpose: str) -> Iterator[Path]:
    """Yield a new folder that is removed in the end; those that killed processes of this user left are removed first.

    A folder is in use as long as a process holds the lock in it, which the system frees when the process dies. Where
    the system has no such locks, nothing of others is removed.

    Args:
        purpose: A part of its name, for people who look at what is in the temporary folder.
    """
    if os.name != "posix":
        with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}-") as name:
            yield Path(name)
        return
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
    unlocked = folder / f"{LOCK}.new"
    with unlocked.open("x") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        unlocked.rename(folder / LOCK)  # nobody meets a lock that is not held yet
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def remove_abandoned() -> None:
    """Remove the working folders of this user whose processes are dead."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            is_own = folder.lstat().st_uid == os.getuid()  # of a link: whose link it is, and rmtree follows none
            if not is_own or folder.is_symlink():
                continue
            with (folder / LOCK).open("r+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is in use, has no lock yet, or another process is removing it
            continue
