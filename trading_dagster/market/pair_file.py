"""Files of pools of decentralised exchanges, in the layouts in which they are published, as tables of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing
from trading_dagster.domain.identifier import ChainId
from trading_dagster.market.atomic_file import write_atomically
from trading_dagster.market.pair_table import COLUMNS, PairTable, join_tables

QUOTE_TOKENS: Mapping[int, tuple[str, ...]] = {
    ChainId.ethereum: (
        "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48",  # USDC
        "0xdac17f958d2ee523a2206206994597c13d831ec7",  # USDT
        "0x6b175474e89094c44da98b954eedeac495271d0f",  # DAI
        "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",  # WETH
        "0x2260fac5e5542a773aa44fbcfedf7c193bc2c599",  # WBTC
    ),
    ChainId.base: (
        "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913",  # USDC
        "0xd9aaec86b65d86f6a7b5b1b0c42ffa531710b6ca",  # USDbC
        "0x50c5725949a6f0c72e6c4a641f24049a917db0cb",  # DAI
        "0x4200000000000000000000000000000000000006",  # WETH
    ),
}
"""Tokens that prices are in, the first that a pool has; addresses, because any token may call itself USDC."""
STABLECOINS = {ChainId.ethereum: 3, ChainId.base: 3}
"""How many of `QUOTE_TOKENS` are stablecoins."""
BY_TOKEN = {"pool": "pool_address", "created_at": "created_at"}
BY_SIDE = {
    "base": "base_symbol",
    "quote": "quote_symbol",
    "base_token_address": "base_address",
    "quote_token_address": "quote_address",
    "base_token_decimals": "base_decimals",
    "quote_token_decimals": "quote_decimals",
}


def read_pair_table(
    path: Path | str,
    *,
    chain: ChainId | None = None,
    exchange: str | None = None,
    quote_tokens: Sequence[str] | None = None,
    categories: Mapping[str, Iterable[str]] | None = None,
) -> PairTable:
    """Read a Parquet or CSV file of pools.

    Layouts: our own (columns of `COLUMNS`); one with ``token0``, ``token1`` and ``pool``, as creation events have it;
    one with ``base``, ``quote`` and their ``_token_address`` and ``_token_decimals``. Fees may be fractions, basis
    points (none above 100) or millionths (as in Uniswap v3's contracts).

    Args:
        path: The file.
        chain: Of all pools, where the file does not say it.
        exchange: Slug of all pools' exchange, where the file does not say it.
        quote_tokens: Addresses of tokens that prices are to be in, the most wanted first; of a pool with none of them
            token1 is. None takes known ones of the chain.
        categories: By category the addresses of its tokens. ``stablecoin`` and ``quote`` are known by themselves.

    Raises:
        MarketDataMissing: There is no such file.
        BadInput: The layout is not known, or chain or exchange are.
    """
    path = Path(path)
    if not path.is_file():
        raise MarketDataMissing(f"path {path}: there is no such file; give a file of pools")
    try:
        raw = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise CandleContractBroken(f"path {path}: not readable ({error}); write the file again") from error
    if {"token0", "token1", "pool"} <= set(raw.columns):
        known = QUOTE_TOKENS.get(chain or 0, ())
        frame = _orient(raw, [token.lower() for token in (known if quote_tokens is None else quote_tokens)])
    elif {"base", "quote"} <= set(raw.columns):
        frame = raw.rename(columns=BY_SIDE)
    else:
        frame = raw
    for name, value in (("chain_id", chain), ("exchange_slug", exchange)):
        if name not in frame.columns:
            if value is None:
                raise BadInput(f"path {path}: it does not say {name}: give {'chain' if name == 'chain_id' else name}=")
            frame = frame.assign(**{name: value})
    frame = frame.assign(fee=_to_fraction(frame["fee"])) if "fee" in frame.columns else frame
    own = {**_known_categories(frame["chain_id"].unique().tolist()), **(categories or {})}
    return PairTable.from_frame(frame[[name for name in COLUMNS if name in frame.columns]], own, source_name=str(path))


def read_pair_folder(folder: Path) -> PairTable:
    """Read all files of pools in a folder as one table.

    Files are named CHAIN.EXCHANGE.parquet (or .csv), such as ethereum.uniswap-v3.parquet, or say chain and exchange.

    Raises:
        MarketDataMissing: There are none.
        BadInput: A name has an unknown chain, or a file cannot be used.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix in (".parquet", ".csv"))
    if not files:
        raise MarketDataMissing(f"path {folder}: no .parquet or .csv file of pools in it; put one there")
    tables = []
    for path in files:
        chain_name, _, exchange = path.stem.partition(".")
        if not exchange:
            tables.append(read_pair_table(path))
            continue
        chains = {chain.name: chain for chain in ChainId}
        if chain_name not in chains:
            raise BadInput(f"path {path}: {chain_name!r} is no chain: name the file CHAIN.EXCHANGE, of {list(chains)}")
        tables.append(read_pair_table(path, chain=chains[chain_name], exchange=exchange))
    return join_tables(tables)


def write_pair_table(table: PairTable, path: Path) -> None:
    """Write a table of pairs in our own layout, atomically."""
    arrow = pa.Table.from_pandas(table.frame, preserve_index=False)
    write_atomically(path, lambda temporary: pq.write_table(arrow, temporary, compression="zstd"))


def _orient(raw: pd.DataFrame, quote_tokens: Sequence[str]) -> pd.DataFrame:
    """Return base and quote columns of token0 and token1."""
    ranks = {token: rank for rank, token in enumerate(quote_tokens)}
    lowest = len(ranks)
    rank0, rank1 = (raw[token].str.lower().map(ranks).fillna(lowest) for token in ("token0", "token1"))
    is_flipped = (rank0 < rank1).to_numpy()
    columns: dict[str, object] = {}
    for field, suffix in (("address", ""), ("symbol", "_symbol"), ("decimals", "_decimals")):
        names = [f"token{place}{suffix}" for place in (0, 1)]
        if names[0] not in raw.columns:
            continue
        first, second = (raw[name].to_numpy() for name in names)
        columns[f"base_{field}"] = np.where(is_flipped, second, first)
        columns[f"quote_{field}"] = np.where(is_flipped, first, second)
    kept = {name: raw[source] for source, name in BY_TOKEN.items() if source in raw.columns}
    return pd.DataFrame({**columns, **kept, **{name: raw[name] for name in COLUMNS if name in raw.columns}})


def _to_fraction(fees: pd.Series) -> pd.Series:
    most = fees.max()
    if not most >= 1:
        return fees
    return fees.astype("float64") / (10_000 if most <= 100 else 1_000_000)


def _known_categories(chains: Sequence[int]) -> dict[str, list[str]]:
    stable = [token for chain in chains for token in QUOTE_TOKENS.get(chain, ())[: STABLECOINS.get(ChainId(chain), 0)]]
    return {"stablecoin": stable, "quote": [token for chain in chains for token in QUOTE_TOKENS.get(chain, ())]}
