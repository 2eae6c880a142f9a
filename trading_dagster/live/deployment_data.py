"""Where the candles of a deployment come from: the kinds of source that its file may name."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from trading_dagster.live.deployment_field import STRICT, Address, VariableName


@dataclass(frozen=True, slots=True, config=STRICT)
class SampleData:
    """The candles that come with the package."""

    source: Literal["sample"] = "sample"


@dataclass(frozen=True, slots=True, config=STRICT)
class FileData:
    """A file or folder of candles; relative paths begin at the deployment's file."""

    source: Literal["file"]
    path: Path


@dataclass(frozen=True, slots=True, config=STRICT)
class LakeData:
    """A source in the lake; ``folder`` None is the lake of the environment."""

    source: Literal["lake"]
    name: str
    folder: Path | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class ExchangeData:
    """The public candles of a centralised exchange, asked for when they are needed; no keys.

    Attributes:
        name: Its id in ccxt.
        symbols: BASE/QUOTE of the pairs to serve; none named serves all of its spot pairs.
        api_url: Base of its public interface, for a mirror.
    """

    source: Literal["exchange"]
    name: str = "binance"
    symbols: tuple[Annotated[str, StringConstraints(pattern=r"^[^/@\s]+/[^/@\s]+$")], ...] = ()
    api_url: str | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class ChainData:
    """Swaps of pools of the deployment's chain, or share prices of vaults, read from its nodes when they are needed.

    Attributes:
        pools: Addresses of Uniswap v2 and v3 pools, or of their forks.
        vaults: Addresses of ERC-4626 vaults, in place of pools.
        since: The time from which they are read, aware UTC; early enough for the strategy's history.
        quote: Symbol or address of the token that prices are in; None finds out.
        usd: Addresses of tokens worth one USD that are not among the chain's known stablecoins.
        confirmations: Blocks on top of the one that closes a candle; None is the chain's number.
        folder: Where events are kept; None is that of the environment.
    """

    source: Literal["chain"]
    since: datetime
    pools: tuple[Address, ...] = ()
    vaults: tuple[Address, ...] = ()
    quote: str | None = None
    usd: tuple[Address, ...] = ()
    confirmations: Annotated[int, Field(ge=0, le=10_000)] | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.since.tzinfo is None:
            raise ValueError("since has no time zone: write it as 2024-01-01T00:00:00Z")
        if bool(self.pools) == bool(self.vaults):
            raise ValueError("give pools or vaults, and not both: one deployment reads one kind")


@dataclass(frozen=True, slots=True, config=STRICT)
class ServiceData:
    """Pairs of the Trading Strategy data service, asked for when they are needed.

    Attributes:
        symbols: BASE/QUOTE, BASE/QUOTE@exchange, or the address of a pool.
        chain: Slug of their chain; "" looks on all.
        pair_file: Table of its pairs; one that is not there is downloaded. None takes one beside the lake.
        key_env: Variable that holds the key.
        api_url: Base address, for a mirror.
    """

    source: Literal["trading_strategy"]
    symbols: Annotated[tuple[str, ...], Field(min_length=1)]
    chain: str = ""
    pair_file: Path | None = None
    key_env: VariableName = "TRADING_STRATEGY_API_KEY"
    api_url: str | None = None


CandleData: TypeAlias = Annotated[
    SampleData | FileData | LakeData | ExchangeData | ChainData | ServiceData, Field(discriminator="source")
]
