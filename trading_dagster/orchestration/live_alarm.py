"""Tell a person what the sensors of a deployment found."""

from __future__ import annotations

import logging

from trading_dagster.domain.error import TradingDagsterError
from trading_dagster.domain.message import Message, MessageKind, MessageLevel
from trading_dagster.live.opening import open_reporter
from trading_dagster.orchestration.live_unit import LiveUnit
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

logger = logging.getLogger(__name__)


def send_alarm(unit: LiveUnit, kind: MessageKind, subject: str, text: str) -> None:
    """Send an alarm of a deployment; that it could not be sent is logged and stops nothing."""
    try:
        live = unit.observe()
        assert isinstance(live.store, SqlLedgerStore)
        message = Message(unit.id, MessageLevel.alarm, kind, f"{unit.id}: {subject}", text, live.clock.now())
        open_reporter(unit.deployment, live.store).report(message)
    except TradingDagsterError as error:
        logger.error("%s: %s: %s (the alarm could not be sent: %s)", unit.id, subject, text, error)  # noqa: TRY400
