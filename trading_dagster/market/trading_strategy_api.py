"""The Trading Strategy data service over HTTP: one question at a time, patient with limits and half answers.

The key goes into one request header and nowhere else: not into messages, representations or addresses.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np

from trading_dagster.domain.error import BadConfiguration, BadInput, SourceUnavailable, UnknownPair
from trading_dagster.domain.time import TimeBucket, to_naive
from trading_dagster.market.exchange_api import FIRST_WAIT_S, LONGEST_WAIT_S, Patience
from trading_dagster.market.panel import Floats

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

Result = TypeVar("Result")

DEFAULT_URL = "https://tradingstrategy.ai/api"
DEFAULT_KEY_VARIABLE = "TRADING_STRATEGY_API_KEY"
TIMEOUT_S = (20.0, 90.0)
AVAILABILITY_PAIRS = 100
"""How many pairs one question for availability names, so that its address stays short."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
COLUMNS = ("ts", "o", "h", "l", "c", "v", "b", "s")
"""Columns of candles: open time (seconds since 1970), prices and volume in USD, numbers of buys and sells (or NaN)."""


class AnswerTooLong(SourceUnavailable):
    """The service ended an answer because it became too long: ask for less at once."""


@dataclass(frozen=True, slots=True)
class ApiPaths:
    """Where the service has what, below its base address."""

    candles: str = "candles-jsonl"
    availability: str = "trading-pair-data-availability"
    pairs: str = "pair-universe"
    exchanges: str = "exchange-universe"


@dataclass(frozen=True, slots=True)
class PairAvailability:
    """What the service has of a pair in one bucket: naive UTC, None without any.

    ``last_candle_at`` opens the newest whole candle, ``last_supposed_candle_at`` the newest bar about which all is
    known, candle or not.
    """

    pair_id: int
    chain_id: int
    pair_address: str
    last_trade_at: datetime | None
    last_candle_at: datetime | None
    last_supposed_candle_at: datetime | None


class PairCandleApi(Protocol):
    """What `TradingStrategySource` needs of the service."""

    def fetch_candles(self, pair_id: int, bucket: TimeBucket, start: datetime, end: datetime) -> Floats:
        """Return what one answer has of the candles in [start, end), rows of `COLUMNS`; raises AnswerTooLong."""

    def fetch_availability(self, pair_ids: Sequence[int], bucket: TimeBucket) -> Mapping[int, PairAvailability]:
        """Return what there is of each pair that the service knows."""


class TradingStrategyApi:
    """The service.

    Args:
        base_url: Its base address.
        key_variable: Environment variable that holds the key. It is read with each question, and may be missing as
            long as the service does not ask for it.
        paths: Where the service has what.
        patience: How long to go on asking.
        requests_per_second: How often to ask at most.

    Raises:
        BadConfiguration: The address cannot be used, or requests is not installed.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        key_variable: str = DEFAULT_KEY_VARIABLE,
        paths: ApiPaths | None = None,
        patience: Patience | None = None,
        requests_per_second: float = 5.0,
    ) -> None:
        self._base_url = _checked_url(base_url or DEFAULT_URL)
        self._key_variable = key_variable
        self._paths = paths or ApiPaths()
        self._patience = patience or Patience()
        if not 0 < requests_per_second < math.inf:
            raise BadConfiguration(f"requests_per_second is {requests_per_second}: give a number above 0")
        self._spacing_s = 1 / requests_per_second
        self._next_at = 0.0
        requests, transport_errors = _import_requests()
        self._broken: tuple[type[Exception], ...] = (*transport_errors, EOFError, gzip.BadGzipFile, zlib.error)
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": "trading-dagster", "Accept-Encoding": "gzip"})

    def __repr__(self) -> str:
        """Return where it asks; never the key."""
        return f"TradingStrategyApi({self._base_url!r}, key_variable={self._key_variable!r})"

    def fetch_candles(self, pair_id: int, bucket: TimeBucket, start: datetime, end: datetime) -> Floats:
        """Return what one answer has of the candles in [start, end), rows of `COLUMNS`; see `PairCandleApi`."""
        query = {
            "pair_ids": str(pair_id),
            "time_bucket": bucket.value,
            "start_time": start.isoformat(),
            "end_time": end.isoformat(),
        }
        what = f"{bucket.value} candles of pair {pair_id} from {start}"
        return self._ask(what, self._paths.candles, query, lambda body: parse_candles(body, pair_id))

    def fetch_availability(self, pair_ids: Sequence[int], bucket: TimeBucket) -> Mapping[int, PairAvailability]:
        """Return what there is of each pair that the service knows; raises SourceUnavailable."""
        found: dict[int, PairAvailability] = {}
        for place in range(0, len(pair_ids), AVAILABILITY_PAIRS):
            part = pair_ids[place : place + AVAILABILITY_PAIRS]
            query = {"pair_ids": ",".join(map(str, part)), "time_bucket": bucket.value}
            what = f"{bucket.value} availability of {len(part)} pairs"
            found |= self._ask(what, self._paths.availability, query, parse_availability)
        return found

    def fetch_pair_dataset(self) -> bytes:
        """Return the Parquet file of all pairs."""
        return self._ask("its pairs", self._paths.pairs, {}, _require_parquet)

    def fetch_exchanges(self) -> Mapping[int, Mapping[str, Any]]:
        """Return all exchanges by their id."""
        return self._ask("its exchanges", self._paths.exchanges, {}, _parse_exchanges)

    def _ask(self, what: str, path: str, query: Mapping[str, str], parse: Callable[[bytes], Result]) -> Result:
        """Put a question until it is answered, as patience allows."""
        patience = self._patience
        failure = ""
        for attempt in range(1, patience.attempts + 1):
            asked_s: float | None = None
            refused: int | None = None
            try:
                with self._send(path, query) as response:
                    body = self._read(response)
                    asked_s = _asked_wait(response.headers.get("Retry-After"))
                    if response.status_code == 200:
                        return parse(body)
                    failure = f"status {response.status_code}: {self._shown(body)}"
                    refused = None if response.status_code in PASSING else response.status_code
            except self._broken as error:
                failure = self._without_key(f"{type(error).__name__}: {error}")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                failure = self._without_key(f"the answer is broken: {error}")
            if refused is not None:
                raise self._refusal(refused, what, failure)
            if asked_s is not None and asked_s > patience.longest_s:
                raise SourceUnavailable(
                    f"Trading Strategy asks to wait {asked_s:.0f} s before {what}: too many requests; "
                    "run again after that"
                )
            if attempt < patience.attempts:
                patience.sleep(max(asked_s or 0.0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1))))
        raise SourceUnavailable(
            f"Trading Strategy did not give {what} in {patience.attempts} attempts: {failure}; "
            "run again later: what was stored is kept"
        )

    def _send(self, path: str, query: Mapping[str, str]) -> Response:
        wait_s = self._next_at - time.monotonic()
        if wait_s > 0:
            self._patience.sleep(wait_s)
        self._next_at = time.monotonic() + self._spacing_s
        response: Response = self._session.get(
            f"{self._base_url}/{path}",
            params=dict(query),
            timeout=TIMEOUT_S,
            stream=True,
            auth=_KeyHeader(self._read_key()),
        )
        return response

    def _read(self, response: Response) -> bytes:
        """Return the whole body; one that was cut short raises, compressed ones too."""
        body: bytes = response.raw.read(decode_content=False)
        return gzip.decompress(body) if response.headers.get("Content-Encoding", "").lower() == "gzip" else body

    def _read_key(self) -> str | None:
        key = os.environ.get(self._key_variable, "").strip()
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise BadConfiguration(
                f"the environment variable {self._key_variable} holds characters that no key has: set it again"
            )
        is_safe = self._base_url.startswith("https://") or urlsplit(self._base_url).hostname in LOCAL_HOSTS
        if key and not is_safe:
            raise BadConfiguration(
                f"api_url {self._base_url} is not https, so the key in {self._key_variable} could be read on the way: "
                "use https"
            )
        return key or None

    def _refusal(self, status: int, what: str, failure: str) -> Exception:
        if status in (401, 403):
            if self._read_key() is None:
                return BadConfiguration(
                    f"Trading Strategy wants a key for {what}: set the environment variable {self._key_variable}"
                )
            return BadConfiguration(
                f"Trading Strategy refuses the key in the environment variable {self._key_variable} for {what} "
                f"({failure}): set one that is valid"
            )
        if status == 404:
            return UnknownPair(f"Trading Strategy does not have {what} ({failure}): check pair, path and api_url")
        return BadInput(f"Trading Strategy refuses {what} ({failure}): check pair, bucket and api_url")

    def _shown(self, body: bytes) -> str:
        return self._without_key(body[:4000].decode("utf-8", "replace"))[:200]

    def _without_key(self, text: str) -> str:
        key = self._read_key()
        return text.replace(key, "***") if key else text


class _KeyHeader:
    """Puts the key into a request; also keeps requests from taking a password out of a .netrc file."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = self._key
        return request


def parse_candles(body: bytes, pair_id: int) -> Floats:
    """Return the candles of an answer in JSON lines, rows of `COLUMNS`; keys that are not known are left out.

    Raises:
        AnswerTooLong: The service ended it early, and says so.
        ValueError: A line is cut short, or is no candle of the pair.
    """
    rows: list[list[float]] = []
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        item = json.loads(line)
        if not isinstance(item, dict):
            raise ValueError(f"a line is no candle but {str(item)[:80]!r}")  # noqa: TRY004 - caught by _ask
        if "error" in item:
            raise AnswerTooLong(f"Trading Strategy ended an answer: {str(item['error'])[:200]}")
        if item["p"] != pair_id:
            raise ValueError(f"a candle is of pair {item['p']}, not {pair_id}")
        rows.append(_to_row(item))
    return np.asarray(rows, dtype=np.float64).reshape(-1, len(COLUMNS))


def _to_row(item: Mapping[str, Any]) -> list[float]:
    buys, sells = item.get("bv"), item.get("sv")
    volume = item["v"] if buys is None and sells is None else (buys or 0.0) + (sells or 0.0)
    counts = [float(math.nan if item.get(name) is None else item[name]) for name in ("b", "s")]
    needed = [float(item[name]) for name in ("ts", "o", "h", "l", "c")] + [float(volume)]
    if not all(map(math.isfinite, needed)) or needed[0] <= 0:
        raise ValueError(f"a candle has no time or price: {str(dict(item))[:120]}")
    return needed + counts


def parse_availability(body: bytes) -> dict[int, PairAvailability]:
    """Return by pair what an answer says; raises ValueError, KeyError for one that is not of that form."""
    listed = json.loads(body)
    if not isinstance(listed, list):
        raise ValueError(f"the answer is no list of pairs but {str(listed)[:80]!r}")  # noqa: TRY004 - caught by _ask
    return {
        int(item["pair_id"]): PairAvailability(
            int(item["pair_id"]),
            int(item["chain_id"]),
            str(item["pair_address"]).lower(),
            *(_parse_time(item.get(name)) for name in ("last_trade_at", "last_candle_at", "last_supposed_candle_at")),
        )
        for item in listed
    }


def _parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is None else to_naive(moment.astimezone(UTC))


def _parse_exchanges(body: bytes) -> dict[int, Mapping[str, Any]]:
    return {int(item["exchange_id"]): item for item in json.loads(body)["exchanges"].values()}


def _require_parquet(body: bytes) -> bytes:
    if body[:4] != b"PAR1" or body[-4:] != b"PAR1":
        raise ValueError("it is no whole Parquet file")
    return body


def _asked_wait(text: str | None) -> float | None:
    """Return how many seconds an answer asks to wait: it says a number, or a date."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return None
        aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        seconds = (aware - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise BadConfiguration("api_url has a user, password or query: give the address only, the key by variable")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadConfiguration(f"api_url is {url!r}: give an address such as {DEFAULT_URL}")
    return url.rstrip("/")


def _import_requests() -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        import requests
        import urllib3
    except ImportError as error:
        raise BadConfiguration(
            'the Trading Strategy service needs requests: pip install -e ".[exchanges]" -c constraints.txt'
        ) from error
    return requests, (requests.RequestException, urllib3.exceptions.HTTPError)
