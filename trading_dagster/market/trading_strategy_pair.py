"""Which pairs of the Trading Strategy data service are served: chosen from its table of all pairs, kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.error import BadInput, CandleContractBroken, UnknownPair
from trading_dagster.domain.identifier import ChainId, TradingPairIdentifier
from trading_dagster.market.atomic_file import write_atomically
from trading_dagster.market.lake import Lake
from trading_dagster.market.pair_table import COLUMNS, PairTable
from trading_dagster.market.trading_strategy_api import TradingStrategyApi

PAIR_ID = "pair_id"
SHOWN = 4
RENAMED = {"address": "pool_address", "base_token_symbol": "base_symbol", "quote_token_symbol": "quote_symbol"}
NEEDED = ("chain_id", "pool_address", "base_symbol", "quote_symbol", "exchange_slug")
ADDRESS_SIGN = "0x"


@dataclass(frozen=True, slots=True)
class ServedPair:
    """A pair of the service: its number there, and what it is on its chain."""

    pair_id: int
    identifier: TradingPairIdentifier

    @property
    def chain(self) -> ChainId:
        """Return the chain."""
        return ChainId(self.identifier.base.chain_id)

    @property
    def ticker(self) -> str:
        """Return BASE/QUOTE."""
        return f"{self.identifier.base.token_symbol}/{self.identifier.quote.token_symbol}"


def default_pair_file(lake: Lake | None = None) -> Path:
    """Return where the table of pairs is kept when nothing else is said: beside the lake."""
    return (lake or Lake()).folder.parent / "trading-strategy" / "pairs.parquet"


def choose_pairs(
    wanted: Sequence[str], *, file: Path, api: TradingStrategyApi | None = None, chain: str = ""
) -> tuple[ServedPair, ...]:
    """Return pairs by name or address, in the order asked for.

    Args:
        wanted: BASE/QUOTE, BASE/QUOTE@exchange, or the address of the pool.
        file: The table of pairs, as the service has it, or one with the columns of `pair_table.COLUMNS` and
            ``pair_id``. One that is not there is downloaded.
        api: Where to download it.
        chain: Slug of the chain; "" looks on all.

    Raises:
        BadInput: Nothing is wanted, a name fits several pairs, the chain is unknown, or the table cannot be used.
        UnknownPair: The table has not such a pair.
    """
    if not wanted:
        raise BadInput("pairs is empty: the service has too many to take all; name at least one")
    if not file.is_file():
        download_pairs(api or TradingStrategyApi(), file)
    table = _read(file)
    if chain:
        chains = {each.get_slug(): int(each) for each in ChainId}
        if chain not in chains:
            raise BadInput(f"chain is {chain!r}: use one of {', '.join(chains)}")
        table = table[table["chain_id"] == chains[chain]]
    rows = pd.concat([_find(table, name, file) for name in dict.fromkeys(wanted)])
    clear = rows.drop_duplicates(PAIR_ID).reset_index(drop=True)
    chosen = PairTable.from_frame(clear[[name for name in COLUMNS if name in clear]], source_name=str(file))
    return tuple(map(ServedPair, clear[PAIR_ID].astype(int).tolist(), chosen.to_pairs()))


def download_pairs(api: TradingStrategyApi, file: Path) -> None:
    """Write the service's table of pairs to a file, with addresses of exchanges where it lacks them."""
    raw = pq.read_table(pa.BufferReader(api.fetch_pair_dataset())).to_pandas()
    is_known = all(name in raw and not raw[name].isna().any() for name in ("exchange_address", "exchange_slug"))
    if not is_known and "exchange_id" in raw:
        known = api.fetch_exchanges()
        for column, field in (("exchange_address", "address"), ("exchange_slug", "exchange_slug")):
            found = raw["exchange_id"].map({number: item.get(field) for number, item in known.items()})
            raw[column] = raw[column].fillna(found) if column in raw else found
    table = pa.Table.from_pandas(raw, preserve_index=False)
    write_atomically(file, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _read(file: Path) -> pd.DataFrame:
    """Return a table of pairs with `COLUMNS`, as far as they are known, and ``pair_id``."""
    try:
        raw = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise CandleContractBroken(f"pair_file {file}: not readable ({error}); delete it and run again") from error
    if PAIR_ID not in raw:
        raise BadInput(f"pair_file {file}: column {PAIR_ID} is missing: the service knows pairs by their number there")
    frame = raw.rename(columns=RENAMED) if "base_token_symbol" in raw else raw
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise BadInput(f"pair_file {file}: {', '.join(missing)} is missing, it has {', '.join(raw.columns)}")
    if "token0_address" in frame and "base_address" not in frame:
        frame = _with_sides(frame)
        frame["fee"] = frame["fee"].astype("float64") / 10_000 if "fee" in frame else np.nan  # basis points
    frame["pool_address"] = frame["pool_address"].astype("str").str.lower()
    known = frame["chain_id"].isin([int(chain) for chain in ChainId])
    return frame.loc[known, [name for name in (PAIR_ID, *COLUMNS) if name in frame]]


def _with_sides(frame: pd.DataFrame) -> pd.DataFrame:
    """Return base and quote of token0 and token1: the base is the one with the base's symbol."""
    is_first = (frame["token0_symbol"] == frame["base_symbol"]).to_numpy()
    made = frame.copy()
    for field in ("address", "decimals"):
        if f"token0_{field}" in frame:
            first, second = (frame[f"token{place}_{field}"].to_numpy() for place in (0, 1))
            made[f"base_{field}"] = np.where(is_first, first, second)
            made[f"quote_{field}"] = np.where(is_first, second, first)
    return made


def _find(table: pd.DataFrame, name: str, file: Path) -> pd.DataFrame:
    """Return the one row that a name or address means."""
    if name.lower().startswith(ADDRESS_SIGN):
        found = table[table["pool_address"] == name.lower()]
    else:
        ticker, _, exchange = name.partition("@")
        base, _, quote = ticker.partition("/")
        found = table[(table["base_symbol"] == base) & (table["quote_symbol"] == quote)]
        found = found[found["exchange_slug"] == exchange] if exchange else found
    if found.empty:
        raise UnknownPair(
            f"pairs: no {name} in {file}: give BASE/QUOTE, BASE/QUOTE@exchange or the pool's address; "
            "delete the file to have it downloaded anew"
        )
    if len(found) > 1:
        shown = [
            f"{row.pool_address} ({row.exchange_slug} on chain {row.chain_id})"
            for row in found.head(SHOWN).itertuples(index=False)
        ]
        more = " ..." if len(found) > SHOWN else ""
        raise BadInput(f"pairs: {name} fits {len(found)} pairs: give the address of one: {', '.join(shown)}{more}")
    return found
