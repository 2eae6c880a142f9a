"""Where a deployment trades: chain, exchange, lending pool, vaults, wallet and the pools of its pairs; no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from trading_dagster.live.deployment_field import STRICT, Address, DataPair, Fraction, VariableName


@dataclass(frozen=True, slots=True, config=STRICT)
class Chain:
    """The chain: its slug in the registry, and which variables hold the URLs of its nodes, the best first.

    Attributes:
        name: The slug.
        rpc_envs: The variables; on paper there may be none.
        confirmations: Blocks after which a transaction counts as settled; None is the registry's number.
        min_gas: Native tokens that the wallet should have; with less there is an alarm.
        multicall: Address of Multicall3 where the registry knows none.
        wrapped_native: Address of the token that stands for native ones where the registry knows none; gas is valued
            by its price.
    """

    name: str
    rpc_envs: tuple[VariableName, ...] = ()
    confirmations: Annotated[int, Field(ge=1, le=10_000)] | None = None
    min_gas: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    multicall: Address | None = None
    wrapped_native: Address | None = None

    @property
    def is_local(self) -> bool:
        """Tell whether it is a chain for development, where nothing is worth anything."""
        return self.name == "local"


@dataclass(frozen=True, slots=True, config=STRICT)
class Exchange:
    """A decentralised exchange: its slug in the registry, or its contracts.

    Attributes:
        slug: Its name in the registry of its chain.
        kind: Which exchange it is a fork of, when it is given by its contracts.
        fee: What pools take where a pair does not say it, a fraction.
        router_kind: The routers of Uniswap v3: ``swap_router`` has a deadline in each swap, ``swap_router_02`` (the
            default, also PancakeSwap's) has none there.
        fee_tiers: The fees that pools of Uniswap v3 can have, fractions; by default 0.0001, 0.0005, 0.003 and 0.01.
    """

    slug: str | None = None
    kind: Literal["uniswap_v2", "uniswap_v3"] | None = None
    factory: Address | None = None
    router: Address | None = None
    quoter: Address | None = None
    fee: Fraction | None = None
    router_kind: Literal["swap_router", "swap_router_02"] | None = None
    fee_tiers: tuple[Fraction, ...] | None = None

    def __post_init__(self) -> None:
        """Check."""
        contracts = (self.kind, self.factory, self.router)
        own = (*contracts, self.quoter, self.router_kind, self.fee_tiers)
        if self.slug is not None and any(part is not None for part in own):
            raise ValueError("slug and contracts are given: keep the slug, or kind, factory and router")
        if self.slug is None and any(part is None for part in contracts):
            raise ValueError("give a slug of the chain's registry, or kind, factory and router")
        if self.kind == "uniswap_v3" and self.quoter is None:
            raise ValueError("uniswap_v3 needs a quoter as well")
        if self.kind == "uniswap_v2" and (self.router_kind is not None or self.fee_tiers is not None):
            raise ValueError("router_kind and fee_tiers are for kind uniswap_v3: remove them")


@dataclass(frozen=True, slots=True, config=STRICT)
class Lending:
    """Where shorts and credit supply are traded.

    Attributes:
        protocol: The lending protocol.
        pool: Address of its pool; None is that of the chain's registry.
        min_health: What the wallet's health factor stays above after each borrowing and withdrawal.
    """

    protocol: Literal["aave_v3"] = "aave_v3"
    pool: Address | None = None
    min_health: Annotated[float, Field(gt=1, le=100, allow_inf_nan=False)] = 1.05


@dataclass(frozen=True, slots=True, config=STRICT)
class ShareVault:
    """An ERC-4626 vault whose shares may be traded.

    Attributes:
        address: Where it is.
        tells_limits: False for one whose ``maxDeposit`` and ``maxRedeem`` say 0 whatever is true.
        locks_shares: True for one that gives shares back only after a time: it is bought without a look at the way out.
    """

    address: Address
    tells_limits: bool = True
    locks_shares: bool = False


@dataclass(frozen=True, slots=True, config=STRICT)
class Wallet:
    """Where the private key is: an environment variable, or a keystore file and a variable with its password.

    Attributes:
        vault: The vault whose asset manager the wallet is: its tokens are traded, the wallet pays gas.
        vault_first_block: A block before the vault's first deposit, such as the one that it was made in.
    """

    key_env: VariableName | None = None
    keystore: Path | None = None
    password_env: VariableName | None = None
    vault: Address | None = None
    vault_first_block: Annotated[int, Field(ge=0)] | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.vault is None and self.vault_first_block is not None:
            raise ValueError("vault_first_block is given without a vault: add vault, or remove it")
        if (self.key_env is None) == (self.keystore is None):
            raise ValueError("give key_env, or keystore and password_env, and not both")
        if (self.keystore is None) != (self.password_env is None):
            raise ValueError("keystore and password_env go together")

    @property
    def label(self) -> str:
        """Return what tells wallets apart without saying anything secret."""
        return f"env:{self.key_env}" if self.key_env is not None else f"keystore:{(self.keystore or Path()).name}"


@dataclass(frozen=True, slots=True, config=STRICT)
class Token:
    """A token on the chain."""

    symbol: str
    address: Address
    decimals: Annotated[int, Field(ge=0, le=36)] = 18


@dataclass(frozen=True, slots=True, config=STRICT)
class MappedPair:
    """What is traded on the chain for a pair whose candles come from elsewhere; ``fee`` is a fraction."""

    data: DataPair
    base: Token
    quote: Token
    pool: Address
    fee: Fraction | None = None
