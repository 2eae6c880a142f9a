"""What to pay for gas: EIP-1559 fees under a cap, padded limits, and the price of replacing a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from trading_dagster.domain.error import BadConfiguration

GWEI = 10**9


@dataclass(frozen=True, slots=True)
class Fee:
    """What a transaction offers, wei per gas."""

    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class FeeAboveCap:
    """The market asks for more than the policy allows: wait, and say so."""

    needed: int
    cap: int

    def __str__(self) -> str:
        """Say what is missing."""
        return f"gas needs {self.needed / GWEI:.3f} gwei, the cap is {self.cap / GWEI:.3f} gwei"


@dataclass(frozen=True, slots=True)
class GasPolicy:
    """Limits of what is paid. Fees are wei per gas.

    A new transaction offers twice the base fee (six full blocks of headroom at +12.5 % each) plus the priority fee, cut
    to the cap; it is not signed while base fee + priority fee exceed the cap. A replacement offers at least
    ``bump`` more than what it replaces, as nodes demand 10 %.
    """

    max_fee_cap: int = 500 * GWEI
    priority_fee_cap: int = 50 * GWEI
    priority_fee_floor: int = GWEI // 100
    limit_padding: Fraction = Fraction(30, 100)
    limit_cap: int = 5_000_000
    bump: Fraction = Fraction(15, 100)
    bump_after_blocks: int = 10

    def __post_init__(self) -> None:
        """Check."""
        if not 0 < self.priority_fee_floor <= self.priority_fee_cap <= self.max_fee_cap:
            raise BadConfiguration(
                "The gas policy needs 0 < priority_fee_floor <= priority_fee_cap <= max_fee_cap, they are "
                f"{self.priority_fee_floor}, {self.priority_fee_cap}, {self.max_fee_cap}"
            )
        if self.bump < Fraction(1, 10):
            raise BadConfiguration(f"The gas policy's bump is {self.bump}: nodes refuse replacements below 1/10")

    def offer(self, base_fee: int, advised_priority_fee: int) -> Fee | FeeAboveCap:
        """Return the fee of a new transaction."""
        priority = min(max(advised_priority_fee, self.priority_fee_floor), self.priority_fee_cap)
        if base_fee + priority > self.max_fee_cap:
            return FeeAboveCap(base_fee + priority, self.max_fee_cap)
        return Fee(min(2 * base_fee + priority, self.max_fee_cap), priority)

    def replace(self, old: Fee, base_fee: int, advised_priority_fee: int) -> Fee | FeeAboveCap:
        """Return the fee of a transaction that replaces one: the market's, but at least the bump."""
        least = Fee(_raised(old.max_fee, self.bump), _raised(old.priority_fee, self.bump))
        market = self.offer(base_fee, advised_priority_fee)
        if isinstance(market, FeeAboveCap):
            return market
        max_fee = max(least.max_fee, market.max_fee)
        if max_fee > self.max_fee_cap:
            return FeeAboveCap(max_fee, self.max_fee_cap)
        return Fee(max_fee, min(max(least.priority_fee, market.priority_fee), max_fee))

    def pad(self, estimate: int) -> int:
        """Return the gas limit for an estimate, at most the cap."""
        return min(_raised(estimate, self.limit_padding), self.limit_cap)


DEFAULT_POLICY = GasPolicy()


def _raised(amount: int, by: Fraction) -> int:
    return -(-amount * (1 + by).numerator // (1 + by).denominator)
