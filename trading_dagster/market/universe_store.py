"""Keep a universe in a folder: JSON for what it is, columns for its candles that are memory-mapped if long.

The folder holds ``universe.json``, which names a subfolder by the universe's cache key; the subfolder never changes.
Replacing ``universe.json`` is what makes a new universe visible, so a reader sees the old or the new one, whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trading_dagster.domain.error import CandleContractBroken, MarketDataMissing
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.domain.vault_history import VaultHistory
from trading_dagster.market.atomic_file import exclusive, sync, temporary_beside, write_json_atomically
from trading_dagster.market.identifier_json import (
    asset_from_json,
    asset_to_json,
    exchange_from_json,
    exchange_to_json,
    pair_from_json,
    pair_to_json,
)
from trading_dagster.market.lending import (
    RATE_COLUMNS,
    LendingCandleType,
    LendingProtocolType,
    LendingReserve,
    LendingUniverse,
)
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse

FORMAT_VERSION = 1
INDEX_FILE = "universe.json"
ROLES = ("candles", "stop_loss_candles", "liquidity")
ATTEMPTS = 3
SMALLEST_MAPPED = 1 << 20
"""Bytes; a smaller file is read sooner than it is mapped."""


def write_universe(universe: TradingStrategyUniverse, folder: Path | str) -> None:
    """Write a universe to a folder, which then holds this one only.

    Kill it at any point: the folder still has the universe it had, or has the new one.
    """
    root = Path(folder)
    key = universe.get_cache_key()
    with exclusive(root / ".lock"):
        if not (root / key).is_dir():
            _write_columns(universe, root / key)
        write_json_atomically(root / INDEX_FILE, _to_json(universe, key))
        for other in root.iterdir():
            if other.is_dir() and other.name != key:
                shutil.rmtree(other, ignore_errors=True)


def read_universe(folder: Path | str, *, verify: bool = False) -> TradingStrategyUniverse:
    """Return the universe of a folder, its long columns memory-mapped: processes that read it share the memory.

    Args:
        folder: Where `write_universe` put it.
        verify: Recompute the content hash and compare.

    Raises:
        MarketDataMissing: There is no universe in the folder.
        CandleContractBroken: It is damaged, or of another version.
    """
    root = Path(folder)
    for attempt in range(ATTEMPTS):
        try:
            universe, key = _read(root)
        except FileNotFoundError as error:
            if not (root / INDEX_FILE).is_file():
                raise MarketDataMissing(f"folder {root}: no {INDEX_FILE} in it; write_universe() makes one") from None
            if attempt == ATTEMPTS - 1:
                raise CandleContractBroken(f"folder {root}: {error.filename} is missing; write it again") from None
            continue
        if verify and universe.get_cache_key() != key:
            raise CandleContractBroken(f"folder {root}: content does not match its hash {key}; write it again")
        return universe
    raise AssertionError("unreachable")


def _read(root: Path) -> tuple[TradingStrategyUniverse, str]:
    about = json.loads((root / INDEX_FILE).read_text(encoding="utf8"))
    if about["version"] != FORMAT_VERSION:
        raise CandleContractBroken(
            f"folder {root}: version {about['version']}, this program reads {FORMAT_VERSION}; write it again"
        )
    data = root / about["key"]
    try:
        panels = {role: _read_panel(about["panels"][role], data, role) for role in ROLES if role in about["panels"]}
    except ValueError as error:
        raise CandleContractBroken(f"folder {data}: a column is damaged ({error}); write it again") from error
    return TradingStrategyUniverse(
        pairs=tuple(pair_from_json(pair) for pair in about["pairs"]),
        reserve_assets=tuple(asset_from_json(asset) for asset in about["reserve_assets"]),
        primary_chain=ChainId(about["primary_chain"]),
        candles=panels["candles"],
        stop_loss_candles=panels["candles"] if about["stop_loss_is_candles"] else panels.get("stop_loss_candles"),
        liquidity=panels.get("liquidity"),
        exchanges=tuple(exchange_from_json(exchange) for exchange in about["exchanges"]),
        price_data_delay_tolerance=_period(about["price_data_delay_tolerance"]),
        start_at=_time(about["start_at"]),
        end_at=_time(about["end_at"]),
        required_history_period=_period(about["required_history_period"]),
        lending=None if about["lending"] is None else _read_lending(about["lending"], data / "lending.parquet"),
        vault_limits=VaultHistory.from_data(about.get("vault_limits", {})),
        name=about["name"],
    ), about["key"]


def _to_json(universe: TradingStrategyUniverse, key: str) -> dict[str, Any]:
    def seconds(period: timedelta | None) -> float | None:
        return None if period is None else period.total_seconds()

    def moment(time: datetime | None) -> str | None:
        return None if time is None else time.isoformat()

    lending = universe.lending
    return {
        "version": FORMAT_VERSION,
        "key": key,
        "name": universe.name,
        "pairs": [pair_to_json(pair) for pair in universe.pairs],
        "exchanges": [exchange_to_json(exchange) for exchange in universe.exchanges],
        "reserve_assets": [asset_to_json(asset) for asset in universe.reserve_assets],
        "primary_chain": int(universe.primary_chain),
        "price_data_delay_tolerance": seconds(universe.price_data_delay_tolerance),
        "required_history_period": seconds(universe.required_history_period),
        "start_at": moment(universe.start_at),
        "end_at": moment(universe.end_at),
        "stop_loss_is_candles": universe.stop_loss_candles is universe.candles,
        "panels": {
            role: {
                "bucket": panel.bucket.value,
                "start_us": panel.start_us,
                "pair_ids": list(panel.pair_ids),
                "columns": list(panel.columns),
            }
            for role, panel in _panels(universe).items()
        },
        "vault_limits": universe.vault_limits.to_data(),
        "lending": None
        if lending is None
        else {
            "time_bucket": lending.time_bucket.value,
            "reserves": [
                {
                    "reserve_id": reserve.reserve_id,
                    "chain_id": int(reserve.chain_id),
                    "protocol": reserve.protocol.value,
                    "asset": asset_to_json(reserve.asset),
                    "atoken": asset_to_json(reserve.atoken),
                    "vtoken": asset_to_json(reserve.vtoken),
                }
                for reserve in lending.reserves
            ],
        },
    }


def _panels(universe: TradingStrategyUniverse) -> dict[str, CandlePanel]:
    """Return the panels by role, a stop-loss feed that is the candles left out."""
    panels = {role: getattr(universe, role) for role in ROLES}
    if panels["stop_loss_candles"] is universe.candles:
        del panels["stop_loss_candles"]
    return {role: panel for role, panel in panels.items() if panel is not None}


def _write_columns(universe: TradingStrategyUniverse, folder: Path) -> None:
    temporary = temporary_beside(folder)
    temporary.mkdir()
    try:
        for role, panel in _panels(universe).items():
            _write_panel(panel, temporary, role)
        if universe.lending is not None:
            _write_rates(universe.lending, temporary / "lending.parquet")
        sync(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(folder.parent)


def _write_panel(panel: CandlePanel, folder: Path, role: str) -> None:
    arrays: Mapping[str, Any] = {
        **{f"column_{name}": values for name, values in panel.columns.items()},
        "exists": panel.exists,
        "forward_filled": panel.forward_filled,
    }
    for name, values in arrays.items():
        path = folder / f"{role}.{name}.npy"
        np.save(path, np.ascontiguousarray(values), allow_pickle=False)
        sync(path)


def _read_panel(about: Mapping[str, Any], folder: Path, role: str) -> CandlePanel:
    def load(name: str) -> Any:
        path = folder / f"{role}.{name}.npy"
        is_small = path.stat().st_size < SMALLEST_MAPPED
        return np.load(path, mmap_mode=None if is_small else "r", allow_pickle=False)

    return CandlePanel(
        bucket=TimeBucket(about["bucket"]),
        start_us=about["start_us"],
        pair_ids=tuple(about["pair_ids"]),
        columns={name: load(f"column_{name}") for name in about["columns"]},
        exists=load("exists"),
        forward_filled=load("forward_filled"),
    )


def _write_rates(lending: LendingUniverse, path: Path) -> None:
    frames = [
        pd.DataFrame(
            {
                "reserve_id": reserve_id,
                "rate": rate.value,
                "timestamp": pd.DatetimeIndex(frame.index).as_unit("us"),
                **{name: frame[name].to_numpy(dtype="float64") for name in RATE_COLUMNS},
            }
        )
        for (reserve_id, rate), frame in lending.rates.items()
    ]
    empty = pd.DataFrame({name: [] for name in ("reserve_id", "rate", "timestamp", *RATE_COLUMNS)})
    (pd.concat(frames, ignore_index=True) if frames else empty).to_parquet(path, index=False)
    sync(path)


def _read_lending(about: Mapping[str, Any], path: Path) -> LendingUniverse:
    rates = {}
    frame = pd.read_parquet(path)
    if "percent" in frame.columns:  # written before rates had four values
        frame = frame.assign(**dict.fromkeys(RATE_COLUMNS, frame["percent"]))
    for mark, rows in frame.groupby(frame["reserve_id"].astype(str) + " " + frame["rate"], sort=False):
        reserve_id, rate = str(mark).split(" ")
        index = pd.DatetimeIndex(rows["timestamp"], name="timestamp")
        rates[int(reserve_id), LendingCandleType(rate)] = rows[list(RATE_COLUMNS)].set_index(index)
    reserves = tuple(
        LendingReserve(
            reserve["reserve_id"],
            ChainId(reserve["chain_id"]),
            LendingProtocolType(reserve["protocol"]),
            asset_from_json(reserve["asset"]),
            asset_from_json(reserve["atoken"]),
            asset_from_json(reserve["vtoken"]),
        )
        for reserve in about["reserves"]
    )
    return LendingUniverse(TimeBucket(about["time_bucket"]), reserves, rates)


def _period(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
