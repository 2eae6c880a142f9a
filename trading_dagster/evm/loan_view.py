"""What a lending pool says of an account that borrows one token against another, all at one block: room and limits.

Amounts are integers in the tokens' smallest units; USD is by the pool's own oracle, which decides about liquidations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.evm.aave_v3 import (
    ACCOUNT_DATA,
    ASSET_PRICE,
    RESERVE_DATA,
    AaveAccount,
    AaveReserve,
    AaveV3Deployment,
    PriceOracle,
    to_account,
)
from trading_dagster.evm.abi import Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import BALANCE_OF
from trading_dagster.evm.multicall import Multicall, Read

TOTAL_SUPPLY = Function("totalSupply", (), ("uint256",))


@dataclass(frozen=True, slots=True)
class LendingSide:
    """One token of a lending pool, and what an account has to do with it.

    Attributes:
        reserve: What the pool says of the token.
        price_usd: Of a whole token.
        supplied: The account's aTokens, with interest.
        owed: The account's debt, with interest.
        liquidity: What can be withdrawn or borrowed at most, by all together.
        total_supplied: By everybody; what the supply cap limits.
        total_owed: By everybody at a variable rate; what the borrow cap limits.
    """

    reserve: AaveReserve
    price_usd: Fraction
    supplied: int
    owed: int
    liquidity: int
    total_supplied: int
    total_owed: int

    @property
    def unit_usd(self) -> Fraction:
        """Return what the smallest unit is worth."""
        return self.price_usd / int(10**self.reserve.decimals)

    def room_to_supply(self) -> int | None:
        """Return what the supply cap leaves, None without a cap."""
        return _room(self.reserve.supply_cap, self.total_supplied, self.reserve.decimals)

    def room_to_borrow(self) -> int:
        """Return what liquidity and borrow cap leave."""
        room = _room(self.reserve.borrow_cap, self.total_owed, self.reserve.decimals)
        return self.liquidity if room is None else min(self.liquidity, room)


@dataclass(frozen=True, slots=True)
class LoanView:
    """An account at a block: its whole standing, and the two tokens of a loan. ``debt`` is None for mere lending."""

    block: BlockHeader
    account: AaveAccount
    collateral: LendingSide
    debt: LendingSide | None

    @property
    def weighted_usd(self) -> Fraction:
        """Return the account's collateral weighted by liquidation thresholds."""
        return self.account.collateral_usd * self.account.liquidation_threshold

    def withdrawable(self, min_health: Fraction, *, pays_back: bool = False) -> int:
        """Return how much collateral may go while health stays above a floor and the pool has it.

        What ``pays_back`` debt must be able to get out of a loan near its limits: it may use half of what health is
        above 1 when that goes below the floor.
        """
        health, side = self.account.health_factor, self.collateral
        most = min(side.supplied, side.liquidity)
        if health is None:
            return most
        floor = min(min_health, 1 + (health - 1) / 2) if pays_back else min_health
        threshold = side.reserve.liquidation_threshold
        if not threshold:
            return most
        free_usd = (self.weighted_usd - self.account.debt_usd * floor) / threshold
        return max(0, min(most, math.floor(free_usd / side.unit_usd)))

    def borrowable(self, min_health: Fraction, margin: Fraction) -> int:
        """Return how much may be borrowed: by the loan to value less a margin, by health, by what the pool has."""
        if self.debt is None:
            return 0
        by_value = self.account.collateral_usd * self.account.loan_to_value * (1 - margin) - self.account.debt_usd
        by_health = self.weighted_usd / min_health - self.account.debt_usd
        units = math.floor(min(by_value, by_health) / self.debt.unit_usd)
        return max(0, min(units, self.debt.room_to_borrow()))


@dataclass(frozen=True)
class LoanReader:
    """Reads views of an account, in one request each; the oracle is asked for once."""

    client: EvmClient
    multicall: Multicall
    pool: AaveV3Deployment
    owner: str
    _oracles: list[PriceOracle] = field(default_factory=list, init=False, repr=False, compare=False)
    _tokens: dict[str, tuple[str, str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read(self, collateral: str, debt: str | None, block: BlockHeader) -> LoanView:
        """Return the account at a block; raises ContractMissing when the pool does not know a token, NodeError."""
        assets = [collateral, *(() if debt is None else (debt,))]
        if not self._oracles:
            self._oracles.append(self.pool.read_oracle(self.client, block))
        oracle = self._oracles[0]
        for asset in assets:
            if asset not in self._tokens:
                reserve = self.pool.read_reserve(self.client, asset, block)
                self._tokens[asset] = (reserve.collateral_token, reserve.debt_token)
        reads = [Read(self.pool.pool, ACCOUNT_DATA, (self.owner,))]
        for asset in assets:
            supplied, owed = self._tokens[asset]
            reads += [
                Read(self.pool.pool, RESERVE_DATA, (asset,)),
                Read(oracle.address, ASSET_PRICE, (asset,)),
                Read(supplied, BALANCE_OF, (self.owner,)),
                Read(owed, BALANCE_OF, (self.owner,)),
                Read(asset, BALANCE_OF, (supplied,)),
                Read(supplied, TOTAL_SUPPLY),
                Read(owed, TOTAL_SUPPLY),
            ]
        account, *rest = self.multicall.read(reads, block)
        sides = []
        for number, asset in enumerate(assets):
            terms, *numbers = rest[7 * number : 7 * number + 7]
            price, *amounts = (int(answer[0]) for answer in numbers)
            sides.append(LendingSide(self.pool.to_reserve(asset, terms, block), Fraction(price, oracle.unit), *amounts))
        return LoanView(block, to_account(account, oracle.unit, block), sides[0], sides[1] if debt else None)


def require_supply(side: LendingSide, amount: int, symbol: str) -> None:
    """Raise InvalidTrade when the pool would not take an amount."""
    reserve = side.reserve
    _require(reserve.is_active, f"{symbol} cannot be supplied: the reserve is not active")
    _require(not reserve.is_paused, f"{symbol} cannot be supplied: the reserve is paused; wait until it is not")
    _require(not reserve.is_frozen, f"{symbol} cannot be supplied: the reserve is frozen, it can only be withdrawn")
    room = side.room_to_supply()
    if room is not None and amount > room:
        raise InvalidTrade(
            f"{_tokens(amount, reserve)} {symbol} cannot be supplied: the supply cap of {reserve.supply_cap} leaves "
            f"room for {_tokens(room, reserve)}"
        )


def require_withdrawal(side: LendingSide, amount: int, symbol: str) -> None:
    """Raise InvalidTrade when the pool would not give an amount back."""
    reserve = side.reserve
    _require(reserve.is_active, f"{symbol} cannot be withdrawn: the reserve is not active")
    _require(not reserve.is_paused, f"{symbol} cannot be withdrawn: the reserve is paused; wait until it is not")
    if amount > side.liquidity:
        raise InvalidTrade(
            f"{_tokens(amount, reserve)} {symbol} cannot be withdrawn: the pool has {_tokens(side.liquidity, reserve)} "
            "left, the rest is lent out; wait until some is paid back"
        )


def require_borrowing(side: LendingSide, amount: int, symbol: str) -> None:
    """Raise InvalidTrade when the pool would not lend an amount, whatever the collateral."""
    reserve = side.reserve
    _require(reserve.is_active, f"{symbol} cannot be borrowed: the reserve is not active")
    _require(not reserve.is_paused, f"{symbol} cannot be borrowed: the reserve is paused; wait until it is not")
    _require(not reserve.is_frozen, f"{symbol} cannot be borrowed: the reserve is frozen")
    _require(reserve.can_borrow, f"{symbol} cannot be borrowed: the pool does not lend it")
    room = side.room_to_borrow()
    if amount > room:
        raise InvalidTrade(
            f"{_tokens(amount, reserve)} {symbol} cannot be borrowed: the pool has {_tokens(side.liquidity, reserve)}, "
            f"and with its borrow cap of {reserve.borrow_cap or 'none'} it lends {_tokens(room, reserve)}"
        )


def require_repayment(side: LendingSide, symbol: str) -> None:
    """Raise InvalidTrade when the pool would not take a payment."""
    _require(side.reserve.is_active, f"Debt of {symbol} cannot be paid back: the reserve is not active")
    _require(not side.reserve.is_paused, f"Debt of {symbol} cannot be paid back: the reserve is paused")


def _require(is_met: bool, message: str) -> None:
    if not is_met:
        raise InvalidTrade(message)


def _room(cap: int, used: int, decimals: int) -> int | None:
    return max(0, cap * int(10**decimals) - used) if cap else None


def _tokens(units: int, reserve: AaveReserve) -> str:
    return f"{float(Fraction(units, 10**reserve.decimals)):,.6f}"
