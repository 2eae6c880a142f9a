"""Public candles of a centralised exchange through ccxt: one page at a time, patient with limits and bad answers.

It is the only importer of ccxt. Errors of ccxt end here: what may pass is waited for and asked again, the rest becomes
an error of this project.
"""

from __future__ import annotations

import difflib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from trading_dagster.domain.error import BadConfiguration, BadInput, SourceUnavailable, UnknownPair
from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.panel import Floats

Result = TypeVar("Result")

DEFAULT_PAGE_ROWS = 500
CONNECT_TIMEOUT_MS = 20_000
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
LEAST_LEAD_S = 10.0
"""By how many seconds the clocks must differ before it counts: answers tell whole seconds, and take some time."""

ANSWERS_TIMED = 20
"""Of how many answers the one that took least time tells the difference of the clocks."""

MADE_OF_DAYS = (TimeBucket.d7, TimeBucket.d30, TimeBucket.d360, TimeBucket.not_applicable)
"""Exchanges begin weeks on different days, and their months are calendar ones: such bars are made of daily candles."""


class CandleApi(Protocol):
    """What `ExchangeSource` needs of an exchange."""

    @property
    def name(self) -> str:
        """Return the exchange's slug."""

    @property
    def page_rows(self) -> int:
        """Return how many candles one answer has at most."""

    def list_pairs(self) -> Sequence[str]:
        """Return all spot pairs as BASE/QUOTE, sorted, those that are traded no more too."""

    def list_buckets(self) -> Sequence[TimeBucket]:
        """Return the widths of candles that the exchange serves, the finest first."""

    def fetch_page(self, pair: str, bucket: TimeBucket, since: datetime, rows: int) -> Floats:
        """Return candles that open at or after a time: rows of open time (microseconds since 1970), OHLCV.

        They may be fewer than asked for, overlap with earlier ones and have the candle in progress at the end.
        """


@runtime_checkable
class ClockedApi(Protocol):
    """An exchange whose answers tell its time."""

    @property
    def clock_lead(self) -> timedelta:
        """Return by how much this machine's clock is ahead of the exchange's; zero where that is little or not known.

        Candles that only this machine takes for closed are still in progress.
        """


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on asking.

    Args:
        attempts: How often one question is put.
        longest_s: Longest time that the exchange may ask to wait, seconds; beyond it the question fails at once.
        sleep: How to wait, seconds.
    """

    attempts: int = 6
    longest_s: float = 300.0
    sleep: Callable[[float], None] = time.sleep


class CcxtApi:
    """An exchange that ccxt knows, without keys.

    Args:
        exchange: Its id in ccxt, such as binance, kraken, coinbase.
        api_url: Base of the public interface, for a mirror; None takes ccxt's.
        patience: How long to go on asking.

    Raises:
        BadConfiguration: ccxt is not installed, or does not know the exchange.
    """

    def __init__(self, exchange: str, *, api_url: str | None = None, patience: Patience | None = None) -> None:
        self._ccxt = _import_ccxt()
        if exchange not in self._ccxt.exchanges:
            near = difflib.get_close_matches(exchange, self._ccxt.exchanges, n=3)
            raise BadConfiguration(
                f"exchange {exchange!r} is not one that ccxt {self._ccxt.__version__} knows; "
                + (f"did you mean {' or '.join(near)}?" if near else "see ccxt's list of exchanges")
            )
        self.name = exchange
        self._leads: deque[float] = deque(maxlen=ANSWERS_TIMED)
        self._patience = patience or Patience()
        self._exchange: Any = getattr(self._ccxt, exchange)({"enableRateLimit": True, "timeout": CONNECT_TIMEOUT_MS})
        self._exchange.enableLastJsonResponse = True
        self._exchange.has["fetchCurrencies"] = False  # needs keys on some exchanges, and tells nothing about candles
        options = self._exchange.options
        options["defaultType"] = "spot"
        if isinstance(options.get("fetchMarkets"), dict):
            options["fetchMarkets"] = {**options["fetchMarkets"], "types": ["spot"]}
        if api_url is not None:
            addresses = self._exchange.urls["api"]
            key = "public" if isinstance(addresses, dict) and "public" in addresses else None
            if key is None:
                raise BadConfiguration(f"api_url: the address of {exchange} cannot be replaced: leave it out")
            addresses[key] = api_url.rstrip("/")
        if not self._exchange.has.get("fetchOHLCV"):
            raise BadConfiguration(f"exchange {exchange!r} serves no candles: use another one")

    @property
    def page_rows(self) -> int:
        """Return how many candles one answer has at most."""
        features: Any = (self._exchange.features or {}).get("spot") or {}
        limit = (features.get("fetchOHLCV") or {}).get("limit")
        return int(limit) if limit else DEFAULT_PAGE_ROWS

    @property
    def clock_lead(self) -> timedelta:
        """Return by how much this machine's clock is ahead of the exchange's; see `ClockedApi`."""
        least = min(self._leads, default=0.0)
        return timedelta(seconds=least) if least >= LEAST_LEAD_S else timedelta(0)

    def list_pairs(self) -> Sequence[str]:
        """Return all spot pairs as BASE/QUOTE, sorted; raises SourceUnavailable."""
        self._load()
        return sorted(symbol for symbol, market in self._exchange.markets.items() if market.get("spot"))

    def list_buckets(self) -> Sequence[TimeBucket]:
        """Return the widths of candles that the exchange serves, the finest first."""
        known = self._exchange.timeframes or {}
        return [bucket for bucket in TimeBucket if bucket.value in known and bucket not in MADE_OF_DAYS]

    def fetch_page(self, pair: str, bucket: TimeBucket, since: datetime, rows: int) -> Floats:
        """Return a page of candles, see `CandleApi`; raises SourceUnavailable, UnknownPair, BadInput."""
        self._load()
        since_ms = to_unix_us(since) // 1000
        limit = max(1, min(rows, self.page_rows))
        frame = bucket.value
        return self._ask(
            f"{bucket.value} candles of {pair} from {since}",
            lambda: _to_rows(self._whole(self._exchange.fetch_ohlcv(pair, frame, since_ms, limit))),
        )

    def _load(self) -> None:
        if not self._exchange.markets:
            self._ask("its list of pairs", lambda: _require_markets(self._whole(self._exchange.load_markets())))

    def _whole(self, answer: Result) -> Result:
        """Return what ccxt made of an answer; raises ValueError for one cut short, of which it makes nothing."""
        if not isinstance(self._exchange.last_json_response, list | dict):
            raise ValueError("the answer is no JSON")  # noqa: TRY004 - caught by _ask
        self._note_clock()
        return answer

    def _ask(self, what: str, question: Callable[[], Result]) -> Result:
        """Put a question until it is answered, as patience allows."""
        patience = self._patience
        for attempt in range(1, patience.attempts + 1):
            self._exchange.last_response_headers = self._exchange.last_json_response = None
            try:
                return question()
            except self._ccxt.NetworkError as error:
                failure: Exception = error
            except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
                failure = error  # an answer cut short does not have the form that ccxt takes apart
            except self._ccxt.BadSymbol as error:
                raise UnknownPair(f"{self.name}: {what}: {error}; list the pairs it has") from error
            except (self._ccxt.AuthenticationError, self._ccxt.BadRequest, self._ccxt.NotSupported) as error:
                raise BadInput(f"{self.name} refuses {what}: {error}") from error
            except self._ccxt.BaseError as error:
                raise SourceUnavailable(f"{self.name} did not give {what}: {error}; try again later") from error
            asked_s = self._asked_wait()
            if asked_s is not None and asked_s > patience.longest_s:
                raise SourceUnavailable(
                    f"{self.name} asks to wait {asked_s:.0f} s before {what}: too many requests; run again after that"
                ) from failure
            if attempt < patience.attempts:
                patience.sleep(max(asked_s or 0.0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1))))
        raise SourceUnavailable(
            f"{self.name} did not give {what} in {patience.attempts} attempts: {type(failure).__name__}: {failure}; "
            "run again later: what was stored is kept"
        ) from failure

    def _asked_wait(self) -> float | None:
        """Return how many seconds the last answer asks to wait, None if it does not."""
        return _to_seconds(self._header("retry-after"))

    def _note_clock(self) -> None:
        """Remember by how much the clock here is ahead of the time at which the last answer was made."""
        try:
            made_at = parsedate_to_datetime(self._header("date"))
        except ValueError:
            return
        if made_at.tzinfo is not None:
            waited_s = _to_seconds(self._header("age")) or 0.0  # in a cache on the way
            self._leads.append((datetime.now(UTC) - made_at).total_seconds() - waited_s)

    def _header(self, wanted: str) -> str:
        headers = self._exchange.last_response_headers or {}
        return next((str(value) for name, value in headers.items() if name.lower() == wanted), "")


def _to_seconds(text: str) -> float | None:
    """Return a header's seconds, None where it has none."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _to_rows(answer: Any) -> Floats:
    """Return ccxt's candles as an array; raises ValueError for an answer that is none."""
    if not isinstance(answer, list):
        raise ValueError(f"the answer is no list of candles but {str(answer)[:80]!r}")  # noqa: TRY004 - caught above
    rows = np.asarray([[float(value) for value in candle[:6]] for candle in answer], dtype=np.float64).reshape(-1, 6)
    if rows.size and not (np.isfinite(rows).all() and (rows[:, 0] > 0).all()):
        raise ValueError("the answer has candles without a time or a price")
    rows[:, 0] *= 1000.0
    return rows


def _require_markets(markets: Any) -> None:
    if not markets:
        raise ValueError("the answer has no pairs")


def _import_ccxt() -> Any:
    try:
        import ccxt
    except ImportError as error:
        raise BadConfiguration(
            'candles of exchanges need ccxt: pip install -e ".[exchanges]" -c constraints.txt'
        ) from error
    return ccxt
