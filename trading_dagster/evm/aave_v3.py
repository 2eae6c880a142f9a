"""Aave v3: supply, withdraw, borrow and repay, what a reserve pays and asks, and how near an account is to liquidation.

Sources: IPool.sol, DataTypes.sol and ReserveConfiguration.sol of aave-v3-core; the functions used here are the same in
all versions 3.x. Its calls have no deadline: an intent of one never expires, so it may not be planned a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from trading_dagster.domain.error import BadInput, ContractMissing
from trading_dagster.domain.identifier import AssetIdentifier, AssetType
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import read_asset, read_balance

SUPPLY = Function(
    "supply", ("address", "uint256", "address", "uint16"), (), ("asset", "amount", "onBehalfOf", "referralCode")
)
WITHDRAW = Function("withdraw", ("address", "uint256", "address"), ("uint256",), ("asset", "amount", "to"))
BORROW = Function(
    "borrow",
    ("address", "uint256", "uint256", "uint16", "address"),
    (),
    ("asset", "amount", "interestRateMode", "referralCode", "onBehalfOf"),
)
REPAY = Function(
    "repay",
    ("address", "uint256", "uint256", "address"),
    ("uint256",),
    ("asset", "amount", "interestRateMode", "onBehalfOf"),
)
USE_AS_COLLATERAL = Function("setUserUseReserveAsCollateral", ("address", "bool"), (), ("asset", "useAsCollateral"))
RESERVE_DATA = Function(
    "getReserveData",
    ("address",),
    (
        "uint256",  # configuration, a bit map
        "uint128",  # liquidity index, ray
        "uint128",  # rate of suppliers, ray
        "uint128",  # variable borrow index, ray
        "uint128",  # rate of variable debt, ray
        "uint128",  # rate of stable debt, ray; gone since 3.2
        "uint40",  # time of the last update
        "uint16",  # number of the reserve
        "address",  # aToken
        "address",  # stable debt token
        "address",  # variable debt token
    ),
)
ACCOUNT_DATA = Function("getUserAccountData", ("address",), ("uint256",) * 6)
ADDRESSES_PROVIDER = Function("ADDRESSES_PROVIDER", (), ("address",))
PRICE_ORACLE = Function("getPriceOracle", (), ("address",))
ASSET_PRICE = Function("getAssetPrice", ("address",), ("uint256",))
PRICE_UNIT = Function("BASE_CURRENCY_UNIT", (), ("uint256",))

RAY = 10**27
WAD = 10**18
BPS = 10_000
ALL = 2**256 - 1
"""As amount of a withdrawal or a repayment: everything, with the interest up to that very block."""
VARIABLE_RATE = 2
NO_REFERRAL = 0
NO_TOKEN = "0x" + "0" * 40
SECONDS_PER_YEAR = 31_536_000

REASONS = {
    "26": "the amount is not valid: it is zero",
    "27": "the reserve is not active",
    "28": "the reserve is frozen",
    "29": "the reserve is paused",
    "30": "the reserve cannot be borrowed",
    "32": "the account has not supplied as much",
    "34": "the account has no collateral",
    "35": "the account would be liquidated: its health factor would be below 1",
    "36": "the collateral does not cover the loan",
    "39": "the account has no such debt",
    "43": "the account has supplied nothing of it",
    "50": "the reserve's borrow cap is reached",
    "51": "the reserve's supply cap is reached",
    "57": "the collateral's loan to value would be exceeded",
}
"""What versions before 3.4 say by number (Errors.sol); later ones give errors of their own names."""


@dataclass(frozen=True, slots=True)
class AaveReserve:
    """What Aave says of a token at a block.

    Attributes:
        collateral_token: The aToken: its balance is what was supplied with the interest until the block.
        debt_token: The variable debt token: its balance is what is owed with the interest until the block.
        supply_apr: Percent a year, simple: 3.5 means 3.5 %; interest compounds by being left where it is.
        borrow_apr: Percent a year, as above; it compounds by the second.
        loan_to_value: What may be borrowed against a unit of it, a fraction.
        liquidation_threshold: The fraction of its value at which a loan is liquidated; 0 when it is no collateral.
        liquidation_bonus: What a liquidator gets beyond the debt, a fraction.
        supply_cap: In whole tokens; 0 for none, as ``borrow_cap``.
    """

    block: BlockHeader
    asset: str
    collateral_token: str
    debt_token: str
    decimals: int
    supply_apr: float
    borrow_apr: float
    loan_to_value: Fraction
    liquidation_threshold: Fraction
    liquidation_bonus: Fraction
    is_active: bool
    is_frozen: bool
    is_paused: bool
    can_borrow: bool
    supply_cap: int
    borrow_cap: int


@dataclass(frozen=True, slots=True)
class AaveAccount:
    """An account over all its collateral and debt at a block; money in USD by Aave's own oracle.

    ``health_factor`` is collateral weighted by its liquidation thresholds over debt: below 1 it can be liquidated. None
    without debt. The thresholds are averages over the collateral, fractions.
    """

    block: BlockHeader
    collateral_usd: Fraction
    debt_usd: Fraction
    borrowable_usd: Fraction
    liquidation_threshold: Fraction
    loan_to_value: Fraction
    health_factor: Fraction | None


@dataclass(frozen=True, slots=True)
class PriceOracle:
    """Aave's oracle, and what one USD is in its prices."""

    address: str
    unit: int


@dataclass(frozen=True, slots=True)
class AaveBalance:
    """What an account supplied and owes of one token with all interest, in its smallest unit."""

    supplied: int
    owed: int


@dataclass(frozen=True, slots=True)
class AaveV3Deployment:
    """A market of Aave v3, or of a fork, by its pool."""

    pool: str

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "pool", require_address(self.pool, "pool"))

    # Calls

    @property
    def spender(self) -> str:
        """Return what must be allowed to take tokens for a supply or a repayment: the pool."""
        return self.pool

    def supply(self, asset: str, amount: int, owner: str) -> ContractCall:
        """Lend an amount in the asset's smallest unit; the owner gets aTokens, the caller pays and has approved it."""
        _require_amount(amount, may_be_all=False)
        return SUPPLY.call(self.pool, (_asset(asset), amount, require_address(owner, "owner"), NO_REFERRAL))

    def withdraw(self, asset: str, amount: int, to: str) -> ContractCall:
        """Take back an amount, or ``ALL``; the caller's aTokens are burnt."""
        _require_amount(amount)
        return WITHDRAW.call(self.pool, (_asset(asset), amount, require_address(to, "recipient")))

    def borrow(self, asset: str, amount: int, owner: str) -> ContractCall:
        """Borrow an amount at the variable rate; the owner must be the caller, or have delegated credit to it."""
        _require_amount(amount, may_be_all=False)
        owner = require_address(owner, "owner")
        return BORROW.call(self.pool, (_asset(asset), amount, VARIABLE_RATE, NO_REFERRAL, owner))

    def repay(self, asset: str, amount: int, owner: str) -> ContractCall:
        """Pay back an amount of the owner's variable debt, at most what is owed; ``ALL`` only for the caller's own."""
        _require_amount(amount)
        return REPAY.call(self.pool, (_asset(asset), amount, VARIABLE_RATE, require_address(owner, "owner")))

    def use_as_collateral(self, asset: str, *, is_collateral: bool) -> ContractCall:
        """Let what the caller supplied of a token secure its debt, or not; the first supply of a token does so."""
        return USE_AS_COLLATERAL.call(self.pool, (_asset(asset), is_collateral))

    # Reads

    def read_reserve(self, client: EvmClient, asset: str, block: BlockHeader) -> AaveReserve:
        """Read a token's rates, limits and tokens; raises ContractMissing when the market does not know the token."""
        return self.to_reserve(asset, client.call(self.pool, RESERVE_DATA, (_asset(asset),), block), block)

    def to_reserve(self, asset: str, answer: Sequence[Any], block: BlockHeader) -> AaveReserve:
        """Return what the pool's answer to ``RESERVE_DATA`` says; raises ContractMissing."""
        bits, _, supply_rate, _, borrow_rate, *rest = answer
        collateral, debt = str(rest[3]).lower(), str(rest[5]).lower()
        if collateral == NO_TOKEN:
            raise ContractMissing(f"Aave's pool {self.pool} has no reserve of {asset}: check the token and the market")

        def part(first: int, length: int) -> int:
            return int(bits >> first) & ((1 << length) - 1)

        return AaveReserve(
            block=block,
            asset=_asset(asset),
            collateral_token=collateral,
            debt_token=debt,
            decimals=part(48, 8),
            supply_apr=to_percent(supply_rate),
            borrow_apr=to_percent(borrow_rate),
            loan_to_value=Fraction(part(0, 16), BPS),
            liquidation_threshold=Fraction(part(16, 16), BPS),
            liquidation_bonus=Fraction(max(0, part(32, 16) - BPS), BPS),
            is_active=bool(part(56, 1)),
            is_frozen=bool(part(57, 1)),
            is_paused=bool(part(60, 1)),
            can_borrow=bool(part(58, 1)),
            borrow_cap=part(80, 36),
            supply_cap=part(116, 36),
        )

    def read_account(self, client: EvmClient, owner: str, block: BlockHeader) -> AaveAccount:
        """Read what an account has, owes, and how near it is to liquidation."""
        unit = self.read_oracle(client, block).unit
        return to_account(client.call(self.pool, ACCOUNT_DATA, (require_address(owner, "owner"),), block), unit, block)

    def read_balance(self, client: EvmClient, reserve: AaveReserve, owner: str, block: BlockHeader) -> AaveBalance:
        """Read what an account supplied and owes of a token, with the interest until a block."""
        return AaveBalance(
            supplied=read_balance(client, reserve.collateral_token, owner, block),
            owed=read_balance(client, reserve.debt_token, owner, block),
        )

    def read_price(self, client: EvmClient, asset: str, block: BlockHeader) -> Fraction:
        """Return what a whole token is worth in USD by the oracle that decides about liquidations."""
        oracle = self.read_oracle(client, block)
        (price,) = client.call(oracle.address, ASSET_PRICE, (_asset(asset),), block)
        return Fraction(price, oracle.unit)

    def read_assets(
        self, client: EvmClient, reserve: AaveReserve, block: BlockHeader
    ) -> tuple[AssetIdentifier, AssetIdentifier]:
        """Return the tokens of a reserve as positions hold them: collateral with its threshold, and debt."""
        token = read_asset(client, reserve.asset, block)
        chain, symbol, threshold = client.chain_id, token.token_symbol, float(reserve.liquidation_threshold)
        collateral = AssetIdentifier(chain, reserve.collateral_token, f"a{symbol}", token.decimals, underlying=token)
        debt = AssetIdentifier(chain, reserve.debt_token, f"v{symbol}", token.decimals, underlying=token)
        return (
            replace(collateral, type=AssetType.collateral, liquidation_threshold=threshold),
            replace(debt, type=AssetType.borrowed),
        )

    def read_oracle(self, client: EvmClient, block: BlockHeader) -> PriceOracle:
        """Return where the prices come from that decide about liquidations."""
        (provider,) = client.call(self.pool, ADDRESSES_PROVIDER, (), block)
        (oracle,) = client.call(provider, PRICE_ORACLE, (), block)
        (unit,) = client.call(oracle, PRICE_UNIT, (), block)
        return PriceOracle(str(oracle).lower(), int(unit))


def to_account(answer: Sequence[Any], unit: int, block: BlockHeader) -> AaveAccount:
    """Return what the pool's answer to ``ACCOUNT_DATA`` says, with prices of an oracle's unit."""
    collateral, debt, borrowable, threshold, loan_to_value, health = answer
    return AaveAccount(
        block=block,
        collateral_usd=Fraction(collateral, unit),
        debt_usd=Fraction(debt, unit),
        borrowable_usd=Fraction(borrowable, unit),
        liquidation_threshold=Fraction(threshold, BPS),
        loan_to_value=Fraction(loan_to_value, BPS),
        health_factor=Fraction(health, WAD) if debt else None,
    )


def to_percent(rate: int) -> float:
    """Return a rate in ray (1e27 is 100 % a year) as percent a year."""
    return float(Fraction(rate * 100, RAY))


def to_apy(apr: float) -> float:
    """Return what a rate in percent a year, compounded by the second, comes to in a year; percent."""
    return ((1 + apr / 100 / SECONDS_PER_YEAR) ** SECONDS_PER_YEAR - 1) * 100


def explain_revert(reason: str) -> str:
    """Say in words what a revert's number means; anything else is returned as it is."""
    return f"{REASONS[reason]} (Aave error {reason})" if reason in REASONS else reason


def _asset(address: str) -> str:
    return require_address(address, "asset")


def _require_amount(amount: int, *, may_be_all: bool = True) -> None:
    if amount <= 0 or amount > ALL or (amount == ALL and not may_be_all):
        raise BadInput(f"The amount is {amount}: it must be positive, in the token's smallest unit")
