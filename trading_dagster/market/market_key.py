"""What marks the rows of a market in the lake: its description in a fixed form, and the pool's address if it has one.

    BTC/USDT@binance -1
    WETH/USDC@uniswap-v3 1 0.0005 0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640

Up to version 2 of the lake the address was not part of it, so that two pools with the same symbols, fee and exchange
could not be told apart.
"""

from __future__ import annotations

import re

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.market.exchange import split_ticker
from trading_dagster.market.source import Market

KEY_END = re.compile(r"^(?P<slug>.*?) (?P<chain>-?\d+)(?: (?P<fee>(?!0x)\d\S*[.e]\S*))?(?: (?P<pool>0x[0-9a-f]+))?$")


def market_key(market: Market) -> str:
    """Return the name that marks the rows of a market."""
    key = key_without_pool(market)
    return key if market.identifier is None else f"{key} {market.identifier.pool_address}"


def key_without_pool(market: Market) -> str:
    """Return the name that marked the rows of a market up to version 2 of the lake."""
    fee = "" if market.fee is None else f" {market.fee!r}"
    return f"{market.pair}@{market.exchange_slug} {int(market.chain_id)}{fee}"


def parse_market_key(key: str) -> HumanReadableTradingPairDescription:
    """Return the description of a market by the name that marks its rows, as `Market.exact_description` has it."""
    pair, _, rest = key.partition("@")
    base, quote = split_ticker(pair)
    found = KEY_END.match(rest)
    if found is None:
        raise CandleContractBroken(
            f"market {key!r} is not written as BASE/QUOTE@exchange chain[ fee][ pool]: import it again"
        )
    described = (ChainId(int(found["chain"])), found["pool"] or found["slug"], base, quote)
    return described if found["fee"] is None else (*described, float(found["fee"]))
