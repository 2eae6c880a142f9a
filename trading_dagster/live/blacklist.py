"""An operator forbids or allows the buying of a token; what is held of it stays and may be sold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.state import State
from trading_dagster.live.session import LiveSession, open_session
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.storage.strategy_ledger import StrategyLedger


def blacklist_token(live: LiveStrategy, token: str, reason: str) -> AssetIdentifier:
    """Forbid buying a token from the next decision on; once more does nothing.

    Args:
        live: The strategy; its venue is not needed.
        token: Symbol or address of a token of the universe, or of a pair that was traded.
        reason: Why.

    Raises:
        BadInput: There is no such token, or several, or no reason was given.
        ExecutorBusy: Another executor works on the strategy.
    """
    if not reason.strip():
        raise BadInput(f"Say why {token} is blacklisted")
    with _open(live) as (session, universe):
        asset = find_token(session.state, universe, token)
        if asset not in session.state.blacklisted_assets:
            session.state.blacklist_asset(asset, reason.strip())
            session.save()
        return asset


def allow_token(live: LiveStrategy, token: str, reason: str = "") -> AssetIdentifier:
    """Allow buying a token again; once more does nothing. Arguments and errors as blacklist_token."""
    with _open(live) as (session, universe):
        asset = find_token(session.state, universe, token)
        if asset in session.state.blacklisted_assets:
            session.state.unblacklist_asset(asset, reason.strip())
            session.save()
        return asset


def read_blacklist(live: LiveStrategy) -> Mapping[AssetIdentifier, str]:
    """Return the tokens that may not be bought, and why; from the ledger alone."""
    state = StrategyLedger(live.store, live.id).load()
    return {} if state is None else dict(state.blacklisted_assets)


def find_token(state: State, universe: TradingStrategyUniverse, token: str) -> AssetIdentifier:
    """Return the token of a symbol or an address; raises BadInput for none or several."""
    pairs = [*universe.pairs, *state.known_pairs.values()]
    known = dict.fromkeys([asset for pair in pairs for asset in (pair.base, pair.quote)])
    known |= dict.fromkeys(state.blacklisted_assets)
    wanted = token.strip().lower()
    found = [asset for asset in known if wanted in (asset.address.lower(), asset.token_symbol.lower())]
    if len(found) == 1:
        return found[0]
    listing = ", ".join(f"{asset.token_symbol} ({asset.address})" for asset in (found or known))
    raise BadInput(f"{token!r} names {len(found)} tokens: give the symbol or address of one of {listing}")


@contextmanager
def _open(live: LiveStrategy) -> Iterator[tuple[LiveSession, TradingStrategyUniverse]]:
    universe = load_universe(live, live.now())
    with open_session(
        live.store,
        live.id,
        reserve_asset=universe.get_reserve_asset(),
        created_at=live.clock.now(),
        known_pairs=universe.pairs,
        lease_s=live.lease_s,
        wait_s=live.wait_s,
    ) as session:
        yield session, universe
