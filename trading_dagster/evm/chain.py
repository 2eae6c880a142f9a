"""What must be known of a chain to trade on it: its pace, its gas, its exchanges and tokens.

A registry is a value that callers hold, so several chains, or two sets of the same chain, live side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction

from eth_utils.address import to_checksum_address

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.client import ClientSetting
from trading_dagster.evm.dex import OutputDex
from trading_dagster.evm.gas import GasPolicy
from trading_dagster.evm.transaction import ExecutionSetting
from trading_dagster.evm.uniswap_v2 import UniswapV2Deployment, UniswapV2Dex
from trading_dagster.evm.uniswap_v3 import RouterKind, UniswapV3Dex


def require_checksum(address: str, what: str) -> str:
    """Return an address in lower case; raises BadConfiguration when its capitals say that it has a typo (EIP-55).

    An address in one case only carries no checksum and passes.
    """
    plain = require_address(address, what)
    digits = address[2:]
    if digits not in (digits.lower(), digits.upper()) and to_checksum_address(plain) != address:
        raise BadConfiguration(f"The {what} {address} breaks its own checksum (EIP-55): it has a typo; copy it again")
    return plain


@dataclass(frozen=True, slots=True)
class KnownToken:
    """A token of a chain; ``is_stablecoin`` when it is meant to be worth one USD."""

    symbol: str
    address: str
    decimals: int
    is_stablecoin: bool = False

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "address", require_checksum(self.address, f"token {self.symbol}"))


@dataclass(frozen=True, slots=True)
class KnownExchange:
    """An exchange of a chain by its slug; ``fees`` are those of its pools, fractions."""

    slug: str
    dex: OutputDex
    fees: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain and how to trade on it.

    Attributes:
        slug: Its name in configuration, such as "ethereum".
        block_time_s: How long a block takes, about, in seconds.
        client: How patient to be with nodes; ``max_lag`` is in blocks, so it follows the pace of the chain.
        execution: How deep a reorg is to be expected, in blocks.
        gas: What is paid at most and at least.
        explorer: URL of the block explorer, without a slash at the end; empty when there is none.
        multicall: Address of Multicall3; empty when it may not be there.
        aave_v3: Address of Aave v3's pool; empty when it is not known.
    """

    chain_id: int
    slug: str
    name: str
    native_symbol: str
    block_time_s: float
    client: ClientSetting
    execution: ExecutionSetting
    gas: GasPolicy
    wrapped_native: KnownToken | None = None
    explorer: str = ""
    multicall: str = ""
    aave_v3: str = ""
    exchanges: tuple[KnownExchange, ...] = ()
    tokens: tuple[KnownToken, ...] = ()

    def __post_init__(self) -> None:
        """Check and normalise."""
        for field in ("multicall", "aave_v3"):
            if getattr(self, field):
                object.__setattr__(self, field, require_checksum(getattr(self, field), f"{field} of {self.name}"))
        _require_distinct([exchange.slug for exchange in self.exchanges], f"exchanges of {self.name}")
        _require_distinct([token.symbol for token in self.tokens], f"token symbols of {self.name}")
        _require_distinct([token.address for token in self.tokens], f"token addresses of {self.name}")

    def get_exchange(self, slug: str) -> KnownExchange:
        """Return an exchange; raises BadConfiguration and says what there is."""
        known = {exchange.slug: exchange for exchange in self.exchanges}
        if slug not in known:
            raise BadConfiguration(_unknown(f"exchange of {self.name}", slug, known))
        return known[slug]

    def get_token(self, symbol: str) -> AssetIdentifier:
        """Return a token by its symbol; raises BadConfiguration and says what there is."""
        known = {token.symbol: token for token in self._all_tokens()}
        if symbol not in known:
            raise BadConfiguration(
                _unknown(f"token of {self.name}", symbol, known) + "; others can be named by address"
            )
        token = known[symbol]
        return AssetIdentifier(self.chain_id, token.address, token.symbol, token.decimals)

    def list_stablecoins(self) -> Sequence[AssetIdentifier]:
        """Return the tokens that are meant to be worth one USD: what can be a reserve."""
        return [self.get_token(token.symbol) for token in self.tokens if token.is_stablecoin]

    def transaction_url(self, tx_hash: str) -> str:
        """Return where people can look at a transaction; empty without an explorer."""
        return f"{self.explorer}/tx/{tx_hash}" if self.explorer else ""

    def address_url(self, address: str) -> str:
        """Return where people can look at an address; empty without an explorer."""
        return f"{self.explorer}/address/{address}" if self.explorer else ""

    def _all_tokens(self) -> list[KnownToken]:
        wrapped = [] if self.wrapped_native is None else [self.wrapped_native]
        return [*wrapped, *self.tokens]


@dataclass(frozen=True, slots=True)
class ChainRegistry:
    """Chains by id and slug."""

    chains: tuple[Chain, ...]

    def __post_init__(self) -> None:
        """Check."""
        _require_distinct([chain.slug for chain in self.chains], "chain slugs")
        _require_distinct([str(chain.chain_id) for chain in self.chains], "chain ids")

    def get_chain(self, chain: int | str) -> Chain:
        """Return a chain by id or slug; raises BadConfiguration and says what there is."""
        for known in self.chains:
            if chain in (known.chain_id, known.slug):
                return known
        if isinstance(chain, int):
            ids = ", ".join(f"{known.chain_id} ({known.slug})" for known in self.chains)
            raise BadConfiguration(f"Chain id {chain} is not known; known are {ids}; add it with its own Chain")
        raise BadConfiguration(_unknown("chain", chain, [known.slug for known in self.chains]))

    def with_chain(self, chain: Chain) -> ChainRegistry:
        """Return a registry with one more chain, or one in the place of that with the same id."""
        return ChainRegistry((*(known for known in self.chains if known.chain_id != chain.chain_id), chain))


def uniswap_v2(slug: str, name: str, factory: str, router: str, fee: Fraction = Fraction(3, 1000)) -> KnownExchange:
    """Return a fork of Uniswap v2; addresses with their checksum."""
    deployment = UniswapV2Deployment(
        require_checksum(factory, f"factory of {name}"), require_checksum(router, f"router of {name}"), fee
    )
    return KnownExchange(slug, UniswapV2Dex(deployment, name), (fee,))


def uniswap_v3(
    slug: str,
    name: str,
    factory: str,
    router: str,
    quoter: str,
    *,
    router_kind: RouterKind = RouterKind.swap_router_02,
    tiers: tuple[int, ...] = (100, 500, 3000, 10_000),
) -> KnownExchange:
    """Return a fork of Uniswap v3; addresses with their checksum, tiers in millionths."""
    fees = tuple(Fraction(tier, 1_000_000) for tier in tiers)
    dex = UniswapV3Dex(
        factory=require_checksum(factory, f"factory of {name}"),
        router=require_checksum(router, f"router of {name}"),
        quoter=require_checksum(quoter, f"quoter of {name}"),
        router_kind=router_kind,
        fee_tiers=fees,
        name=name,
    )
    return KnownExchange(slug, dex, fees)


def _unknown(what: str, asked: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(asked.lower(), {name.lower(): name for name in names}, n=1)
    hint = next((f"did you mean {name}? " for name in names if close and name.lower() == close[0]), "")
    return f"{asked!r} is no known {what}: {hint}Known are {', '.join(names) or 'none'}"


def _require_distinct(names: Sequence[str], what: str) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise BadConfiguration(f"The {what} are given twice: {', '.join(doubled)}")
