"""Candles in Parquet, CSV or Feather files as a source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.acero as acero
import pyarrow.compute as pc
import pyarrow.dataset as ds

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket, from_unix_us
from trading_dagster.market.contract import OHLCV, PRICE_COLUMNS, Candles
from trading_dagster.market.source import Market

FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".gz": "csv", ".feather": "feather", ".arrow": "feather"}
TIME_NAMES = ("timestamp", "date", "datetime", "time", "open_time")
FILE_NAME_PAIR = re.compile(r"^([A-Za-z0-9.]+)[-_]([A-Za-z0-9.]+)(?:[-_].*)?$")
BATCH_ROWS = 1 << 18
UNNAMED_VENUE = "file"
