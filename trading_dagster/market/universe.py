"""The trading universe of a strategy: its pairs, reserve asset and candles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from trading_dagster.domain.error import BadInput, UnknownPair
from trading_dagster.domain.identifier import (
    AssetIdentifier,
    ChainId,
    HumanReadableTradingPairDescription,
    TradingPairIdentifier,
)
from trading_dagster.domain.time import TimeBucket, require_naive_utc, to_unix_us
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.domain.vault_history import NO_HISTORY, VaultHistory, take_out_limits
from trading_dagster.market.data_universe import CandleUniverse, DataUniverse
from trading_dagster.market.dataset import CandleInput, Dataset, limit_dataset, take_rows, to_panel
from trading_dagster.market.exchange import Exchange
from trading_dagster.market.identifier_json import asset_to_json, exchange_to_json, pair_to_json
from trading_dagster.market.lending import TOLERANCE as LENDING_TOLERANCE
from trading_dagster.market.lending import LendingUniverse, ReserveLike
from trading_dagster.market.lending_market import LendingMarkets
from trading_dagster.market.pair_universe import PairLike, PairUniverse, number_pairs
from trading_dagster.market.panel import ONE_US, CandlePanel
from trading_dagster.market.panel_builder import ForwardFill

DEFAULT_DELAY_TOLERANCE = timedelta(days=2)


def default_delay_tolerance(bucket: TimeBucket) -> timedelta:
    """Return how old a price may be: 2 days; for buckets over a day 2 days beyond the bucket, so 9 for 7 d."""
    width = bucket.to_timedelta()
    return DEFAULT_DELAY_TOLERANCE + (width if width > timedelta(days=1) else timedelta(0))


@dataclass(frozen=True, eq=False)
class TradingStrategyUniverse:
    """Pairs, reserve asset and candles that a strategy trades on; made by `create_from_dataset`.

    Row i of every panel belongs to ``pairs[i]``.

    Args:
        pairs: Pairs with different internal ids.
        reserve_assets: Exactly one token.
        primary_chain: Chain of the reserve.
        candles: Price candles.
        exchanges: Venues of the pairs.
        stop_loss_candles: Candles on which triggers are checked.
        liquidity: TVL in USD.
        lending: Lending reserves and rates.
        vault_limits: What vaults took and gave when; limits that pairs carry are taken out of them and put here.
        price_data_delay_tolerance: How old a price may be; None is the default of the bucket.
        start_at: First instant asked for, naive UTC.
        end_at: Exclusive end asked for, naive UTC.
        required_history_period: Warm-up before the first decision.
        name: For messages and charts.
    """

    pairs: tuple[TradingPairIdentifier, ...]
    reserve_assets: tuple[AssetIdentifier, ...]
    primary_chain: ChainId
    candles: CandlePanel
    exchanges: tuple[Exchange, ...] = ()
    stop_loss_candles: CandlePanel | None = None
    liquidity: CandlePanel | None = None
    lending: LendingUniverse | None = None
    vault_limits: VaultHistory = NO_HISTORY
    price_data_delay_tolerance: timedelta | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    required_history_period: timedelta | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Check that panels belong to the pairs, keep vaults' limits apart, and set the default tolerance."""
        if len(self.reserve_assets) != 1:
            raise BadInput(f"A universe has exactly one reserve asset, got {[str(a) for a in self.reserve_assets]}")
        pairs, limits = take_out_limits(self.pairs, self.vault_limits)
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "vault_limits", limits)
        ids = tuple(pair.internal_id for pair in self.pairs)
        for panel in (self.candles, self.stop_loss_candles, self.liquidity):
            if panel is not None and panel.pair_ids != ids:
                raise BadInput(f"Candles of pair ids {panel.pair_ids[:20]} for pairs {ids[:20]}: rows must match pairs")
        if self.stop_loss_candles is not None and self.stop_loss_candles.width_us > self.candles.width_us:
            raise BadInput(
                f"Stop-loss candles of {self.stop_loss_candles.bucket.value} are coarser than the "
                f"{self.time_bucket.value} candles: choose the same bucket or a finer one"
            )
        if self.price_data_delay_tolerance is None:
            object.__setattr__(self, "price_data_delay_tolerance", default_delay_tolerance(self.time_bucket))

    @classmethod
    def create_from_dataset(
        cls,
        dataset: Dataset,
        reserve_asset: AssetIdentifier | str | None = None,
        *,
        forward_fill: bool = False,
        forward_fill_until: datetime | None = None,
        forward_fill_tolerance: timedelta | None = None,
        primary_chain: ChainId | None = None,
        price_data_delay_tolerance: timedelta | None = None,
    ) -> TradingStrategyUniverse:
        """Return the universe of a dataset.

        Args:
            dataset: Pairs and candles.
            reserve_asset: The reserve token, its address or its symbol; None takes the quote all pairs share.
            forward_fill: Fill gaps of candles, stop-loss candles and TVL; see `ForwardFill`.
            forward_fill_until: Fill also after a pair's last candle, up to here.
            forward_fill_tolerance: Longest gap to fill; None takes the price delay tolerance, or by default that of the
                bucket filled.
            primary_chain: None takes the chain of the reserve.
            price_data_delay_tolerance: How old a price may be; None is the default of the bucket.

        Raises:
            BadInput: No pairs, no single reserve, or a stop-loss feed coarser than the candles.
            CandleContractBroken: Candles cannot be used.
        """
        pairs = number_pairs(dataset.pairs)
        reserve = _choose_reserve(PairUniverse(pairs, dataset.exchanges), reserve_asset)
        bucket = dataset.time_bucket

        def fill_of(width: TimeBucket) -> ForwardFill | None:
            longest = forward_fill_tolerance
            if longest is None:
                longest = price_data_delay_tolerance or default_delay_tolerance(width)
            return ForwardFill(forward_fill_until, longest) if forward_fill else None

        def panel(name: str, candles: CandleInput | None, width: TimeBucket | None) -> CandlePanel | None:
            if candles is None:
                return None
            own = width or bucket
            return to_panel(candles, own, pairs, fill=fill_of(own), source_name=name, is_tvl=name == "liquidity")

        candles = panel("candles", dataset.candles, bucket)
        assert candles is not None
        feed, feed_bucket = dataset.backtest_stop_loss_candles, dataset.backtest_stop_loss_time_bucket or bucket
        is_shared = feed is dataset.candles and feed_bucket is bucket
        return cls(
            pairs=pairs,
            reserve_assets=(reserve,),
            primary_chain=primary_chain if primary_chain is not None else ChainId(reserve.chain_id),
            candles=candles,
            exchanges=tuple(dataset.exchanges),
            stop_loss_candles=candles if is_shared else panel("backtest_stop_loss_candles", feed, feed_bucket),
            liquidity=panel("liquidity", dataset.liquidity, dataset.liquidity_time_bucket),
            lending=dataset.lending_candles,
            price_data_delay_tolerance=price_data_delay_tolerance,
            start_at=dataset.start_at,
            end_at=dataset.end_at,
            required_history_period=dataset.history_period,
            name=dataset.name,
        )

    @classmethod
    def create_single_pair_universe(cls, dataset: Dataset, pair: PairLike | None = None) -> TradingStrategyUniverse:
        """Return the universe of one pair of a dataset, its quote token as reserve; None takes the only pair."""
        lookup = PairUniverse(number_pairs(dataset.pairs), dataset.exchanges)
        chosen = lookup.get_single() if pair is None else lookup.resolve(pair)
        return cls.create_from_dataset(limit_dataset(dataset, [chosen]), chosen.quote)

    @classmethod
    def create_multipair_universe(
        cls, dataset: Dataset, pairs: Iterable[PairLike], reserve_asset: AssetIdentifier | str | None = None
    ) -> TradingStrategyUniverse:
        """Return the universe of the named pairs of a dataset."""
        lookup = PairUniverse(number_pairs(dataset.pairs), dataset.exchanges)
        return cls.create_from_dataset(limit_dataset(dataset, [lookup.resolve(pair) for pair in pairs]), reserve_asset)

    @classmethod
    def create_limited_pair_universe(
        cls,
        dataset: Dataset,
        chain_id: ChainId,
        exchange_slug: str | None,
        pairs: Iterable[tuple[str, str]],
        reserve_asset_pair_ticker: tuple[str, str] | None = None,
    ) -> TradingStrategyUniverse:
        """Return the universe of some (base, quote) pairs of one exchange of a dataset.

        The reserve is the quote of ``reserve_asset_pair_ticker``, one of the pairs; None takes the quote all share.
        """
        named: list[PairLike] = [(chain_id, exchange_slug, base, quote) for base, quote in pairs]
        if reserve_asset_pair_ticker is None:
            return cls.create_multipair_universe(dataset, named)
        lookup = PairUniverse(number_pairs(dataset.pairs), dataset.exchanges)
        reserve = lookup.resolve((chain_id, exchange_slug, *reserve_asset_pair_ticker)).quote
        return cls.create_multipair_universe(dataset, named, reserve)

    @classmethod
    def create_multichain_universe_by_pair_descriptions(
        cls, dataset: Dataset, pairs: Iterable[PairLike], reserve_token_symbol: str
    ) -> TradingStrategyUniverse:
        """Return the universe of the named pairs, on any chains.

        The reserve is the token of that symbol in which the first pair quoted in such a token is quoted, so the order
        of the pairs says on which chain the money lies.

        Raises:
            UnknownPair: The dataset has no such pair.
            BadInput: No pair is quoted in a token of that symbol.
        """
        lookup = PairUniverse(number_pairs(dataset.pairs), dataset.exchanges)
        chosen = [lookup.resolve(pair) for pair in pairs]
        quotes = [pair.quote for pair in chosen]
        reserve = next((quote for quote in quotes if quote.token_symbol == reserve_token_symbol), None)
        if reserve is None:
            known = ", ".join(sorted({quote.token_symbol for quote in quotes}))
            raise BadInput(
                f"reserve_token_symbol {reserve_token_symbol!r}: the pairs are quoted in {known or 'nothing'}"
            )
        return cls.create_from_dataset(limit_dataset(dataset, chosen), reserve)

    def clone(self) -> TradingStrategyUniverse:
        """Return another universe of the same content; the candles themselves are shared, nobody can change them."""
        return replace(self)

    def remove_pair(self, pair: PairLike) -> TradingStrategyUniverse:
        """Return the universe without a pair and its candles; this one stays as it is, as universes never change.

        Raises:
            UnknownPair: There is no such pair.
            BadInput: It is the only one.
        """
        gone = self.resolve_pair(pair)
        left = tuple(own for own in self.pairs if own is not gone)
        if not left:
            raise BadInput(f"{gone} is the only pair: a universe needs one")
        ids = [_id_of(own) for own in left]

        def rest(panel: CandlePanel | None) -> CandlePanel | None:
            return None if panel is None else take_rows(panel, ids)

        candles, feed = take_rows(self.candles, ids), self.stop_loss_candles
        return replace(
            self,
            pairs=left,
            candles=candles,
            stop_loss_candles=candles if feed is self.candles else rest(feed),
            liquidity=rest(self.liquidity),
        )

    def is_open_ended_universe(self) -> bool:
        """Tell whether it ends where its data does, as in live trading, and not at a time that was asked for."""
        return self.end_at is None

    @property
    def time_bucket(self) -> TimeBucket:
        """Return the width of the candles."""
        return self.candles.bucket

    @property
    def stop_loss_time_bucket(self) -> TimeBucket | None:
        """Return the width of the stop-loss candles, None without them."""
        return None if self.stop_loss_candles is None else self.stop_loss_candles.bucket

    @property
    def backtest_stop_loss_time_bucket(self) -> TimeBucket | None:
        """Return the same as `stop_loss_time_bucket`."""
        return self.stop_loss_time_bucket

    @cached_property
    def backtest_stop_loss_candles(self) -> CandleUniverse | None:
        """Return the stop-loss candles as frames."""
        return None if self.stop_loss_candles is None else CandleUniverse(self.stop_loss_candles)

    @cached_property
    def data_universe(self) -> DataUniverse:
        """Return pairs and candles as ported strategies read them."""
        return DataUniverse(
            time_bucket=self.time_bucket,
            chains=frozenset(ChainId(pair.chain_id) for pair in self.pairs),
            exchanges=self.exchanges,
            pairs=self._lookup,
            candles=CandleUniverse(self.candles),
            liquidity=None if self.liquidity is None else CandleUniverse(self.liquidity),
            lending_candles=self.lending,
        )

    def get_pair_count(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def iterate_pairs(self) -> Iterator[TradingPairIdentifier]:
        """Iterate over pairs in universe order."""
        return iter(self.pairs)

    def is_single_pair_universe(self) -> bool:
        """Tell whether there is exactly one pair."""
        return len(self.pairs) == 1

    def get_single_pair(self) -> TradingPairIdentifier:
        """Return the only pair; raises BadInput when there are none or several."""
        return self._lookup.get_single()

    def get_pair_by_id(self, pair_id: int) -> TradingPairIdentifier:
        """Return the pair of an internal id; raises UnknownPair."""
        return self._lookup.get_pair_by_id(pair_id)

    def get_pair_by_human_description(self, description: HumanReadableTradingPairDescription) -> TradingPairIdentifier:
        """Return the pair of (chain, exchange slug or None, base, quote[, fee]); raises UnknownPair or BadInput."""
        return self._lookup.get_pair_by_human_description(description)

    def resolve_pair(self, pair: PairLike) -> TradingPairIdentifier:
        """Return the universe's own pair of a pair or a description; raises UnknownPair."""
        if isinstance(pair, TradingPairIdentifier):
            candidates = self._own_pairs.get(pair, ())
            for own in candidates:  # pairs are equal by tokens and fee: the same market may be on several pools
                if own.pool_address == pair.pool_address:
                    return own
            if candidates:
                return candidates[0]
        return self._lookup.resolve(pair)

    def get_pair_by_smart_contract(self, address: str) -> TradingPairIdentifier | None:
        """Return the pair of a pool address, or None."""
        return self._lookup.get_pair_by_smart_contract(address)

    def get_pair_by_address(self, address: str) -> TradingPairIdentifier | None:
        """Return the pair of a pool address, or None."""
        return self._lookup.get_pair_by_smart_contract(address)

    def get_pair_by_vault_name(self, name: str) -> TradingPairIdentifier:
        """Return the vault of a name; raises UnknownPair."""
        names = {VaultTerms.of_pair(pair).name: pair for pair in self.pairs if pair.is_vault()}
        if name not in names:
            raise UnknownPair(f"There is no vault {name!r}: there are {', '.join(sorted(names)) or 'none'}")
        return names[name]

    def get_reserve_asset(self) -> AssetIdentifier:
        """Return the reserve token."""
        return self.reserve_assets[0]

    def get_asset_by_address(self, address: str) -> AssetIdentifier:
        """Return the token of an address; raises UnknownAsset."""
        return self._lookup.get_asset_by_address(address)

    def has_stop_loss_data(self) -> bool:
        """Tell whether triggers can be checked."""
        return self.stop_loss_candles is not None

    def has_liquidity_data(self) -> bool:
        """Tell whether TVL is known."""
        return self.liquidity is not None

    def has_lending_data(self) -> bool:
        """Tell whether lending rates are known."""
        return self.lending is not None and bool(self.lending.reserves)

    @property
    def _markets(self) -> LendingMarkets:
        return LendingMarkets(self.lending, self.get_reserve_asset())

    def get_shorting_pair(self, pair: TradingPairIdentifier) -> TradingPairIdentifier:
        """Return the pair of a short on a spot pair; raises NoLendingData."""
        return self._markets.get_shorting_pair(self.resolve_pair(pair))

    def get_credit_supply_pair(self, reserve: ReserveLike | None = None) -> TradingPairIdentifier:
        """Return the pair of lending out the reserve token, in another market if named; raises NoLendingData."""
        return self._markets.get_credit_supply_pair(reserve)

    def get_latest_supply_apr(
        self,
        reserve: ReserveLike | None = None,
        timestamp: datetime | None = None,
        tolerance: timedelta = LENDING_TOLERANCE,
    ) -> float:
        """Return the supply rate of a year as a fraction, of the reserve token by default; raises NoLendingData.

        The newest one, or the newest at a naive UTC time that is not older than the tolerance.
        """
        return self._markets.get_supply_apr(reserve, timestamp, tolerance)

    def can_open_short(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether both tokens of a spot pair have a borrow rate above 0 within two days."""
        spot = pair.get_pricing_pair()
        return all(self._markets.can_supply(asset, timestamp) for asset in (spot.base, spot.quote))

    def can_open_credit_supply(self, timestamp: datetime, pair: TradingPairIdentifier | None = None) -> bool:
        """Tell whether the quote of a pair, the reserve by default, has a borrow rate above 0 within two days."""
        return self._markets.can_supply(self.get_reserve_asset() if pair is None else pair.quote, timestamp)

    def has_pair(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether the pair is one of the universe."""
        return pair in self._own_pairs

    def can_open_spot(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether a real candle opened at or before a time and not longer ago than the price delay tolerance."""
        assert self.price_data_delay_tolerance is not None
        row = self.candles.row_of(_id_of(pair.get_pricing_pair()))
        last = self.candles.bar_at(to_unix_us(require_naive_utc(timestamp)))
        oldest_us = to_unix_us(timestamp) - self.price_data_delay_tolerance // ONE_US
        first = max(0, self.candles.bar_at(oldest_us - 1) + 1)
        part = slice(first, max(first, last + 1))
        return bool((self.candles.exists[row, part] & ~self.candles.forward_filled[row, part]).any())

    def get_trading_broken_reason(
        self,
        pair: TradingPairIdentifier,
        min_candles_required: int,
        min_price: float = 1e-8,
        max_price: float = 1e6,
        timestamp: datetime | None = None,
    ) -> str | None:
        """Return why a pair should not be traded, or None.

        Args:
            pair: Pair of the universe.
            min_candles_required: Fewest real candles.
            min_price: Lowest price that is believed.
            max_price: Highest price that is believed.
            timestamp: Look only at candles that closed at or before it; None looks at all.
        """
        panel = self.candles
        row = panel.row_of(_id_of(pair.get_pricing_pair()))
        end = panel.bar_count if timestamp is None else max(0, panel.bar_at(to_unix_us(require_naive_utc(timestamp))))
        real = panel.exists[row, :end] & ~panel.forward_filled[row, :end]
        count = int(real.sum())
        if count < min_candles_required:
            return f"{pair.get_ticker()} has {count} candles, {min_candles_required} are required"
        if count == 0:
            return None
        lowest = float(panel.columns["low"][row, :end][real].min())
        highest = float(panel.columns["high"][row, :end][real].max())
        if lowest < min_price:
            return f"{pair.get_ticker()} has a price of {lowest}, below {min_price}"
        if highest > max_price:
            return f"{pair.get_ticker()} has a price of {highest}, above {max_price}"
        return None

    @cached_property
    def _lookup(self) -> PairUniverse:
        return PairUniverse(self.pairs, self.exchanges)

    @cached_property
    def _own_pairs(self) -> dict[TradingPairIdentifier, tuple[TradingPairIdentifier, ...]]:
        own: dict[TradingPairIdentifier, tuple[TradingPairIdentifier, ...]] = {}
        for pair in self.pairs:
            own[pair] = (*own.get(pair, ()), pair)
        return own

    def get_cache_key(self) -> str:
        """Return a hash of all that the universe holds but its name; equal exactly when the content is equal."""
        return self._cache_key

    @cached_property
    def _cache_key(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        about = {
            "pairs": [pair_to_json(pair) for pair in self.pairs],
            "reserve_assets": [asset_to_json(asset) for asset in self.reserve_assets],
            "exchanges": [exchange_to_json(exchange) for exchange in self.exchanges],
            "primary_chain": int(self.primary_chain),
            "spans": [repr(self.price_data_delay_tolerance), repr(self.required_history_period)],
            "times": [repr(self.start_at), repr(self.end_at)],
        }
        digest.update(json.dumps(about, sort_keys=True).encode())
        for role in ("candles", "stop_loss_candles", "liquidity"):
            panel: CandlePanel | None = getattr(self, role)
            digest.update(f"{role} {'absent' if panel is None else panel.bucket.value}".encode())
            for pair_id in () if panel is None else panel.pair_ids:
                assert panel is not None
                digest.update(panel.content_hash(pair_id).encode())
        if self.lending is not None:
            digest.update(self.lending.content_hash().encode())
        if self.vault_limits:
            digest.update(json.dumps(self.vault_limits.to_data(), sort_keys=True).encode())
        return digest.hexdigest()


def _id_of(pair: TradingPairIdentifier) -> int:
    if pair.internal_id is None:
        raise UnknownPair(f"{pair} has no internal id: take the pair from the universe")
    return pair.internal_id


def _choose_reserve(lookup: PairUniverse, reserve: AssetIdentifier | str | None) -> AssetIdentifier:
    if isinstance(reserve, AssetIdentifier):
        return reserve
    if reserve is not None:
        is_address = reserve.startswith("0x")
        return lookup.get_asset_by_address(reserve) if is_address else lookup.get_asset_by_symbol(reserve)
    quotes = tuple(dict.fromkeys(pair.quote for pair in lookup.iterate_pairs()))
    if len(quotes) != 1:
        raise BadInput(
            f"The pairs have {len(quotes)} quote tokens ({', '.join(map(str, quotes[:5])) or 'no pairs'}): "
            "name the reserve_asset"
        )
    return quotes[0]
