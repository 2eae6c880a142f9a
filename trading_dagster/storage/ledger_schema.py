"""Tables of a ledger database. Migrations make them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_HEAD = "0003"
"""The newest migration: what this version of the program works with."""

metadata = MetaData()

strategies = Table(
    "strategies",
    metadata,
    Column("strategy_key", Integer, primary_key=True),
    Column("strategy_id", String(255), nullable=False, unique=True),
    Column("head_seq", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("strategy_key", Integer, ForeignKey("strategies.strategy_key"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("position_id", BigInteger),
    Column("topic", String(16)),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("strategy_key", "seq", name="pk_events"),
)
Index(
    "ix_events_position",
    events.c.strategy_key,
    events.c.position_id,
    events.c.seq,
    sqlite_where=events.c.position_id.is_not(None),
    postgresql_where=events.c.position_id.is_not(None),
)
Index(
    "ix_events_topic",
    events.c.strategy_key,
    events.c.topic,
    events.c.seq,
    sqlite_where=events.c.topic.is_not(None),
    postgresql_where=events.c.topic.is_not(None),
)

ended_positions = Table(
    "ended_positions",
    metadata,
    Column("strategy_key", Integer, ForeignKey("strategies.strategy_key"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("position_id", BigInteger, nullable=False),
    Column("market", String(255), nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("allocations", Text),
    PrimaryKeyConstraint("strategy_key", "kind", "number", name="pk_ended_positions"),
)
Index("ux_ended_positions_id", ended_positions.c.strategy_key, ended_positions.c.position_id, unique=True)
Index(
    "ix_ended_positions_market",
    ended_positions.c.strategy_key,
    ended_positions.c.kind,
    ended_positions.c.market,
    ended_positions.c.number,
)
Index(
    "ix_ended_positions_time",
    ended_positions.c.strategy_key,
    ended_positions.c.kind,
    ended_positions.c.ended_us,
    ended_positions.c.position_id,
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("strategy_key", Integer, ForeignKey("strategies.strategy_key"), primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("format", Integer, nullable=False),
    Column("body", Text, nullable=False),
    ForeignKeyConstraint(["strategy_key", "seq"], ["events.strategy_key", "events.seq"], name="fk_snapshots_event"),
)

samples = Table(
    "samples",
    metadata,
    Column("strategy_key", Integer, ForeignKey("strategies.strategy_key"), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("equity", Float(53), nullable=False),
    Column("cash", Float(53), nullable=False),
    Column("position_equity", Float(53), nullable=False),
    Column("open_positions", Integer, nullable=False),
    Column("share_count", Float(53)),
    Column("share_price", Float(53)),
    PrimaryKeyConstraint("strategy_key", "at_us", name="pk_samples"),
)

shown_rows = Table(
    "shown_rows",
    metadata,
    Column("strategy_key", Integer, ForeignKey("strategies.strategy_key"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("strategy_key", "seq", "number", name="pk_shown_rows"),
)
Index(
    "ix_shown_rows_time",
    shown_rows.c.strategy_key,
    shown_rows.c.kind,
    shown_rows.c.at_us,
    shown_rows.c.seq,
    shown_rows.c.number,
)

leases = Table(
    "leases",
    metadata,
    Column("resource", String(255), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("holder", String(255)),
    Column("expires_ms", BigInteger, nullable=False),
)

# What operators say and are told. These tables name a strategy by its id: they are used before its first event.

kill_switches = Table(
    "kill_switches",
    metadata,
    Column("switch_key", Integer, primary_key=True),
    Column("scope", String(255), nullable=False),
    Column("is_on", Integer, nullable=False),
    Column("switched_by", String(255), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)
Index("ix_kill_switches_scope", kill_switches.c.scope, kill_switches.c.switch_key)

approvals = Table(
    "approvals",
    metadata,
    Column("approval_key", Integer, primary_key=True),
    Column("strategy_id", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("decision_us", BigInteger, nullable=False),
    Column("first_trade_id", BigInteger, nullable=False),
    Column("last_trade_id", BigInteger, nullable=False),
    Column("trades", Text, nullable=False),
    Column("requested_us", BigInteger, nullable=False),
    Column("deadline_us", BigInteger, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("approved_ids", Text, nullable=False),
    Column("answered_by", String(255), nullable=False),
    Column("answered_us", BigInteger),
    Column("comment", Text, nullable=False),
    UniqueConstraint("strategy_id", "digest", name="ux_approvals_digest"),
)
Index("ix_approvals_trades", approvals.c.strategy_id, approvals.c.last_trade_id)
Index("ix_approvals_verdict", approvals.c.strategy_id, approvals.c.verdict)

messages = Table(
    "messages",
    metadata,
    Column("message_key", Integer, primary_key=True),
    Column("strategy_id", String(255), nullable=False),
    Column("level", String(16), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("text", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("claimed_ms", BigInteger, nullable=False),
    Column("delivered_ms", BigInteger),
    Column("repeats", Integer, nullable=False),
    Column("last_at_us", BigInteger, nullable=False),
)
Index("ix_messages_subject", messages.c.strategy_id, messages.c.kind, messages.c.subject, messages.c.message_key)
Index("ix_messages_level", messages.c.level, messages.c.message_key)
