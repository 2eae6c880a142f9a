"""Tables of all pairs, tokens and exchanges of chains: filtered by SQL or Python, as of a time, into pairs to trade.

One row a pool. What is not known of a pool is missing (NaN, NaT), never 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import (
    AssetIdentifier,
    ChainId,
    HumanReadableTradingPairDescription,
    TradingPairIdentifier,
)
from trading_dagster.domain.time import require_naive_utc

Mask: TypeAlias = "pd.Series[bool]"

COLUMNS = {
    "chain_id": "int64",
    "exchange_slug": "str",
    "exchange_address": "str",
    "pool_address": "str",
    "base_symbol": "str",
    "base_address": "str",
    "base_decimals": "float64",
    "quote_symbol": "str",
    "quote_address": "str",
    "quote_decimals": "float64",
    "fee": "float64",
    "created_at": "datetime64[us]",
    "ended_at": "datetime64[us]",
    "tvl": "float64",
    "volume": "float64",
}
"""``fee`` is a fraction; ``created_at`` and ``ended_at`` (of trading) naive UTC; ``tvl`` and ``volume`` USD."""
NUMBERS = ("fee", "tvl", "volume")


@dataclass(frozen=True, eq=False)
class PairTable:
    """Pools with what is known of them; every filter returns a smaller table.

    Args:
        frame: The columns of `COLUMNS`; each pool of a chain once.
        categories: By category the addresses of its tokens.
    """

    frame: pd.DataFrame
    categories: Mapping[str, frozenset[str]]

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, categories: Mapping[str, Iterable[str]] | None = None, *, source_name: str = "pairs"
    ) -> PairTable:
        """Check and normalise a frame; columns that are missing and may be unknown are filled with that.

        Raises:
            BadInput: A column is missing or unknown, a pool comes twice, a fee is no fraction.
        """
        needed = [name for name in COLUMNS if name.endswith(("symbol", "pool_address", "chain_id", "slug"))]
        missing = [name for name in needed if name not in frame.columns]
        surplus = [name for name in frame.columns if name not in COLUMNS]
        if missing or surplus:
            wrong = f"column {', '.join(missing)} is missing" if missing else f"column {', '.join(surplus)} is unknown"
            raise BadInput(f"{source_name}: {wrong}: a table of pairs has {', '.join(COLUMNS)}")
        made = pd.DataFrame({name: _column(frame, name) for name in COLUMNS}).reset_index(drop=True)
        twice = made.duplicated(["chain_id", "pool_address"])
        if twice.any():
            raise BadInput(
                f"{source_name}: {int(twice.sum())} pools come twice, first {made.loc[twice, 'pool_address'].iloc[0]}: "
                "keep one row of each"
            )
        bad = made["fee"].notna() & ~made["fee"].between(0, 1, inclusive="left")
        if bad.any():
            raise BadInput(f"{source_name}: fee {made.loc[bad, 'fee'].iloc[0]} is no fraction: 0.003 means 0.3 %")
        named = {name: frozenset(token.lower() for token in tokens) for name, tokens in (categories or {}).items()}
        return cls(made, named)

    def __len__(self) -> int:
        """Return the number of pools."""
        return len(self.frame)

    # Tables made of it

    def tokens(self) -> pd.DataFrame:
        """Return one row a token: chain_id, address, symbol, decimals, pair_count, tvl, volume, categories."""
        sides = [
            self.frame[["chain_id", f"{side}_address", f"{side}_symbol", f"{side}_decimals", "tvl", "volume"]].set_axis(
                ["chain_id", "address", "symbol", "decimals", "tvl", "volume"], axis=1
            )
            for side in ("base", "quote")
        ]
        grouped = pd.concat(sides).groupby(["chain_id", "address"], sort=True)
        table = grouped.agg(symbol=("symbol", "first"), decimals=("decimals", "first"), pair_count=("symbol", "size"))
        for name in ("tvl", "volume"):
            table[name] = grouped[name].sum(min_count=1)
        table = table.reset_index()
        table["categories"] = [
            ", ".join(name for name in sorted(self.categories) if address in self.categories[name])
            for address in table["address"]
        ]
        return table

    def exchanges(self) -> pd.DataFrame:
        """Return one row an exchange: chain_id, exchange_slug and _address, pair_count, first_pair_at, tvl, volume."""
        grouped = self.frame.groupby(["chain_id", "exchange_slug"], sort=True)
        table = grouped.agg(
            exchange_address=("exchange_address", "first"),
            pair_count=("pool_address", "size"),
            first_pair_at=("created_at", "min"),
        )
        for name in ("tvl", "volume"):
            table[name] = grouped[name].sum(min_count=1)
        return table.reset_index()

    # Filters

    def select(self, condition: str) -> PairTable:
        """Return the pools for which SQL holds: ``table.select("tvl > 1e6 AND fee <= 0.003")``.

        What may follow WHERE may be given, with ORDER BY and LIMIT too; columns are those of `COLUMNS`.

        Raises:
            BadInput: The SQL is wrong.
        """
        pairs = self.frame.assign(row=np.arange(len(self.frame)))
        with duckdb.connect() as connection:
            connection.register("pairs", pairs)
            try:
                rows = connection.sql(f"SELECT row FROM pairs WHERE {condition}").fetchnumpy()["row"]  # noqa: S608
            except duckdb.Error as error:
                raise BadInput(f"sql {condition!r}: {error}") from error
        return self._take(self.frame.iloc[np.asarray(rows, dtype=np.int64)])

    def listed_at(self, timestamp: datetime, *, unknown: bool | None = None) -> PairTable:
        """Return the pools that could be traded at a time: made by then, and not yet ended.

        Args:
            timestamp: Naive UTC.
            unknown: Whether pools whose creation is not known count as listed; None refuses them.

        Raises:
            BadInput: Some pools' creation is not known, so a universe of the past would have survivors only.
        """
        at = require_naive_utc(timestamp)
        is_unknown = self.frame["created_at"].isna()
        if is_unknown.any() and unknown is None:
            raise BadInput(
                f"created_at of {int(is_unknown.sum())} of {len(self)} pairs is not known, so whether they were listed "
                f"at {at} is not known: take it from candles with `with_spans`, or give unknown=False to leave them out"
            )
        is_made = (self.frame["created_at"] <= at) | (is_unknown & bool(unknown))
        return self._keep(is_made & ~(self.frame["ended_at"] <= at))

    def older_than(self, age: timedelta, at: datetime) -> PairTable:
        """Return the pools made at least ``age`` before a time, naive UTC."""
        return self._keep(self.frame["created_at"] <= require_naive_utc(at) - age)

    def on_chain(self, *chains: ChainId | int) -> PairTable:
        """Return the pools of chains."""
        return self._keep(self.frame["chain_id"].isin([int(chain) for chain in chains]))

    def on_exchange(self, *slugs: str) -> PairTable:
        """Return the pools of exchanges; raises BadInput when there is none of a name."""
        known = set(self.frame["exchange_slug"])
        unknown = [slug for slug in slugs if slug not in known]
        if unknown and len(self):
            raise BadInput(f"exchange {unknown[0]!r} is not in the table, which has {', '.join(sorted(known))}")
        return self._keep(self.frame["exchange_slug"].isin(slugs))

    def between(self, column: str, least: float | None = None, most: float | None = None) -> PairTable:
        """Return the pools whose fee, tvl or volume is in [least, most]; those where it is not known are left out."""
        if column not in NUMBERS:
            raise BadInput(f"column {column!r} is no number to filter by: use one of {', '.join(NUMBERS)}")
        values = self.frame[column]
        mask = values.notna()
        mask &= True if least is None else values >= least
        mask &= True if most is None else values <= most
        return self._keep(mask)

    def quoted_in(self, *tokens: str) -> PairTable:
        """Return the pools whose quote token is one of these addresses or symbols."""
        return self._keep(self._has("quote", tokens))

    def without_tokens(self, tokens: Collection[str]) -> PairTable:
        """Return the pools with none of these tokens, addresses or symbols, on either side."""
        return self._keep(~self._has("base", tokens) & ~self._has("quote", tokens))

    def in_category(self, *names: str) -> PairTable:
        """Return the pools whose base token is of one of these categories."""
        return self._keep(self.frame["base_address"].isin(self._category_tokens(names)))

    def not_in_category(self, *names: str) -> PairTable:
        """Return the pools whose base token is of none of these categories."""
        return self._keep(~self.frame["base_address"].isin(self._category_tokens(names)))

    def without_duplicates(self, by: str = "volume") -> PairTable:
        """Return of each base token on a chain the one pool with most volume (or ``by``); unknown counts as least.

        The lowest fee, then the lowest address, decides between equals.
        """
        ordered = self.frame.sort_values(
            [by, "fee", "pool_address"], ascending=[False, True, True], na_position="last", kind="stable"
        )
        return self._take(ordered.drop_duplicates(["chain_id", "base_address"]).sort_index())

    def top(self, count: int, by: str = "volume") -> PairTable:
        """Return the ``count`` pools with most volume (or ``by``), best first; those where it is not known never."""
        known = self.between(by).frame
        ordered = known.sort_values([by, "pool_address"], ascending=[False, True], kind="stable")
        return self._take(ordered.head(count))

    # What candles add

    def with_spans(self, spans: pd.DataFrame) -> PairTable:
        """Return the table with columns replaced by what a frame knows, by ``chain_id`` and ``pool_address``.

        Args:
            spans: Any of ``created_at``, ``ended_at``, ``tvl``, ``volume``; pools that it does not name keep theirs.
        """
        keys = ["chain_id", "pool_address"]
        names = [name for name in ("created_at", "ended_at", "tvl", "volume") if name in spans.columns]
        found = self.frame[keys].merge(spans[[*keys, *names]], on=keys, how="left", validate="one_to_one")
        changed = {name: found[name].set_axis(self.frame.index).fillna(self.frame[name]) for name in names}
        return PairTable.from_frame(self.frame.assign(**changed), self.categories)

    # Results

    def to_descriptions(self) -> list[HumanReadableTradingPairDescription]:
        """Return the human descriptions of the pools, in the order of the table, for `load_partial_data`.

        Pools that have the same one name their address in place of the exchange.
        """
        names = ["chain_id", "exchange_slug", "base_symbol", "quote_symbol", "fee"]
        is_shared = self.frame.duplicated(names, keep=False)
        venues = self.frame["exchange_slug"].where(~is_shared, self.frame["pool_address"])
        return [
            (ChainId(chain), slug, base, quote) if np.isnan(fee) else (ChainId(chain), slug, base, quote, fee)
            for chain, slug, base, quote, fee in self.frame[names].assign(exchange_slug=venues).itertuples(index=False)
        ]

    def to_pairs(self) -> list[TradingPairIdentifier]:
        """Return the pools as pairs to trade.

        Raises:
            BadInput: The decimals of a token are not known.
        """
        unknown = self.frame[["base_decimals", "quote_decimals"]].isna().any(axis=1)
        if unknown.any():
            first = self.frame[unknown].iloc[0]
            raise BadInput(
                f"The decimals of {int(unknown.sum())} pairs' tokens are not known, first of {first['base_symbol']}/"
                f"{first['quote_symbol']} {first['pool_address']}: fill base_decimals and quote_decimals"
            )
        return [_to_pair(row) for row in self.frame.to_dict("records")]

    def _keep(self, mask: Mask) -> PairTable:
        return self._take(self.frame[mask])

    def _take(self, frame: pd.DataFrame) -> PairTable:
        return PairTable(frame.reset_index(drop=True), self.categories)

    def _has(self, side: str, tokens: Collection[str]) -> Mask:
        addresses = {token.lower() for token in tokens if token.lower().startswith("0x")}
        symbols = {token for token in tokens if not token.lower().startswith("0x")}
        return self.frame[f"{side}_address"].isin(addresses) | self.frame[f"{side}_symbol"].isin(symbols)

    def _category_tokens(self, names: Sequence[str]) -> set[str]:
        unknown = [name for name in names if name not in self.categories]
        if unknown:
            raise BadInput(
                f"category {unknown[0]!r} is not known; the table has {', '.join(sorted(self.categories)) or 'none'}"
            )
        return {token for name in names for token in self.categories[name]}


def join_tables(tables: Sequence[PairTable]) -> PairTable:
    """Return one table of several; a category that several have has the tokens of all."""
    categories: dict[str, set[str]] = {}
    for table in tables:
        for name, tokens in table.categories.items():
            categories.setdefault(name, set()).update(tokens)
    return PairTable.from_frame(pd.concat([table.frame for table in tables], ignore_index=True), categories)


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    kind = COLUMNS[name]
    if name not in frame.columns:
        filler = "" if kind == "str" else np.nan if kind == "float64" else pd.NaT
        return pd.Series([filler] * len(frame), index=frame.index, dtype=kind)
    values = frame[name]
    if kind == "datetime64[us]":
        times = pd.to_datetime(values, utc=True).dt.tz_localize(None)
        return times.dt.as_unit("us")
    if kind == "str":
        texts = values.astype("str").where(values.notna(), "")
        return texts.str.lower() if name.endswith("address") else texts
    return values.astype("int64" if kind == "int64" else "float64")


def _to_pair(row: Mapping[Any, Any]) -> TradingPairIdentifier:
    chain = int(row["chain_id"])
    base, quote = (
        AssetIdentifier(chain, row[f"{side}_address"], row[f"{side}_symbol"], int(row[f"{side}_decimals"]))
        for side in ("base", "quote")
    )
    return TradingPairIdentifier(
        base=base,
        quote=quote,
        pool_address=row["pool_address"],
        exchange_address=row["exchange_address"],
        fee=None if np.isnan(row["fee"]) else row["fee"],
        exchange_name=row["exchange_slug"],
    )
