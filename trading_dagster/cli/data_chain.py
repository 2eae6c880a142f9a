"""The commands ``data chain`` and ``data rates``: swaps and share prices into the lake, Aave's rates into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.strategy.parameter_text import parse_time

if TYPE_CHECKING:
    from trading_dagster.evm.chain_source import ChainSource
    from trading_dagster.evm.vault_price import VaultPriceSource

ChainName = Annotated[str, typer.Option("--chain", help="Slug of the chain, such as ethereum or base.")]
RpcVariables = Annotated[
    list[str],
    typer.Option(
        "--rpc-env", metavar="NAME", help="Variable that holds a node's URL; may be repeated, the best first."
    ),
]
FirstBlock = Annotated[int | None, typer.Option("--from-block", help="First block to read.")]
Since = Annotated[str | None, typer.Option(help="Read from this time on, UTC: 2024-01-01 or 2024-01-01T12:00.")]
Events = Annotated[Path | None, typer.Option("--events", help="Folder in which events are kept.")]
Width = Annotated[str, typer.Option("--bucket", help="Width of the candles, such as 1m, 1h or 1d.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress bars.")]


def import_chain(
    chain: ChainName,
    rpc_env: RpcVariables,
    pool: Annotated[
        list[str] | None, typer.Option("--pool", metavar="ADDRESS", help="A pool; may be repeated.")
    ] = None,
    vault: Annotated[
        list[str] | None,
        typer.Option("--vault", metavar="ADDRESS", help="An ERC-4626 vault, in place of pools; may be repeated."),
    ] = None,
    bucket: Width = "1h",
    from_block: FirstBlock = None,
    since: Since = None,
    quote: Annotated[str | None, typer.Option(help="Symbol or address of the token that prices are in.")] = None,
    usd: Annotated[
        list[str] | None, typer.Option("--usd", metavar="TOKEN", help="A further token worth one USD; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the source in the lake; CHAIN swaps by default.")] = None,
    lake: Annotated[Path | None, typer.Option(help="Folder of the lake.")] = None,
    events: Events = None,
    no_progress: NoProgress = False,
) -> None:
    """Read swaps of Uniswap pools, or share prices of vaults, from a chain into the lake; goes on where it was."""
    from trading_dagster.evm.chain_feed import ChainFeed
    from trading_dagster.market.lake import Lake
    from trading_dagster.market.lake_import import import_candles

    if bool(pool) == bool(vault):
        raise BadInput("Give --pool or --vault, and not both: swaps and share prices are different sources")
    width = parse_bucket(bucket)
    feed = ChainFeed(chain, rpc_env, from_block, None if since is None else parse_time("--since", since), events)
    source: ChainSource | VaultPriceSource
    if vault:
        source = feed.open_vaults(vault)
    else:
        source = feed.open_source(pool or (), quote=quote, usd_tokens=usd or (), progress=not no_progress)
    store = Lake(lake)
    report = import_candles(store, source.settled(), name=name, bucket=width, progress=not no_progress)
    for market in source.list_markets():
        if market.bucket is width:
            typer.echo(
                f"{market.pair} on {market.exchange_slug}: candles of {market.bucket.value} from {market.first_at}"
            )
    typer.echo(f"{report.rows_added:,} candles added to {store.folder}; settled until {source.settled_end(width)} UTC")


def export_rates(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The Parquet file to write.", show_default=False)],
    chain: ChainName,
    rpc_env: RpcVariables,
    asset: Annotated[list[str], typer.Option("--asset", metavar="TOKEN", help="Symbol or address; may be repeated.")],
    bucket: Width = "1h",
    from_block: FirstBlock = None,
    since: Since = None,
    pool: Annotated[str | None, typer.Option(help="Address of Aave v3's pool; the chain's by default.")] = None,
    events: Events = None,
    no_progress: NoProgress = False,
) -> None:
    """Read Aave v3's supply and variable borrow rates from a chain into a file, percent a year by bar."""
    import pandas as pd

    from trading_dagster.evm.aave_rate import AaveRates
    from trading_dagster.evm.chain_feed import ChainFeed

    width = parse_bucket(bucket)
    feed = ChainFeed(chain, rpc_env, from_block, None if since is None else parse_time("--since", since), events)
    client, known = feed.open_client(), feed.describe()
    rates = AaveRates(
        client,
        known,
        feed.events_folder(),
        first_block=feed.find_first_block(client),
        pool=pool,
        progress=not no_progress,
    )
    addresses = {text if text.startswith("0x") else known.get_token(text).address: text for text in asset}
    found = rates.read(list(addresses), width)
    frames = [
        frame.reset_index().assign(asset=address, symbol=addresses[address], rate=rate.value)
        for (address, rate), frame in found.items()
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(frames, ignore_index=True).to_parquet(file, index=False)
    typer.echo(f"{sum(map(len, frames)):,} rates of {len(addresses)} tokens written to {file}")


def parse_bucket(text: str) -> TimeBucket:
    """Return a width by its name or value; raises BadInput."""
    for bucket in TimeBucket:
        if text in (bucket.name, bucket.value):
            return bucket
    raise BadInput(f"--bucket is {text!r}: use one of {', '.join(bucket.value for bucket in TimeBucket)}")
