"""An ERC-4626 vault as an exchange of one market: deposits buy its shares, redemptions sell them (EIP-4626).

The price is the vault's own whatever the size. Its calls know neither a least output nor a deadline: both are in the
arguments of the intent and looked at right before it is signed; what comes after that is booked as it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from trading_dagster.domain.error import (
    BadInput,
    CallReverted,
    ContractMissing,
    InvalidTrade,
    PoolEmpty,
    TokenUnsafe,
    VaultClosed,
)
from trading_dagster.domain.transaction import Intent, require_address
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Route, RouteQuote
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.erc4626 import ASSET, TOTAL_SUPPLY
from trading_dagster.evm.erc7540 import REQUESTS, LaterSides

PREVIEW_DEPOSIT = Function("previewDeposit", ("uint256",), ("uint256",))
PREVIEW_REDEEM = Function("previewRedeem", ("uint256",), ("uint256",))
CONVERT_TO_ASSETS = Function("convertToAssets", ("uint256",), ("uint256",))
CONVERT_TO_SHARES = Function("convertToShares", ("uint256",), ("uint256",))
MAX_DEPOSIT = Function("maxDeposit", ("address",), ("uint256",))
MAX_REDEEM = Function("maxRedeem", ("address",), ("uint256",))
DEPOSIT = Function("deposit", ("uint256", "address"), ("uint256",), ("assets", "receiver"))
REDEEM = Function("redeem", ("uint256", "address", "address"), ("uint256",), ("shares", "receiver", "owner"))
NO_LIMIT = 2**256 - 1
VAULT_EXCHANGE = "erc4626"
"""What stands for the exchange in the description of a vault's pair."""
LEAST_OUT = "min_amount_out"
"""The argument of an intent that says what the vault must say it gives when the intent is signed."""
SIGN_UNTIL = "sign_until"
"""The argument of an intent that says until which time of the chain it may be signed."""
NOTHING_LATER = LaterSides()
MIN_SUPPLY = 10**6
"""Units of shares that must be out before money is put in: who holds them all could otherwise send the vault assets, so
that the next deposit is rounded down to less than it is worth. With as many that takes a million deposits' worth."""


class ShareValues:
    """How many shares there are and what they are worth, as of the block asked for last."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._at = ""
        self._found = (0, 0)

    def read(self, client: EvmClient, vault: str, block: BlockHeader) -> tuple[int, int]:
        """Return shares and assets in their smallest units; raises ContractMissing, CallReverted, NodeError."""
        if self._at != block.hash:
            (supply,) = client.call(vault, TOTAL_SUPPLY, (), block)
            (assets,) = client.call(vault, CONVERT_TO_ASSETS, (supply,), block)
            self._at, self._found = block.hash, (supply, assets)
        return self._found


@dataclass(frozen=True, slots=True)
class TradedVault:
    """A vault whose shares may be traded, and in what it is unlike the others.

    Attributes:
        address: Where it is.
        tells_limits: Whether ``maxDeposit`` and ``maxRedeem`` mean something; some vaults always say 0.
        locks_shares: Whether shares cannot be given back at once, so that a simulation of that says nothing.
    """

    address: str
    tells_limits: bool = True
    locks_shares: bool = False

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "address", require_address(self.address, "vault"))


@dataclass(frozen=True, slots=True)
class VaultDex:
    """One vault as an exchange. ``holder`` is who deposits and has the shares: what a vault allows depends on it."""

    vault: str
    holder: str
    tells_limits: bool = True
    locks_shares: bool = False
    _values: ShareValues = field(init=False, repr=False, compare=False, default_factory=ShareValues)

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "vault", require_address(self.vault, "vault"))
        object.__setattr__(self, "holder", require_address(self.holder, "holder of shares"))

    @classmethod
    def of(cls, vault: TradedVault, holder: str) -> VaultDex:
        """Return a vault as an exchange for a holder."""
        return cls(vault.address, holder, vault.tells_limits, vault.locks_shares)

    @property
    def name(self) -> str:
        """Return what to call it in messages."""
        return f"vault {self.vault}"

    @property
    def later_sides(self) -> LaterSides:
        """Return what it settles later: nothing."""
        return NOTHING_LATER

    @property
    def spender(self) -> str:
        """Return the vault: it takes the assets. Shares of who asks for it are burned without leave."""
        return self.vault

    @property
    def contracts(self) -> Sequence[str]:
        """Return the vault."""
        return (self.vault,)

    @property
    def max_hops(self) -> int:
        """Return that nothing is on the way."""
        return 1

    def quote(self, client: EvmClient, route: Route, amount_in: int, block: BlockHeader) -> RouteQuote:
        """Preview a deposit or a redemption at a block; its fee is the one that the universe's pair has.

        Raises VaultClosed when the vault does not say what it would give, PoolEmpty when it has no shares.
        """
        price = self.read_mid_price(client, route, block)
        preview = PREVIEW_DEPOSIT if self.is_deposit(route) else PREVIEW_REDEEM
        try:
            (amount_out,) = client.call(self.vault, preview, (amount_in,), block)
        except CallReverted as error:
            raise VaultClosed(
                f"{self.name} does not say what {amount_in} units would bring ({error}): it is closed, or it began "
                "to settle later (ERC-7540) and does not say so (ERC-165)"
            ) from error
        mid, fee = amount_in * price, route.hops[0].fee or Fraction(0)
        impact = max(Fraction(0), 1 - amount_out / (mid * (1 - fee))) if mid else Fraction(0)
        return RouteQuote(block, route, amount_in, amount_out, mid, fee, impact)

    def read_mid_price(self, client: EvmClient, route: Route, block: BlockHeader) -> Fraction:
        """Return shares a unit of assets is worth, or the other way round, without the vault's fees.

        Raises PoolEmpty when there are no shares, or they are worth nothing; ContractMissing, NodeError.
        """
        is_deposit = self.is_deposit(route)
        try:
            shares, assets = self._values.read(client, self.vault, block)
        except CallReverted as error:
            raise PoolEmpty(f"{self.name} does not say what its shares are worth: {error}") from error
        if not shares or not assets:
            raise PoolEmpty(f"{self.name} has {shares} units of shares, worth {assets}: they have no price")
        return Fraction(shares, assets) if is_deposit else Fraction(assets, shares)

    def build_swap(
        self, route: Route, amount_in: int, min_amount_out: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the deposit or redemption; least output and deadline hold until it is signed, then not any more."""
        if amount_in <= 0:
            raise BadInput(f"amount_in is {amount_in}: it must be positive, in the token's smallest unit")
        to = require_address(recipient, "recipient")
        if self.is_deposit(route):
            call = DEPOSIT.call(self.vault, (amount_in, to))
        else:
            call = REDEEM.call(self.vault, (amount_in, to, to))
        return replace(call, arguments={**call.arguments, LEAST_OUT: min_amount_out, SIGN_UNTIL: deadline})

    def is_deposit(self, route: Route) -> bool:
        """Tell whether a route goes into the vault; raises BadInput when the vault is not at one of its ends."""
        if len(route.hops) != 1 or self.vault not in route.tokens:
            raise BadInput(f"{self.name} trades its asset against its shares, not along {route.tokens}")
        return route.token_out == self.vault

    # What it takes and gives

    def read_max_deposit(self, client: EvmClient, block: BlockHeader) -> int | None:
        """Return the most units of assets that may be put in; 0 is closed, None no limit that is known."""
        if not self.tells_limits:
            return None
        limit = self._read_limit(client, MAX_DEPOSIT, block)
        return None if limit == NO_LIMIT else limit

    def read_max_redemption(self, client: EvmClient, block: BlockHeader) -> int | None:
        """Return the most units of shares that can be given back; 0 is closed, None is all, as far as it is known."""
        if not self.tells_limits:
            return None
        limit = self._read_limit(client, MAX_REDEEM, block)
        return None if limit >= read_balance(client, self.vault, self.holder, block) else limit

    def require_open(self, client: EvmClient, route: Route, amount_in: int, block: BlockHeader) -> None:
        """Raise when a trade must not begin, as everything is at a block.

        Raises:
            VaultClosed: The vault takes or gives less now, or says nothing.
            TokenUnsafe: There are so few shares that a deposit could be robbed.
            InvalidTrade: The vault holds another token than the pair says.
        """
        is_deposit = self.is_deposit(route)
        asset = route.token_in if is_deposit else route.token_out
        try:
            found = read_asset(client, self.vault, block)
            shares, _ = self._values.read(client, self.vault, block)
        except (CallReverted, ContractMissing) as error:
            raise VaultClosed(f"{self.name} does not say what it holds: {error}") from error
        if found != asset:
            raise InvalidTrade(f"{self.name} holds {found}, the pair says {asset}: correct the pair")
        limit = self.read_max_deposit(client, block) if is_deposit else self.read_max_redemption(client, block)
        if limit is not None and amount_in > limit:
            what = ("takes deposits of at most", "assets") if is_deposit else ("gives redemptions of at most", "shares")
            raise VaultClosed(
                f"{self.name} {what[0]} {limit} units of {what[1]} in block {block.number}, asked for {amount_in}"
            )
        if is_deposit and shares < MIN_SUPPLY:
            raise TokenUnsafe(
                f"{self.name} has {shares} units of shares out, fewer than {MIN_SUPPLY}: whoever owns them can take "
                "from the next deposit; wait until others are in, or leave a first deposit of your own there for good"
            )

    def _read_limit(self, client: EvmClient, function: Function, block: BlockHeader) -> int:
        try:
            return int(client.call(self.vault, function, (self.holder,), block)[0])
        except CallReverted:
            return 0  # a vault that does not even say so takes and gives nothing


def find_reason_to_refuse(client: EvmClient, intent: Intent, head: BlockHeader) -> str:
    """Return why a deposit or redemption must not be signed now, nothing when it may, or is another transaction.

    A request is held to what shares are worth: what it will bring is not known. Raises NodeError when no node answers.
    """
    if LEAST_OUT not in intent.arguments:
        return ""
    least, until = (int(str(intent.arguments[name])) for name in (LEAST_OUT, SIGN_UNTIL))
    if head.timestamp > until:
        return f"it was to be signed until {until} of the chain's time, it is {head.timestamp}"
    is_deposit = "assets" in intent.arguments
    amount = int(str(intent.arguments["assets" if is_deposit else "shares"]))
    sides = (CONVERT_TO_SHARES, CONVERT_TO_ASSETS) if intent.function in REQUESTS else (PREVIEW_DEPOSIT, PREVIEW_REDEEM)
    try:
        (brings,) = client.call(intent.to, sides[0 if is_deposit else 1], (amount,), head)
    except (CallReverted, ContractMissing) as error:
        return f"the vault does not say what it would bring: {error}"
    return f"it would bring {brings} units, at least {least} are asked for" if brings < least else ""


def read_asset(client: EvmClient, vault: str, block: BlockHeader) -> str:
    """Return the token that a vault holds; raises ContractMissing, CallReverted, NodeError."""
    return str(client.call(vault, ASSET, (), block)[0]).lower()
