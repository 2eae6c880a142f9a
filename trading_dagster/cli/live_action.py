"""What the commands of ``trading-dagster live`` do: open a deployment, call the live function, show what came of it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from trading_dagster.cli.live_print import (
    format_table,
    print_costs,
    print_json,
    print_messages,
    print_positions,
    print_result,
    print_status,
    print_trades,
    print_valuation,
    print_wallet,
)
from trading_dagster.cli.live_worker import LiveWorker
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.live.blacklist import allow_token, blacklist_token, read_blacklist
from trading_dagster.live.closing import close_all, close_position
from trading_dagster.live.correction import CorrectionReport, correct_accounts
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_file import find_deployment_files, read_deployment, read_deployments
from trading_dagster.live.inspection import show_costs, show_messages, show_positions, show_status, show_valuation
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live, open_observer
from trading_dagster.live.operation import TradingResult
from trading_dagster.live.repair import repair, retry
from trading_dagster.live.retry_gate import release_wallet
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.test_trade import TrialKind, perform_test_trade
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.wallet_check import begin_ledger, check_wallet

EXIT_FAILED = 1


def find_deployment(name: str) -> Deployment:
    """Return the deployment of a YAML file, or the one of an id among those that are found; raises BadInput."""
    if Path(name).is_file():
        return read_deployment(name)
    known = [found for found in read_deployments(find_deployment_files()) if isinstance(found, Deployment)]
    for deployment in known:
        if deployment.id == name:
            return deployment
    listing = ", ".join(deployment.id for deployment in known) or "none"
    raise BadInput(f"{name} is neither a file nor the id of a deployment; found are: {listing}")


def find_home(home: Path | None) -> LiveHome:
    """Return where live files are: in a Dagster home, by default that of the environment."""
    return LiveHome.from_environment() if home is None else LiveHome(home.absolute() / "live")


@contextmanager
def trading(name: str, home: Path | None) -> Iterator[LiveStrategy]:
    """Open a deployment to trade with, and close its ledger afterwards."""
    with _closing(open_live(find_deployment(name), find_home(home))) as live:
        yield live


@contextmanager
def observing(name: str, home: Path | None) -> Iterator[LiveStrategy]:
    """Open a deployment to look at, and close its ledger afterwards."""
    with _closing(open_observer(find_deployment(name), find_home(home))) as live:
        yield live


@contextmanager
def _closing(live: LiveStrategy) -> Iterator[LiveStrategy]:
    try:
        yield live
    finally:
        live.store.close()


# -- cycles -----------------------------------------------------------------------------------------------------------


def init(name: str, home: Path | None) -> None:
    """Begin the ledger and show the wallet."""
    with trading(name, home) as live:
        print_wallet(begin_ledger(live))
        typer.echo(f"{live.id} has its ledger; its next decision time is after {live.newest_decision_at()} UTC")


def run_one_cycle(name: str, home: Path | None) -> None:
    """Run the cycle of the newest decision time."""
    with trading(name, home) as live:
        report = run_cycle(live)
        typer.echo(f"Cycle {report.cycle} of {report.decision_at} UTC: {report.status.value}")
        print_trades(report.trades, report.notes)
        if report.sample is not None:
            typer.echo(f"Equity {report.sample.equity:,.2f} USD")
        _fail_unless(report.status is not CycleStatus.skipped)


def run_trigger_check(name: str, home: Path | None) -> None:
    """Check triggers once."""
    with trading(name, home) as live:
        report = check_triggers(live)
        typer.echo(f"{report.watched} positions watched, {len(report.moved)} stops moved")
        print_trades(report.trades, report.notes)


def run_revaluation(name: str, home: Path | None) -> None:
    """Value the portfolio now."""
    with trading(name, home) as live:
        sample = revalue(live)
        typer.echo(
            f"Equity {sample.equity:,.2f} USD: cash {sample.cash:,.2f} and {sample.open_positions} open positions "
            f"of {sample.position_equity:,.2f}"
        )


def start(name: str, home: Path | None, max_cycles: int | None) -> None:
    """Trade until SIGTERM or SIGINT, which end the process between two steps."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    deployment, stop = find_deployment(name), threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with _closing(open_live(deployment, find_home(home))) as live:
            worker = LiveWorker(deployment, live, is_stopping=stop.is_set, wait=stop.wait)
            typer.echo(f"{live.id} trades ({deployment.mode}); stop it with Ctrl-C")
            typer.echo(f"{worker.run(max_cycles)} cycles ended")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- accounts ---------------------------------------------------------------------------------------------------------


def run_wallet_check(name: str, home: Path | None, as_json: bool) -> None:
    """Show balances and gas."""
    with trading(name, home) as live:
        report = check_wallet(live)
        _show(report, print_wallet, as_json)


def run_wallet_release(name: str, home: Path | None, reason: str) -> None:
    """Let a halted wallet sign again."""
    with trading(name, home) as live:
        release_wallet(live, reason)
        typer.echo(f"The wallet of {live.id} may sign again")


def run_account_check(name: str, home: Path | None) -> None:
    """Compare the ledger with what is held."""
    with trading(name, home) as live:
        table = check_live_accounts(live)
        typer.echo(str(table))
        _fail_unless(table.is_clean)


def run_correction(name: str, home: Path | None, reserve: str | None, dry_run: bool, yes: bool) -> None:
    """Bring the ledger to what is held, once it is confirmed."""
    causes = {cause.value: cause for cause in BalanceUpdateCause}
    if reserve is not None and reserve not in causes:
        raise BadInput(f"--reserve is {reserve!r}: it is one of correction, deposit, redemption")

    def confirm(report: CorrectionReport) -> bool:
        typer.echo(str(report))
        return yes or typer.confirm("Record this in the ledger?")

    with trading(name, home) as live:
        cause = None if reserve is None else causes[reserve]
        report = correct_accounts(live, confirm, reserve_cause=cause, dry_run=dry_run)
        if dry_run or not report.is_needed:
            typer.echo(str(report))
        elif report.after is None:
            typer.echo("Nothing was recorded.")
        else:
            typer.echo("Recorded; the accounts are now:")
            typer.echo(str(report.after))
            _fail_unless(report.after.is_clean)


def run_blacklist(name: str, home: Path | None, add: str | None, remove: str | None, reason: str) -> None:
    """Add or remove a token, then show those there are."""
    with observing(name, home) as live:
        if add is not None:
            blacklist_token(live, add, reason)
        if remove is not None:
            allow_token(live, remove, reason)
        rows = [(asset.token_symbol, asset.address, why) for asset, why in read_blacklist(live).items()]
        typer.echo(format_table(("token", "address", "reason"), rows) if rows else "No token is blacklisted.")


# -- positions --------------------------------------------------------------------------------------------------------


def run_repair(name: str, home: Path | None, positions: Sequence[int], reason: str, force: bool) -> None:
    """Release frozen positions."""
    with trading(name, home) as live:
        report = repair(live, positions, reason, force=force)
        for what, numbers in (("open", report.opened), ("closed", report.closed), ("dropped", report.dropped)):
            for number in numbers:
                typer.echo(f"Position #{number} is released: {what}")
        for refused in report.refused:
            typer.echo(refused)
        if not (report.opened or report.closed or report.dropped or report.refused):
            typer.echo("No position is frozen.")
        if not report.accounts.is_clean:
            typer.echo(str(report.accounts))
        _fail_unless(not report.refused and report.accounts.is_clean)


def run_retry(name: str, home: Path | None, positions: Sequence[int]) -> None:
    """Try failed trades again."""
    with trading(name, home) as live:
        _show_result(retry(live, positions))


def run_close_all(name: str, home: Path | None, reason: str, yes: bool) -> None:
    """Close every position."""
    with trading(name, home) as live:
        if yes or typer.confirm(f"Sell everything that {live.id} holds?"):
            _show_result(close_all(live, reason))


def run_close_position(name: str, home: Path | None, position: int, reason: str) -> None:
    """Close one position."""
    with trading(name, home) as live:
        _show_result(close_position(live, position, reason))


def run_test_trade(name: str, home: Path | None, pair: str | None, value: float, kind: str) -> None:
    """Buy and sell a little."""
    if kind not in {known.value for known in TrialKind}:
        raise BadInput(f"--kind is {kind!r}: it must be {', '.join(known.value for known in TrialKind)}")
    with trading(name, home) as live:
        report = perform_test_trade(live, pair, value, TrialKind(kind))
        print_trades(report.trades, report.notes)
        if report.cost is not None:
            typer.echo(f"Buying and selling {value:,.2f} USD of {report.pair.get_ticker()} cost {report.cost:,.4f} USD")
        _fail_unless(report.is_complete)


def _show_result(result: TradingResult) -> None:
    print_result(result)
    _fail_unless(result.is_complete and (result.accounts is None or result.accounts.is_clean))


# -- looking ----------------------------------------------------------------------------------------------------------


def show(what: str, name: str, home: Path | None, as_json: bool, with_closed: bool = False) -> None:
    """Show positions, valuation, costs or status, from the ledger alone."""
    with observing(name, home) as live:
        if what == "positions":
            _show(show_positions(live, with_closed=with_closed), print_positions, as_json)
        elif what == "valuation":
            _show(show_valuation(live), print_valuation, as_json)
        elif what == "costs":
            _show(show_costs(live), print_costs, as_json)
        else:
            _show(show_status(live), print_status, as_json)


def show_said(name: str, home: Path | None, count: int, as_json: bool) -> None:
    """Show the newest messages of the strategy."""
    with observing(name, home) as live:
        _show(show_messages(live, count), print_messages, as_json)


def _show(found: Any, as_text: Callable[[Any], None], as_json: bool) -> None:
    (print_json if as_json else as_text)(found)


def _fail_unless(is_well: bool) -> None:
    if not is_well:
        raise typer.Exit(EXIT_FAILED)
