"""Says of attributes and texts whether they mean something here."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from trading_dagster.market.source import CandleSource
from trading_dagster.porting.vocabulary_table import NO_CLIENT

# Columns of pandas_ta carry their parameters: BBL_20_2.0. Here a column has the same name whatever the parameters.
_COLUMN = re.compile(r"(?P<name>BB[LMUBP]|MACD[hs]?|ADX|DM[PN]|STOCHRSI[kd]|SUPERT[dls]?)_(\d.*)?")
COLUMNS = {
    "BBL": "lower",
    "BBM": "middle",
    "BBU": "upper",
    "BBB": "bandwidth, a fraction",
    "BBP": "percent",
    "MACD": "macd",
    "MACDh": "histogram",
    "MACDs": "signal",
    "ADX": "adx",
    "DMP": "plus_di",
    "DMN": "minus_di",
    "STOCHRSIk": "k",
    "STOCHRSId": "d",
    "SUPERT": "supertrend",
    "SUPERTd": "direction",
    "SUPERTl": "long",
    "SUPERTs": "short",
}


def check_column(text: str) -> tuple[str, str] | None:
    """Return what is wrong with a text that is a column name of pandas_ta, None if it is none."""
    match = _COLUMN.fullmatch(text)
    if match is None:
        return None
    return repr(text), f"a column name of pandas_ta; here the column is called {COLUMNS[match['name']]}"


def check_member(name: str, owner: Any, member: str) -> tuple[str, str] | None:
    """Return what is wrong with a member of an imported class, None if the class has it."""
    if not isinstance(owner, type) or hasattr(owner, member):
        return None
    if owner is CandleSource:
        return f"{name}.{member}", NO_CLIENT
    if issubclass(owner, Enum):
        return f"{name}.{member}", f"there is {', '.join(owner.__members__)}"
    return f"{name}.{member}", "it is not there; see the class for what it has"
