"""Bring a lake up to date and make it small: the newest version of every file, tight compression, no leftovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.market.atomic_file import TEMPORARY_SUFFIX, exclusive
from trading_dagster.market.lake import MONTH_FILES, Lake, folder_name
from trading_dagster.market.lake_import import LOCK, MANIFEST, month_lock, write_manifest
from trading_dagster.market.month_file import (
    VERSION,
    find_renames,
    hash_rows,
    read_footer,
    read_month,
    rename_markets,
    write_month,
)
from trading_dagster.market.month_import import rename_repairs


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did.

    Args:
        rewritten: The months that were written anew.
        migrated: Those of them that were of an older version.
        leftovers: Files of killed writers that were removed.
        bytes_before: Size of the months and leftovers before.
        bytes_after: Size of the months after.
        damaged: Months that cannot be read, or whose candles do not match their hash; they are left as they are.
    """

    rewritten: Sequence[Path]
    migrated: Sequence[Path]
    leftovers: Sequence[Path]
    bytes_before: int
    bytes_after: int
    damaged: Sequence[Path]


def compact_lake(lake: Lake, *, source: str | None = None, progress: bool = False) -> CompactionReport:
    """Rewrite months that are of an older version or loosely compressed, and remove what killed writers left.

    Content hashes stay as they are, but of months in which an older version called markets otherwise. Each month is
    replaced in one rename under its lock: readers and writers may go on, and a compaction that was killed is simply run
    again.

    Args:
        lake: The lake.
        source: Only this source; None for all.
        progress: Show a progress bar.

    Raises:
        LakeNotSupported: A file was written by a newer version.
    """
    rewritten: list[Path] = []
    migrated: list[Path] = []
    leftovers: list[Path] = []
    damaged: list[Path] = []
    before = after = 0
    pattern = "*" if source is None else folder_name(source)
    folders = sorted({path.parent for path in lake.folder.glob(f"{pattern}/*/*") if path.is_file()})
    months = {folder: sorted({*folder.glob(MONTH_FILES), *map(_month_of, _leftovers(folder))}) for folder in folders}
    with tqdm(total=sum(map(len, months.values())), desc="Compacting", unit="month", disable=not progress) as bar:
        for folder, paths in months.items():
            for path in paths:
                with exclusive(month_lock(path)):
                    for rest in _leftovers(folder, path):
                        before += rest.stat().st_size
                        rest.unlink(missing_ok=True)
                        leftovers.append(rest)
                    if path.is_file():
                        before += path.stat().st_size
                        _compact_month(path, rewritten, migrated, damaged)
                        after += path.stat().st_size
                bar.update()
            with exclusive(folder / LOCK):
                for rest in folder.glob(f".{MANIFEST}.*{TEMPORARY_SUFFIX}"):
                    rest.unlink(missing_ok=True)
                    leftovers.append(rest)
                if not set(paths) & set(damaged):
                    write_manifest(folder)
    return CompactionReport(rewritten, migrated, leftovers, before, after, damaged)


def _compact_month(path: Path, rewritten: list[Path], migrated: list[Path], damaged: list[Path]) -> None:
    try:
        content = read_footer(path)
        if content.version == VERSION and content.is_compact:
            return
        stored = read_month(path, as_stored=True)
    except CandleContractBroken:
        damaged.append(path)
        return
    if hash_rows(stored) != content.content_hash:
        damaged.append(path)
        return
    bucket = next((coverage.market.bucket for coverage in content.coverages), None)
    if bucket is None:
        return
    renames = find_renames(path)
    rename_repairs(path)
    written = write_month(path, bucket, rename_markets(stored, renames), content.coverages, is_compact=True)
    assert renames or written.content_hash == content.content_hash
    rewritten.append(path)
    if content.version < VERSION:
        migrated.append(path)


def _leftovers(folder: Path, month: Path | None = None) -> list[Path]:
    """Return the temporary files of killed writers, of one month or of all."""
    name = "[0-9][0-9][0-9][0-9]-[0-9][0-9]" if month is None else month.stem
    return sorted(folder.glob(f".{name}.*{TEMPORARY_SUFFIX}"))


def _month_of(leftover: Path) -> Path:
    return leftover.with_name(f"{leftover.name[1:8]}.parquet")
