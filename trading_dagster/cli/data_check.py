"""What the command ``data check`` does: the quality of every pair, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import typer

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import find_defects
from trading_dagster.market.quality import judge_quality, quality_report
from trading_dagster.market.source import CandleSource, Market, group_markets
from trading_dagster.market.time_shift import find_time_shift

MOST_ROWS = 60


def run_check(source: CandleSource, reference: CandleSource | None, picture: Path | None) -> bool:
    """Print what is wrong with each pair; tell whether all candles keep the contract."""
    clean = True
    painted = {}
    with pd.option_context(
        "display.width", 250, "display.max_columns", 50, "display.max_rows", MOST_ROWS, "display.max_colwidth", 90
    ):
        for bucket, markets, frame in read_groups(source):
            report = quality_report(frame, bucket, source.name)
            typer.echo(f"{source.name}: {len(frame):,} candles of {bucket.value}\n{report.to_string(index=False)}\n")
            alarms = judge_quality(report)
            typer.echo(alarms.to_string(index=False) if len(alarms) else "Nothing stands out.")
            for defect in find_defects(frame, bucket, source.name, any_order=True):
                clean = False
                typer.echo(f"Broken: {defect}", err=True)
            if reference is not None:
                _compare_clocks(frame, reference, bucket)
            if picture is not None:
                painted[f"{markets[0].exchange_slug} {bucket.value}"] = (bucket, frame)
    if picture is not None:
        _paint(picture, painted)
    typer.echo("All candles keep the contract." if clean else "Some candles break the contract.")
    return clean


def read_groups(source: CandleSource) -> Iterator[tuple[TimeBucket, list[Market], pd.DataFrame]]:
    """Yield bucket, markets and candles of what a source can give in one question."""
    for group in group_markets(source.list_markets()):
        start = min(market.first_at for market in group)
        end = max(market.end_at for market in group)
        frames = [frame.assign(pair=frame["pair"].astype("str")) for frame in source.load_candles(group, start, end)]
        yield group[0].bucket, group, pd.concat(frames, ignore_index=True)


def _compare_clocks(frame: pd.DataFrame, reference: CandleSource, bucket: TimeBucket) -> None:
    """Say of each pair that the reference has too whether their clocks agree."""
    for pair, own in frame.groupby("pair"):
        for market in reference.list_markets():
            if (market.pair, market.bucket) != (pair, bucket):
                continue
            others = pd.concat(reference.load_candles([market], market.first_at, market.end_at), ignore_index=True)
            found = find_time_shift(own, others, bucket)
            if found is None:
                typer.echo(f"{pair}: too few bars in common with {market.exchange_slug} to compare the clocks")
            elif found.is_shifted:
                typer.echo(
                    f"{pair}: {found.shift} away from {market.exchange_slug} (returns correlate "
                    f"{found.correlation:.2f} once shifted, {found.unshifted:.2f} as they are): "
                    "subtract it from the times"
                )
            else:
                typer.echo(f"{pair}: same clock as {market.exchange_slug} (returns correlate {found.correlation:.2f})")


def _paint(path: Path, painted: dict[str, tuple[TimeBucket, pd.DataFrame]]) -> None:
    from trading_dagster.charts.quality import paint_quality  # only this pays for painting

    for place, (name, (bucket, frame)) in enumerate(painted.items()):
        target = path if place == 0 else path.with_name(f"{path.stem}-{place + 1}{path.suffix}")
        target.write_bytes(paint_quality(frame, bucket, title=name))
        typer.echo(f"Picture of {name}: {target}")
