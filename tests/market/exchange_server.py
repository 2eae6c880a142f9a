"""A server on this machine that speaks Binance's public HTTP interface, as ccxt calls it, and fails when told to.

Answers have the recorded shape of /api/v3/exchangeInfo and /api/v3/klines, errors and limits that of Binance's
documentation: code and msg, 429 and 418 with Retry-After.
"""

import json
import threading
import time
from collections import deque
from contextlib import contextmanager
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from http_server import QuietHandler, serve

EPOCH = datetime(1970, 1, 1)
WIDTHS = {"1m": 60, "5m": 300, "1h": 3600, "1d": 86_400}
LIMIT = 1000
JSON = {"Content-Type": "application/json;charset=UTF-8"}


def to_ms(moment):
    return int((moment - EPOCH).total_seconds() * 1000)


class FakeExchange:
    """Markets with hourly and other candles from a first time on, up to a clock that tests set."""

    def __init__(self, now, **first_of):
        self.now = now
        self.first_of = first_of or {"BTCUSDT": datetime(2024, 1, 1)}
        self.holes = set()
        self.faults = deque()
        self.requests = []
        self.behind_s = 0.0  # by how much its clock, which answers tell, is behind that of this machine
        self.lock = threading.Lock()

    def rows(self, symbol, interval, start_ms, limit):
        width = WIDTHS[interval] * 1000
        first = to_ms(self.first_of[symbol]) // width * width
        opened = max(first, -(-start_ms // width) * width)
        rows = []
        while opened <= to_ms(self.now) and len(rows) < limit:
            if opened not in self.holes:
                rows.append(self.row(symbol, opened, width))
            opened += width
        return rows

    def row(self, symbol, opened, width):
        price = 100 + len(symbol) + (opened // 60_000 * 7919 % 997) / 100
        is_open = opened + width > to_ms(self.now)
        values = [price, price + 2, price - 2, price + 1, 1.0 if is_open else 12.5]
        return [opened, *(f"{value:.8f}" for value in values), opened + width - 1, "0.5", 40, "10.9", "0.2", "0"]


def exchange_info(symbols):
    def describe(symbol):
        base, quote = symbol[:-4], symbol[-4:]
        return {
            "symbol": symbol,
            "status": "BREAK" if base == "LUNA" else "TRADING",
            "baseAsset": base,
            "baseAssetPrecision": 8,
            "quoteAsset": quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "icebergAllowed": True,
            "ocoAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.0", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }

    return {
        "timezone": "UTC",
        "serverTime": 1_704_067_200_000,
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}],
        "exchangeFilters": [],
        "symbols": [describe(symbol) for symbol in symbols],
    }


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() - self.server.content.behind_s)

    def respond(self):
        exchange = self.server.content
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        with exchange.lock:
            exchange.requests.append((address.path, query))
            fault = exchange.faults.popleft() if exchange.faults and address.path.endswith("/klines") else None
        if address.path == "/api/v3/exchangeInfo":
            return self.answer(exchange_info(exchange.first_of))
        if address.path != "/api/v3/klines":
            return self.answer({"code": -1, "msg": "no such path"}, 404)
        if query["symbol"] not in exchange.first_of:
            return self.answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        limit = min(LIMIT, int(query.get("limit", 500)))
        start_ms = int(query.get("startTime", 0))
        rows = exchange.rows(query["symbol"], query["interval"], start_ms, limit)
        return self.fail(fault, query, start_ms, rows)

    def fail(self, fault, query, start_ms, rows):
        """Answer as the fault says: None is the right answer."""
        kind, _, detail = (fault or "").partition(":")
        if kind in ("429", "418", "500"):
            message = {"code": -1003, "msg": "Way too much request weight used; IP banned until 1704067200000."}
            return self.answer(message, int(kind), {"Retry-After": detail} if detail else {})
        if kind == "drop":
            self.close_connection = True
            return None
        if kind == "half":
            return self.send(json.dumps(rows).encode()[: -20 - len(rows)], headers=JSON)
        if kind == "cut":
            body = json.dumps(rows).encode()
            self.close_connection = True
            return self.send(body[: len(body) // 2], headers=JSON, length=len(body))
        if kind == "short":
            rows = rows[: int(detail)]
        if kind == "empty":
            rows = []
        if kind == "overlap":
            back = start_ms - int(detail) * WIDTHS[query["interval"]] * 1000
            rows = self.server.content.rows(query["symbol"], query["interval"], back, len(rows) + int(detail))
        if kind == "shuffled":
            rows = [*rows[::-1], *rows[:2]]
        return self.answer(rows)

    def answer(self, content, status=200, headers=None):
        self.send(json.dumps(content).encode(), status, {**JSON, **(headers or {})})


@contextmanager
def serve_exchange(exchange):
    """Serve an exchange; yields the base of its public interface."""
    with serve(Handler, exchange) as address:
        yield f"{address}/api/v3"


def hours(count):
    return timedelta(hours=count)
