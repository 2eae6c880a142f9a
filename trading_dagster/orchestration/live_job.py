"""The jobs of a deployment beside its cycle: checks between cycles, and what an operator orders.

Each may be run again at any point. Checks run one after the other with the cycles of their deployment. What an operator
orders (an approval, the kill switch) does not wait for them: a cycle may be waiting for exactly that.
"""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from trading_dagster.domain.error import BadInput
from trading_dagster.live.closing import DEFAULT_REASON, close_all
from trading_dagster.live.revaluation import check_live_accounts, revalue, sync_treasury
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.live_metadata import (
    describe_accounts,
    describe_executions,
    describe_sample,
    describe_triggers,
)
from trading_dagster.orchestration.live_operator import (
    answer_approval,
    describe_switches,
    list_waiting,
    turn_kill_switch,
)
from trading_dagster.orchestration.live_process import mark_process
from trading_dagster.orchestration.live_unit import STRATEGY_TAG, LiveUnit

Metadata = Mapping[str, Any]
CHECKS = ("trigger_check", "revaluation", "treasury", "account_check")
DESCRIPTIONS = {
    "trigger_check": "Close positions whose stop loss or take profit fires, trail stops, look up unfinished trades.",
    "revaluation": "Value the portfolio now and keep an equity sample.",
    "treasury": "Record deposits and redemptions that are not in the ledger yet.",
    "account_check": "Compare the ledger with what is really held; changes nothing.",
}


class ApprovalConfig(dg.Config):
    """An operator's answer to a request for approval."""

    digest: str = ""
    """The digest that was shown with the trades, or its first eight characters; empty lists what is waiting."""
    by: str = ""
    """Who answers."""
    trade_ids: list[int] = []  # noqa: RUF012 - pydantic copies it
    """The trades to approve; empty approves all."""
    reject: bool = False
    """Reject all trades."""
    comment: str = ""


class CloseConfig(dg.Config):
    """That all positions are to be closed."""

    confirm: bool = False
    """Must be set to true."""
    reason: str = DEFAULT_REASON


class SwitchConfig(dg.Config):
    """How the kill switch is to be."""

    on: bool = True
    """On stops all trading; off allows it again."""
    by: str = ""
    """Who turns it."""
    reason: str = ""
    all_strategies: bool = False
    """Turn the switch of all deployments of the same ledger."""


def build_check_jobs(unit: LiveUnit) -> list[dg.JobDefinition]:
    """Return the jobs that look after a deployment between its cycles."""
    actions: dict[str, Callable[[], Metadata]] = {
        "trigger_check": lambda: describe_triggers(check_triggers(unit.open())),
        "revaluation": lambda: describe_sample(revalue(unit.open())),
        "treasury": lambda: {"recorded": len(sync_treasury(unit.open()))},
        "account_check": lambda: describe_accounts(check_live_accounts(unit.open())),
    }
    return [_build_job(unit, name, actions[name]) for name in CHECKS]


def _build_job(unit: LiveUnit, what: str, act: Callable[[], Metadata]) -> dg.JobDefinition:
    @dg.op(name=f"{unit.name(what)}_op", description=DESCRIPTIONS[what])
    def check(context: dg.OpExecutionContext) -> None:
        mark_process(context)
        with explain_failures():
            metadata = dict(act())
        context.add_output_metadata(metadata)
        if what == "revaluation":
            context.log_event(dg.AssetMaterialization(unit.key("statistics"), metadata=metadata))

    @dg.job(
        name=unit.name(what),
        description=f"{DESCRIPTIONS[what]} Deployment {unit.id}.",
        tags=check_tags(unit, what),
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        check()

    return job


def check_tags(unit: LiveUnit, what: str) -> dict[str, str]:
    """Return the tags of a check: trigger checks do not wait while a cycle waits for a person's approval."""
    if what == "trigger_check" and unit.deployment.approval.mode == "manual":
        return {STRATEGY_TAG: f"{unit.id}/{what}"}
    return unit.tags


def _build_close_job(unit: LiveUnit) -> dg.JobDefinition:
    @dg.op(name=f"{unit.name('close_all')}_op")
    def close(context: dg.OpExecutionContext, config: CloseConfig) -> None:
        mark_process(context)
        with explain_failures():
            if not config.confirm:
                raise BadInput("confirm is false: set it to true to close every open position")
            result = close_all(unit.open(), config.reason)
        context.add_output_metadata({**describe_executions(result.trades), "notes": "\n".join(result.notes) or "none"})

    @dg.job(
        name=unit.name("close_all"),
        description=f"Close every open position of {unit.id} now. Running it again does nothing more.",
        tags=unit.tags,
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        close()

    return job


def build_operator_jobs(unit: LiveUnit) -> list[dg.JobDefinition]:
    """Return the jobs with which an operator approves trades, turns the kill switch and closes everything."""
    priority = {"dagster/priority": "10"}

    @dg.op(name=f"{unit.name('approve')}_op")
    def approve(context: dg.OpExecutionContext, config: ApprovalConfig) -> None:
        with explain_failures():
            live = unit.observe()
            if not config.digest:
                context.add_output_metadata(list_waiting(live))
                return
            trade_ids = () if config.reject else tuple(config.trade_ids) or None
            answered = answer_approval(live, config.digest, config.by, trade_ids, config.comment)
        context.add_output_metadata(answered)

    @dg.op(name=f"{unit.name('kill_switch')}_op")
    def switch(context: dg.OpExecutionContext, config: SwitchConfig) -> None:
        with explain_failures():
            live = unit.observe()
            turn_kill_switch(
                live, is_on=config.on, by=config.by, reason=config.reason, is_for_all=config.all_strategies
            )
            context.add_output_metadata(describe_switches(live))

    @dg.job(
        name=unit.name("approve"),
        description=f"Approve or reject the trades that {unit.id} waits with; without a digest, list them.",
        tags=priority,
        executor_def=dg.in_process_executor,
    )
    def approve_job() -> None:
        approve()

    @dg.job(
        name=unit.name("kill_switch"),
        description=f"Stop all trading of {unit.id} at once, or allow it again.",
        tags=priority,
        executor_def=dg.in_process_executor,
    )
    def switch_job() -> None:
        switch()

    return [approve_job, switch_job, _build_close_job(unit)]
