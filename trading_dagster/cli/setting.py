"""Read pairs as they are written on the command line."""

from __future__ import annotations

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription


def parse_pair(text: str) -> HumanReadableTradingPairDescription:
    """Return BASE/QUOTE or BASE/QUOTE@venue as the description that strategies use; raises BadInput."""
    ticker, _, venue = text.partition("@")
    base, slash, quote = ticker.partition("/")
    if not (base and slash and quote) or "/" in quote:
        raise BadInput(f"--pair is {text!r}: write BASE/QUOTE or BASE/QUOTE@venue, such as BTC/USD@coinbase")
    return (ChainId.centralised_exchange, venue or None, base, quote)
