"""The commands ``trading-dagster live ...``: which there are; what they do is in ``live_action`` and ``live_control``.

Each imports what it needs when it runs, as those of ``main`` do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trading_dagster.cli.divergence import add_divergence
from trading_dagster.cli.live_demo import add_live_demo

live_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Trade live, on paper or on a chain; look at it, steer it."
)

Name = Annotated[
    str, typer.Argument(metavar="DEPLOYMENT", help="YAML file of a deployment, or its id.", show_default=False)
]
Home = Annotated[
    Path | None, typer.Option("--home", help="Dagster home with the live files; DAGSTER_HOME or .dagster by default.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the ledger.")]
Positions = Annotated[list[int] | None, typer.Argument(help="Ids of positions; all frozen ones by default.")]
By = Annotated[str, typer.Option(help="Who you are.")]
ForAll = Annotated[bool, typer.Option("--all", help="The switch of all strategies in the ledger.")]


@live_app.command()
def init(name: Name, home: Home = None) -> None:
    """Begin the ledger of a deployment and check its wallet; does nothing more when it has one."""
    from trading_dagster.cli import live_action

    live_action.init(name, home)


@live_app.command()
def start(
    name: Name,
    home: Home = None,
    max_cycles: Annotated[int | None, typer.Option(help="Stop after so many cycles.", min=1)] = None,
) -> None:
    """Trade in one long-running process, without Dagster: cycles, trigger checks, revaluation on their times.

    It begins with the newest decision time, unless that is older than the deployment allows.
    """
    from trading_dagster.cli import live_action

    live_action.start(name, home, max_cycles)


@live_app.command("run-cycle")
def run_cycle(name: Name, home: Home = None) -> None:
    """Run the cycle of the newest decision time; goes on with it when it was begun, does nothing when it ended."""
    from trading_dagster.cli import live_action

    live_action.run_one_cycle(name, home)


@live_app.command("check-triggers")
def check_triggers(name: Name, home: Home = None) -> None:
    """Move trailing stops and close positions whose stop loss or take profit fires, once."""
    from trading_dagster.cli import live_action

    live_action.run_trigger_check(name, home)


@live_app.command()
def revalue(name: Name, home: Home = None) -> None:
    """Value the portfolio at the prices of now and keep the sample."""
    from trading_dagster.cli import live_action

    live_action.run_revaluation(name, home)


@live_app.command("check-wallet")
def check_wallet(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Connect, and show balances and gas."""
    from trading_dagster.cli import live_action

    live_action.run_wallet_check(name, home, as_json)


@live_app.command("check-accounts")
def check_accounts(name: Name, home: Home = None) -> None:
    """Compare the ledger with what is really held; exit code 1 when they differ."""
    from trading_dagster.cli import live_action

    live_action.run_account_check(name, home)


@live_app.command("correct-accounts")
def correct_accounts(
    name: Name,
    home: Home = None,
    reserve: Annotated[
        str | None, typer.Option(help="What a difference in cash is: correction, deposit or redemption.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be recorded.")] = False,
    yes: Yes = False,
) -> None:
    """Bring the ledger to what is really held, by events."""
    from trading_dagster.cli import live_action

    live_action.run_correction(name, home, reserve, dry_run, yes)


@live_app.command()
def redeem(
    name: Name,
    amount: Annotated[str, typer.Argument(help="How much, in reserve tokens.")],
    to: Annotated[str, typer.Option(help="Address that gets it; on paper anything.")] = "",
    home: Home = None,
    yes: Yes = False,
) -> None:
    """Take money out: it is sent at once, or by the first cycle that has the cash, and burns shares."""
    from trading_dagster.cli import live_money

    live_money.run_redemption(name, home, amount, to, yes)


@live_app.command()
def deposit(
    name: Name, amount: Annotated[str, typer.Argument(help="How much, in reserve tokens.")], home: Home = None
) -> None:
    """Add money on paper; what comes into a real wallet is booked by itself."""
    from trading_dagster.cli import live_money

    live_money.run_deposit(name, home, amount)


@live_app.command("cancel-redemption")
def cancel_redemption(
    name: Name, number: Annotated[int, typer.Argument(help="Number of a redemption that waits.")], home: Home = None
) -> None:
    """Take back a redemption that waits for cash."""
    from trading_dagster.cli import live_money

    live_money.run_cancellation(name, home, number)


@live_app.command()
def repair(
    name: Name,
    positions: Positions = None,
    home: Home = None,
    reason: Reason = "released by an operator",
    force: Annotated[
        bool, typer.Option("--force", help="Also where the failed trade could still take effect.")
    ] = False,
) -> None:
    """Release frozen positions: their failed trades count as never tried."""
    from trading_dagster.cli import live_action

    live_action.run_repair(name, home, positions or [], reason, force)


@live_app.command()
def retry(name: Name, positions: Positions = None, home: Home = None) -> None:
    """Try what failed in frozen positions again, as new trades at the prices of now."""
    from trading_dagster.cli import live_action

    live_action.run_retry(name, home, positions or [])


@live_app.command("close-all")
def close_all(name: Name, home: Home = None, reason: Reason = "closed by an operator", yes: Yes = False) -> None:
    """Sell everything; trades that a cycle decided and did not begin are dropped."""
    from trading_dagster.cli import live_action

    live_action.run_close_all(name, home, reason, yes)


@live_app.command("close-position")
def close_position(
    name: Name,
    position: Annotated[int, typer.Argument(help="Id of the position.")],
    home: Home = None,
    reason: Reason = "closed by an operator",
) -> None:
    """Sell one position."""
    from trading_dagster.cli import live_action

    live_action.run_close_position(name, home, position, reason)


@live_app.command("test-trade")
def perform_test_trade(
    name: Name,
    home: Home = None,
    pair: Annotated[str | None, typer.Option(help="BASE/QUOTE; the only pair by default.")] = None,
    value: Annotated[float, typer.Option(help="How much to buy for, USD.")] = 1.0,
    kind: Annotated[str, typer.Option(help="spot, short (needs a lending pool) or credit (lends out).")] = "spot",
) -> None:
    """Buy a little and sell it again, or open and close a loan, recorded as a test."""
    from trading_dagster.cli import live_action

    live_action.run_test_trade(name, home, pair, value, kind)


@live_app.command("show-positions")
def show_positions(
    name: Name,
    home: Home = None,
    with_closed: Annotated[bool, typer.Option("--closed", help="With closed positions.")] = False,
    as_json: Json = False,
) -> None:
    """Show positions, from the ledger alone."""
    from trading_dagster.cli import live_action

    live_action.show("positions", name, home, as_json, with_closed)


@live_app.command("show-valuation")
def show_valuation(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Show what the portfolio is worth, from the ledger alone."""
    from trading_dagster.cli import live_action

    live_action.show("valuation", name, home, as_json)


@live_app.command("show-costs")
def show_costs(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Show what trades cost: fee, tax, price impact, slippage and gas, from the ledger alone."""
    from trading_dagster.cli import live_action

    live_action.show("costs", name, home, as_json)


@live_app.command("show-messages")
def show_messages(
    name: Name,
    home: Home = None,
    count: Annotated[int, typer.Option(help="How many, the newest.", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Show what the strategy said by add_message and log, from the ledger alone."""
    from trading_dagster.cli import live_action

    live_action.show_said(name, home, count, as_json)


@live_app.command()
def status(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Show decisions, unfinished trades, frozen positions, who works on it and the kill switch."""
    from trading_dagster.cli import live_action

    live_action.show("status", name, home, as_json)


@live_app.command()
def blacklist(
    name: Name,
    home: Home = None,
    add: Annotated[str | None, typer.Option(help="Symbol or address of a token not to buy.")] = None,
    remove: Annotated[str | None, typer.Option(help="Symbol or address of a token to allow again.")] = None,
    reason: Reason = "",
) -> None:
    """Show the tokens that may not be bought; add or remove one."""
    from trading_dagster.cli import live_action

    live_action.run_blacklist(name, home, add, remove, reason)


@live_app.command()
def approve(
    name: Name,
    digest: Annotated[
        str | None, typer.Argument(help="Begin of the request's digest; without it requests are shown.")
    ] = None,
    home: Home = None,
    by: By = "",
    trade: Annotated[list[int] | None, typer.Option(help="Id of a trade to approve; all by default.")] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Reject all trades.")] = False,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Show trades that wait for an approval, or answer."""
    from trading_dagster.cli import live_control

    live_control.approve(name, home, digest=digest, by=by, trades=trade or [], is_rejection=reject, comment=comment)


@live_app.command()
def kill(name: Name, by: By, reason: Reason, home: Home = None, for_all: ForAll = False) -> None:
    """Turn the kill switch on: nothing is decided, executed or signed any more."""
    from trading_dagster.cli import live_control

    live_control.turn_switch(name, home, is_on=True, by=by, reason=reason, is_for_all=for_all)


@live_app.command()
def resume(
    name: Name,
    by: By,
    reason: Reason,
    home: Home = None,
    for_all: ForAll = False,
    wallet: Annotated[
        bool, typer.Option("--wallet", help="Not the switch: let a wallet sign again that somebody else used.")
    ] = False,
) -> None:
    """Turn the kill switch off; with --wallet let a halted wallet sign again."""
    from trading_dagster.cli import live_action, live_control

    if wallet:
        live_action.run_wallet_release(name, home, f"{by}: {reason}")
    else:
        live_control.turn_switch(name, home, is_on=False, by=by, reason=reason, is_for_all=for_all)


@live_app.command("end-ledger")
def end_ledger(
    name: Name,
    by: By,
    reason: Reason,
    home: Home = None,
    database_of: Annotated[
        str | None,
        typer.Option(help="A deployment with the same database, when the ledger's own file is gone: give its id then."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Give up positions that cannot be closed: what they say is not so any more.")
    ] = False,
    yes: Yes = False,
) -> None:
    """End a ledger that holds nothing but cash, for good: a new one may count the money of its wallet or vault."""
    from trading_dagster.cli import live_control

    live_control.end(name, home, by=by, reason=reason, database_of=database_of, force=force, yes=yes)


add_divergence(live_app)
add_live_demo(live_app)
