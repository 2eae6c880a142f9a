"""Open the source of a feed; web3 is imported only for one that reads a chain."""

from __future__ import annotations

from datetime import datetime

from trading_dagster.market.feed import Feed
from trading_dagster.market.source import CandleSource


def open_feed(feed: Feed) -> CandleSource:
    """Return where a feed's candles come from; of a chain those that no reorg is expected to change any more.

    Raises:
        MarketDataMissing, BadConfiguration: There is no such source, or a variable is not set.
        ContractMissing, NodeError: There is no such pool or vault, or no node answers.
    """
    if feed.source != "chain":
        return feed.open_source()
    from trading_dagster.evm.chain_feed import ChainFeed

    since = datetime.combine(feed.start, datetime.min.time())
    chain = ChainFeed(feed.chain, feed.rpc_envs, since=since)
    if feed.vaults:
        return chain.open_vaults(feed.vaults).settled()
    return chain.open_source(feed.pools, quote=feed.quote, usd_tokens=feed.usd).settled()
