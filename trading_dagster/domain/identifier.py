"""Identifiers of chains, tokens and trading pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, TypeAlias

from trading_dagster.domain.error import BadInput


class ChainId(IntEnum):
    """The EVM chain id, or a negative number for venues that are not a chain."""

    centralised_exchange = -1
    unknown = 0
    ethereum = 1
    optimism = 10
    bsc = 56
    polygon = 137
    hyperevm = 999
    base = 8453
    anvil = 31337
    arbitrum = 42161
    avalanche = 43114

    def get_slug(self) -> str:
        """Return the name as used in file names and URLs."""
        return self.name.replace("_", "-")


class AssetType(Enum):
    """What holding a token means."""

    token = "token"  # noqa: S105 - the word, not a secret
    collateral = "collateral"
    borrowed = "borrowed"


class TradingPairKind(Enum):
    """What a position on a pair is."""

    spot_market_hold = "spot_market_hold"
    credit_supply = "credit_supply"
    lending_protocol_short = "lending_protocol_short"
    lending_protocol_long = "lending_protocol_long"
    vault = "vault"
    cash = "cash"
    spot_market_rebase_token = "spot_market_rebase_token"  # noqa: S105 - a kind of market
    exchange_account = "exchange_account"
    cctp_bridge = "cctp_bridge"
    freqtrade = "freqtrade"

    __hash__ = object.__hash__  # a kind is one object; Enum hashes its name, which takes a call for each look-up

    def is_spot(self) -> bool:
        """Tell whether the position holds the base token bought on a market."""
        return self is TradingPairKind.spot_market_hold or self is TradingPairKind.spot_market_rebase_token

    def is_vault(self) -> bool:
        """Tell whether the base token is a vault share."""
        return self is TradingPairKind.vault

    def is_short(self) -> bool:
        """Tell whether the position owes the base token."""
        return self is TradingPairKind.lending_protocol_short

    def is_credit_supply(self) -> bool:
        """Tell whether the position lends out the reserve."""
        return self is TradingPairKind.credit_supply

    def is_leverage(self) -> bool:
        """Tell whether the position has a loan."""
        return self in (TradingPairKind.lending_protocol_short, TradingPairKind.lending_protocol_long)


@dataclass(frozen=True, slots=True, eq=False)
class AssetIdentifier:
    """A token on a chain; equal when chain and address are equal.

    ``liquidation_threshold`` is the fraction of collateral value at which a loan is liquidated.
    """

    chain_id: int
    address: str
    token_symbol: str
    decimals: int = 18
    internal_id: int | None = None
    underlying: AssetIdentifier | None = None
    type: AssetType = AssetType.token
    liquidation_threshold: float | None = None
    _hash: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        """Check and normalise."""
        if not self.address.startswith("0x"):
            raise BadInput(f"Token address {self.address!r} of {self.token_symbol} must start with 0x")
        if not 0 <= self.decimals <= 36:
            raise BadInput(f"Token {self.token_symbol} has {self.decimals} decimals: expected 0 to 36")
        object.__setattr__(self, "address", self.address.lower())
        object.__setattr__(self, "chain_id", int(self.chain_id))
        object.__setattr__(self, "_hash", hash((self.chain_id, self.address)))

    def __eq__(self, other: object) -> bool:
        """Compare by chain and address."""
        if not isinstance(other, AssetIdentifier):
            return NotImplemented
        return self.address == other.address and self.chain_id == other.chain_id

    def __hash__(self) -> int:
        """Hash chain and address."""
        return self._hash

    def __str__(self) -> str:
        """Return symbol and address."""
        return f"{self.token_symbol} ({self.address})"

    def get_identifier(self) -> str:
        """Return "chain-address"."""
        return f"{self.chain_id}-{self.address}"


@dataclass(frozen=True, slots=True, eq=False)
class TradingPairIdentifier:
    """A market of a base token against a quote token; equal when base, quote and fee are equal.

    ``internal_id`` is valid inside one universe only and must not be persisted as a key.
    ``fee`` is a fraction: 0.003 is 0.3 %; None means unknown.
    """

    base: AssetIdentifier
    quote: AssetIdentifier
    pool_address: str
    exchange_address: str
    internal_id: int | None = None
    internal_exchange_id: int | None = None
    fee: float | None = None
    kind: TradingPairKind = TradingPairKind.spot_market_hold
    underlying_spot_pair: TradingPairIdentifier | None = None
    exchange_name: str | None = None
    other_data: dict[str, Any] = field(default_factory=dict)
    has_loan: bool = field(init=False, repr=False, default=False)
    """Whether positions have a loan: those that owe the base token, and those that lend out the reserve."""
    settles_later: bool = field(init=False, repr=False, default=False)
    """Whether orders wait for a vault."""
    _hash: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        """Check and normalise."""
        if self.fee is not None and not 0 <= self.fee < 1:
            raise BadInput(
                f"Pair {self.get_ticker()} has fee {self.fee}: a fee is a fraction, 0.003 means 0.3 % (0 <= fee < 1)"
            )
        if self.kind.is_leverage() and self.underlying_spot_pair is None:
            raise BadInput(f"Pair {self.get_ticker()} of kind {self.kind.value} needs its underlying_spot_pair")
        object.__setattr__(self, "pool_address", self.pool_address.lower())
        object.__setattr__(self, "exchange_address", self.exchange_address.lower())
        object.__setattr__(self, "has_loan", self.kind.is_leverage() or self.kind.is_credit_supply())
        object.__setattr__(self, "settles_later", self.kind.is_vault() and bool(self.other_data.get("async_vault")))
        object.__setattr__(self, "_hash", hash((self.base, self.quote, self.fee)))

    def __eq__(self, other: object) -> bool:
        """Compare by base, quote and fee."""
        if self is other:
            return True
        if not isinstance(other, TradingPairIdentifier):
            return NotImplemented
        return self.base == other.base and self.quote == other.quote and self.fee == other.fee

    def __hash__(self) -> int:
        """Hash base, quote and fee."""
        return self._hash

    def __str__(self) -> str:
        """Return ticker, kind and venue."""
        return f"{self.get_ticker()} {self.kind.value} on {self.exchange_name or self.exchange_address}"

    @property
    def chain_id(self) -> int:
        """Return the chain of the base token."""
        return self.base.chain_id

    def get_identifier(self) -> str:
        """Return a key that is stable across universes: chain, pool, tokens and kind."""
        return f"{self.chain_id}-{self.pool_address}-{self.base.address}-{self.quote.address}-{self.kind.value}"

    def get_ticker(self) -> str:
        """Return "BASE-QUOTE"."""
        return f"{self.base.token_symbol}-{self.quote.token_symbol}"

    def get_pricing_pair(self) -> TradingPairIdentifier:
        """Return the pair whose market prices this one: itself for spot and vault, the spot pair for loans."""
        spot = self.underlying_spot_pair
        if spot is None or self.kind.is_spot() or self.kind.is_vault():
            return self
        return spot

    def is_spot(self) -> bool:
        """Tell whether this is a spot pair."""
        return self.kind.is_spot()

    def is_vault(self) -> bool:
        """Tell whether this is a vault."""
        return self.kind is TradingPairKind.vault

    def is_short(self) -> bool:
        """Tell whether this is a short."""
        return self.kind is TradingPairKind.lending_protocol_short

    def is_credit_supply(self) -> bool:
        """Tell whether this is a credit supply."""
        return self.kind is TradingPairKind.credit_supply

    def is_leverage(self) -> bool:
        """Tell whether a position on this pair has a loan."""
        return self.kind.is_leverage()

    def is_async_vault(self) -> bool:
        """Tell whether deposits and redemptions of this vault settle later."""
        return self.settles_later


HumanReadableTradingPairDescription: TypeAlias = (
    tuple[ChainId, str | None, str, str] | tuple[ChainId, str | None, str, str, float]
)
"""(chain, exchange slug, pool address or None for any, base symbol, quote symbol[, fee])."""
