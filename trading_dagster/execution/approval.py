"""Approval of a decision's trades: none needed, or an operator's for exactly these trades and before a deadline."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Protocol, TypeAlias

from trading_dagster.domain.error import ApprovalMissing, BadConfiguration, BadInput, LedgerConflict
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag
from trading_dagster.execution.limit import Refusal

MIN_PREFIX = 8
"""How many characters of a digest an operator must give at least."""


class Verdict(Enum):
    """Where an approval stands; what is not waiting any more never changes."""

    waiting = "waiting"
    approved = "approved"
    rejected = "rejected"
    expired = "expired"


@dataclass(frozen=True, slots=True)
class TradeOffer:
    """A trade as an operator sees it. ``fingerprint`` is a hash of all that it does; value in USD, price with fee."""

    trade_id: int
    side: str
    ticker: str
    quantity: str
    price: float
    value: float
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What an operator is asked. Times are aware UTC by the clock the strategy goes by."""

    strategy_id: str
    cycle: int
    decision_at: datetime
    trades: tuple[TradeOffer, ...]
    requested_at: datetime
    deadline: datetime

    @property
    def digest(self) -> str:
        """Return the hash of the strategy and its trades that an answer must quote."""
        return _hash([self.strategy_id, *(trade.fingerprint for trade in self.trades)])

    @property
    def trade_ids(self) -> tuple[int, ...]:
        """Return the ids of the trades."""
        return tuple(trade.trade_id for trade in self.trades)


@dataclass(frozen=True, slots=True)
class Approval:
    """A request and what was answered."""

    request: ApprovalRequest
    verdict: Verdict = Verdict.waiting
    approved_ids: tuple[int, ...] = ()
    answered_by: str = ""
    answered_at: datetime | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operator says to a request; ``trade_ids`` None for all trades, () to reject them. ``at`` is aware UTC.

    ``digest`` is the request's digest or at least its first eight characters; ``at`` is by the strategy's clock.
    """

    digest: str
    by: str
    at: datetime
    trade_ids: tuple[int, ...] | None = None
    comment: str = ""


class ApprovalStore(Protocol):
    """Where requests and answers are kept; each method is one transaction."""

    def request(self, request: ApprovalRequest) -> Approval:
        """Keep a request, once for the same trades; returns it as it stands."""
        ...

    def find_covering(self, strategy_id: str, trade_ids: Sequence[int]) -> Sequence[Approval]:
        """Return the requests whose trade ids may include all of some, newest first."""
        ...

    def list_waiting(self, strategy_id: str) -> Sequence[Approval]:
        """Return the requests that nobody answered, newest first."""
        ...

    def answer(self, strategy_id: str, answer: Answer) -> Approval:
        """Keep an operator's answer; errors as in ``answered``."""
        ...

    def expire(self, strategy_id: str, digest: str, at: datetime) -> Approval:
        """End a request that nobody answered; returns it as it stands, answered if that came first."""
        ...


@dataclass(frozen=True, slots=True)
class Decided:
    """Which trades may run; the others are to be discarded by events."""

    approved: tuple[int, ...]
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nobody answered yet; ask again."""

    approval: Approval


ApprovalOutcome: TypeAlias = "Decided | Waiting"


class ApprovalModel(Protocol):
    """Says which of a decision's trades may run."""

    def decide(
        self, state: State, trades: Sequence[TradeExecution], cycle: int, decision_at: datetime
    ) -> ApprovalOutcome:
        """Say which trades may run, or that an answer is still awaited; ``decision_at`` is naive UTC.

        Safe to ask again at any point, also for the rest of the trades after some ran: what was answered stays.

        Raises:
            ApprovalMissing: Nobody answered before the deadline, and none will be heard any more: drop the trades.
            StorageFailed: Requests cannot be read or kept: nothing may run.
        """
        ...


class UncheckedApproval:
    """Approves everything."""

    def decide(
        self,
        state: State,  # noqa: ARG002
        trades: Sequence[TradeExecution],
        cycle: int,  # noqa: ARG002
        decision_at: datetime,  # noqa: ARG002
    ) -> ApprovalOutcome:
        """See ApprovalModel."""
        return Decided(tuple(trade.trade_id for trade in trades))


@dataclass(frozen=True, slots=True)
class ManualApproval:
    """Asks an operator.

    Attributes:
        store: Where requests and answers are kept.
        strategy_id: Whose trades these are.
        now: The clock the strategy goes by, aware UTC.
        patience: How long after the request an answer is heard.
        asks_for_triggered: Ask for trades of stop losses and take profits, too. By default they run unasked: a stop
            loss must get out while its operator sleeps.
    """

    store: ApprovalStore
    strategy_id: str
    now: Callable[[], datetime]
    patience: timedelta
    asks_for_triggered: bool = False

    def __post_init__(self) -> None:
        """Check."""
        if not self.patience > timedelta(0):
            raise BadConfiguration(f"An approval is awaited for {self.patience}: give a time above 0")

    def decide(
        self,
        state: State,  # noqa: ARG002
        trades: Sequence[TradeExecution],
        cycle: int,
        decision_at: datetime,
    ) -> ApprovalOutcome:
        """See ApprovalModel."""
        asked = [t for t in trades if self.asks_for_triggered or TradeFlag.triggered not in t.flags]
        if not asked:
            return Decided(tuple(trade.trade_id for trade in trades))
        approval, now = self._find_or_request(asked, cycle, decision_at), self.now()
        if approval.verdict is Verdict.waiting and now >= approval.request.deadline:
            approval = self.store.expire(self.strategy_id, approval.request.digest, now)
        if approval.verdict is Verdict.waiting:
            return Waiting(approval)
        if approval.verdict is Verdict.expired:
            request = approval.request
            raise ApprovalMissing(
                f"Nobody approved the trades of {self.strategy_id} at cycle {cycle} (digest {request.digest[:12]}) "
                f"by {request.deadline:%Y-%m-%d %H:%M:%S} UTC: they are dropped"
            )
        return _decided(approval, trades, {trade.trade_id for trade in asked})

    def _find_or_request(self, trades: Sequence[TradeExecution], cycle: int, decision_at: datetime) -> Approval:
        offers = tuple(offer_of(trade) for trade in trades)
        for approval in self.store.find_covering(self.strategy_id, [trade.trade_id for trade in trades]):
            if set(offers) <= set(approval.request.trades):
                return approval
        now = self.now()
        return self.store.request(
            ApprovalRequest(self.strategy_id, cycle, to_aware(decision_at), offers, now, now + self.patience)
        )


def offer_of(trade: TradeExecution) -> TradeOffer:
    """Return a trade as an operator is asked for it; another plan has another fingerprint."""
    plan = trade.plan
    side = "buy" if trade.is_buy() else "sell"
    quantity = _plain(abs(plan.quantity))
    fingerprint = _hash(
        [
            plan.trade_id,
            plan.position_id,
            plan.pair.get_identifier(),
            side,
            quantity,
            _plain(plan.reserve),
            repr(plan.pricing.price),
            repr(plan.slippage_tolerance),
            plan.closing,
            plan.trade_type.value,
        ]
    )
    ticker = plan.pair.get_ticker()
    return TradeOffer(plan.trade_id, side, ticker, quantity, plan.pricing.price, trade.get_planned_value(), fingerprint)


def answered(approval: Approval, answer: Answer) -> Approval:
    """Return a request with an operator's answer.

    Raises:
        BadInput: The operator is not named, or a trade is not part of the request.
        LedgerConflict: It was answered already; that answer stays.
        ApprovalMissing: The answer is late; the trades are dropped.
    """
    request = approval.request
    name = f"The request {request.digest[:12]} of {request.strategy_id}"
    if not answer.by.strip():
        raise BadInput(f"{name} must be answered by somebody: give a name")
    if approval.verdict is Verdict.expired or (approval.verdict is Verdict.waiting and answer.at >= request.deadline):
        raise ApprovalMissing(
            f"{name} could be answered until {request.deadline:%Y-%m-%d %H:%M:%S} UTC, it is "
            f"{answer.at:%Y-%m-%d %H:%M:%S}: the trades are dropped, approve those of the next cycle"
        )
    if approval.verdict is not Verdict.waiting:
        raise LedgerConflict(
            f"{name} was {approval.verdict.value} by {approval.answered_by} at "
            f"{approval.answered_at:%Y-%m-%d %H:%M:%S} UTC already: that stays, nothing was changed"
        )
    chosen = request.trade_ids if answer.trade_ids is None else answer.trade_ids
    unknown = sorted(set(chosen) - set(request.trade_ids))
    if unknown:
        raise BadInput(f"{name} is for trades {list(request.trade_ids)}, not {unknown}: choose among them")
    return replace(
        approval,
        verdict=Verdict.approved if chosen else Verdict.rejected,
        approved_ids=tuple(sorted(set(chosen))),
        answered_by=answer.by.strip()[:255],
        answered_at=answer.at,
        comment=answer.comment,
    )


def pick_request(strategy_id: str, digest: str, found: Sequence[Approval]) -> Approval:
    """Return the one request that a digest, or the beginning of one, names; raises BadInput for none or several."""
    if len(digest) < MIN_PREFIX:
        raise BadInput(f"The digest {digest!r} is too short: give at least its first {MIN_PREFIX} characters")
    if len(found) == 1:
        return found[0]
    listing = ", ".join(approval.request.digest[:12] for approval in found) or "none"
    raise BadInput(
        f"{strategy_id} has {len(found)} requests that begin with {digest!r} ({listing}): "
        "quote the digest that was shown with the trades; other trades need another approval"
    )


def _decided(approval: Approval, trades: Sequence[TradeExecution], asked_ids: set[int]) -> Decided:
    said = f"not approved by {approval.answered_by}"
    reason = f"{said}: {approval.comment}" if approval.comment else said
    approved = tuple(t.trade_id for t in trades if t.trade_id not in asked_ids or t.trade_id in approval.approved_ids)
    return Decided(approved, tuple(Refusal(trade, reason) for trade in trades if trade.trade_id not in approved))


def _plain(number: Decimal) -> str:
    """Return a number without exponent and trailing zeros, so that equal numbers are equal text."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()
