"""Lets a strategy buy a token for the first time only when a simulated round trip says that it can be sold again."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from trading_dagster.domain.error import BadInput, CallReverted, ContractMissing, NodeRefused, PoolEmpty, TokenUnsafe
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import to_units_down
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Dex, Route
from trading_dagster.evm.multicall import MULTICALL3
from trading_dagster.evm.token_probe import TokenProbe, probe_token, require_safe
from trading_dagster.evm.vault_dex import VaultDex


@dataclass(frozen=True, slots=True)
class FirstBuySetting:
    """How careful a first buy is.

    Attributes:
        max_tax: What a token may take of a buy or of a sale beyond what its pair says (``other_data`` ``buy_tax`` and
            ``sell_tax``), a fraction; in it is what a probe cannot tell apart from a tax, its price impact.
        part: The probe is the trade divided by this, so that it hardly moves the price.
        is_required: Refuse tokens when the node cannot simulate; False lets them through unprobed.
    """

    max_tax: Fraction = Fraction(1, 100)
    part: int = 100
    is_required: bool = True


class FirstBuyCheck:
    """Probes each token once in the life of a strategy, and remembers in the ledger that it did."""

    def __init__(
        self,
        client: EvmClient,
        trader: str,
        *,
        aggregator: str = MULTICALL3,
        setting: FirstBuySetting = FirstBuySetting(),
    ) -> None:
        """Simulate with the address that holds the money; ``aggregator`` is Multicall3, for nodes that need it."""
        self._client = client
        self._trader = trader
        self._aggregator = aggregator
        self._setting = setting

    def check(
        self, state: State, trade: TradeExecution, dex: Dex, route: Route, block: BlockHeader
    ) -> TokenProbe | None:
        """Probe what a trade buys, unless it sells, is settled later or was probed before; records what was found.

        Ask before the trade is begun: that is while the wallet has the money. Raises TokenUnsafe when it may not be
        bought, NotEnoughMoney, NodeError.
        """
        if isinstance(dex, VaultDex) and dex.later_sides.deposits:
            return None  # what a vault gives for a request cannot be simulated
        if not trade.is_buy() or state.other_data.load_latest(_name(route)) is not None:
            return None
        planned = to_units_down(trade.planned_reserve, trade.reserve_currency.decimals)
        amount = max(1, planned // self._setting.part)
        try:
            probe = probe_token(self._client, dex, route, amount, self._trader, block, aggregator=self._aggregator)
        except (NodeRefused, ContractMissing, PoolEmpty, CallReverted, BadInput) as error:
            if isinstance(error, NodeRefused) and not self._setting.is_required:
                return None
            raise TokenUnsafe(f"{trade.pair.base} was not probed, so it may not be bought: {error}") from error
        needs_sale = not (isinstance(dex, VaultDex) and dex.locks_shares)
        require_safe(probe, self._setting.max_tax + _known_tax(trade.pair), needs_sale=needs_sale)
        found = {"buy_tax": float(probe.buy_tax), "sell_tax": float(probe.sell_tax), "block": block.number}
        state.other_data.save(state.cycle, _name(route), found)
        return probe


def _name(route: Route) -> str:
    return f"token probe of {route.token_out}"


def _known_tax(pair: TradingPairIdentifier) -> Fraction:
    """Return the larger of the taxes that the universe says the token has."""
    return max(Fraction(pair.other_data.get(name) or 0).limit_denominator(10**6) for name in ("buy_tax", "sell_tax"))
