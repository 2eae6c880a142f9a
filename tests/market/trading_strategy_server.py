"""A server on this machine that speaks the Trading Strategy data service's protocol, and fails when told to.

Candles are JSON lines with the service's short keys, availability is a JSON array with ISO times, pairs are a Parquet
file, exchanges JSON. A limited answer ends with a line that has the key error.
"""

import gzip
import io
import json
import threading
import zlib
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pandas as pd
from http_server import QuietHandler, serve

WIDTHS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
USDC, WETH, UNI = ("0x" + digit * 40 for digit in "abc")
ETH_POOL, UNI_POOL, FAKE_POOL, BASE_POOL = ("0x" + digit * 40 for digit in "1234")
KEY = "secret-token:tradingstrategy-0123456789abcdef"


def pair_row(pair_id, address, base, quote, slug="uniswap-v3", chain_id=1, fee=5):
    """Return a row as the pair dataset has it: token0 is the one with the lower address, fees are basis points."""
    tokens = {"USDC": (USDC, 6), "WETH": (WETH, 18), "UNI": (UNI, 18)}
    first, second = sorted((base, quote), key=lambda symbol: tokens[symbol][0])
    return {
        "pair_id": pair_id,
        "chain_id": chain_id,
        "exchange_id": 7,
        "address": address,
        "dex_type": "uniswap_v3",
        "token0_symbol": first,
        "token1_symbol": second,
        "token0_address": tokens[first][0],
        "token1_address": tokens[second][0],
        "token0_decimals": tokens[first][1],
        "token1_decimals": tokens[second][1],
        "base_token_symbol": base,
        "quote_token_symbol": quote,
        "exchange_slug": slug,
        "pair_slug": f"{base}-{quote}".lower(),
        "fee": fee,
        "flag_inactive": False,
    }


PAIRS = (
    pair_row(11, ETH_POOL, "WETH", "USDC"),
    pair_row(12, UNI_POOL, "UNI", "WETH", fee=30),
    pair_row(13, FAKE_POOL, "UNI", "USDC", slug="fake-swap"),
    pair_row(14, BASE_POOL, "WETH", "USDC", chain_id=8453),
)


def seconds(moment):
    return int(moment.replace(tzinfo=UTC).timestamp())


class FakeService:
    """Pairs with candles from a first time on up to a clock that tests set; ``lag`` is how far behind it is."""

    def __init__(self, now, **first_of):
        self.now = now
        self.lag = timedelta(0)
        self.first_of = {int(name[1:]): first for name, first in first_of.items()}
        self.holes = set()
        self.faults = deque()
        self.requests = []
        self.keys = []
        self.key = None
        self.is_gzip = True
        self.longest = 10**9
        self.overlap = 0
        self.addresses = {row["pair_id"]: row["address"] for row in PAIRS}
        self.lock = threading.Lock()

    def candles(self, pair_id, bucket, start, end):
        width = WIDTHS[bucket]
        start, end = start - self.overlap * width, end + self.overlap * width
        opened = max(-(-start // width), seconds(self.first_of[pair_id]) // width) * width
        rows = []
        while opened < end and opened <= seconds(self.now - self.lag):
            if opened not in self.holes:
                rows.append(self.candle(pair_id, opened))
            opened += width
        return rows

    def candle(self, pair_id, opened):
        price = pair_id + (opened // 60 * 7919 % 997) / 100
        return {
            "ci": 1,
            "ei": 7,
            "p": pair_id,
            "ts": opened,
            "o": price,
            "h": price + 2,
            "l": price - 2,
            "c": price + 1,
            "v": 0.0,
            "xr": 1.0,
            "b": 3,
            "s": None if opened % 7200 else 4,
            "bv": 60.0,
            "sv": 40.0,
            "sb": opened // 12,
            "eb": opened // 12 + 300,
            "of_tomorrow": {"nobody": "knows"},
        }

    def availability(self, pair_id, bucket):
        width = WIDTHS[bucket]
        known = seconds(self.now - self.lag)
        supposed = known // width * width - width
        opens = [row["ts"] for row in self.candles(pair_id, bucket, supposed - 50 * width, supposed + 1)]
        return {
            "pair_id": pair_id,
            "chain_id": next(row["chain_id"] for row in PAIRS if row["pair_id"] == pair_id),
            "pair_address": self.addresses[pair_id],
            "last_trade_at": iso(known),
            "last_candle_at": iso(opens[-1]) if opens else None,
            "last_supposed_candle_at": iso(supposed),
        }


def iso(at):
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"

    def respond(self):
        service = self.server.content
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        path = address.path.removeprefix("/api/")
        with service.lock:
            service.requests.append((path, query))
            service.keys.append(self.headers.get("Authorization"))
            fault = service.faults.popleft() if service.faults and path == "candles-jsonl" else ""
        if service.key is not None and self.headers.get("Authorization") != service.key:
            return self.send(f"no access for {self.headers.get('Authorization')}".encode(), 403)
        if path == "pair-universe":
            buffer = io.BytesIO()
            pd.DataFrame(PAIRS).to_parquet(buffer)
            return self.send(buffer.getvalue())
        if path == "exchange-universe":
            exchange = {"exchange_id": 7, "exchange_slug": "uniswap-v3", "address": "0x" + "F" * 40}
            return self.send(json.dumps({"exchanges": {"7": exchange}}).encode())
        numbers = [int(text) for text in query.get("pair_ids", "").split(",") if text]
        if path == "trading-pair-data-availability":
            found = [
                service.availability(number, query["time_bucket"]) for number in numbers if number in service.first_of
            ]
            return self.send(json.dumps(found).encode())
        if path != "candles-jsonl" or numbers[0] not in service.first_of:
            return self.send(b'{"message": "not found"}', 404)
        start, end = (seconds(datetime.fromisoformat(query[name])) for name in ("start_time", "end_time"))
        return self.fail(fault, service, service.candles(numbers[0], query["time_bucket"], start, end))

    def fail(self, fault, service, rows):
        """Answer as the fault says: "" is the right answer."""
        kind, _, detail = fault.partition(":")
        if kind.isdigit():
            return self.send(b"too much", int(kind), {"Retry-After": detail} if detail else {})
        if kind == "drop":
            self.close_connection = True
            return None
        rows = {
            "short": rows[: int(detail or 0)],
            "empty": [],
            "twice": [*rows, *rows[:3]],
            "shuffled": rows[::-1],
        }.get(kind, rows)
        limited = rows if len(rows) <= service.longest else [*rows[: service.longest], {"error": "too many candles"}]
        limited = [*rows[:-1], {**rows[-1], "p": 99}] if kind == "other" else limited
        body = "".join(json.dumps(row) + "\n" for row in limited).encode()
        if kind == "half":
            return self.send(body[:-25])
        if kind == "cut":
            self.close_connection = True
            return self.send(body, length=2 * len(body))
        if kind == "torn":
            return self.send(gzip.compress(body)[:-30], headers={"Content-Encoding": "gzip"}, is_packed=True)
        if kind == "torn_at_line":  # what comes unpacks to whole lines, but the archive has no end
            packer = zlib.compressobj(wbits=31)
            packed = packer.compress(body[: body.index(b"\n", len(body) // 2) + 1]) + packer.flush(zlib.Z_SYNC_FLUSH)
            return self.send(packed, headers={"Content-Encoding": "gzip"}, is_packed=True)
        return self.send(body)

    def send(self, body, status=200, headers=None, length=None, *, is_packed=False):
        headers = dict(headers or {})
        if self.server.content.is_gzip and not is_packed and length is None:
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        super().send(body, status, headers, length)


@contextmanager
def serve_service(service):
    """Serve it; yields the base address."""
    with serve(Handler, service) as address:
        yield f"{address}/api"
