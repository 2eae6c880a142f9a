"""Make the first tables: ledgers, ended positions, snapshots, samples and leases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "strategies",
        sa.Column("strategy_key", sa.Integer, primary_key=True),
        sa.Column("strategy_id", sa.String(255), nullable=False, unique=True),
        sa.Column("head_seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("strategy_key", sa.Integer, sa.ForeignKey("strategies.strategy_key"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("position_id", sa.BigInteger),
        sa.Column("topic", sa.String(16)),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("strategy_key", "seq", name="pk_events"),
    )
    has_position, has_topic = sa.text("position_id IS NOT NULL"), sa.text("topic IS NOT NULL")
    op.create_index(
        "ix_events_position",
        "events",
        ["strategy_key", "position_id", "seq"],
        sqlite_where=has_position,
        postgresql_where=has_position,
    )
    op.create_index(
        "ix_events_topic",
        "events",
        ["strategy_key", "topic", "seq"],
        sqlite_where=has_topic,
        postgresql_where=has_topic,
    )
    op.create_table(
        "ended_positions",
        sa.Column("strategy_key", sa.Integer, sa.ForeignKey("strategies.strategy_key"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("position_id", sa.BigInteger, nullable=False),
        sa.Column("market", sa.String(255), nullable=False),
        sa.Column("ended_us", sa.BigInteger, nullable=False),
        sa.Column("allocations", sa.Text),
        sa.PrimaryKeyConstraint("strategy_key", "kind", "number", name="pk_ended_positions"),
    )
    op.create_index("ux_ended_positions_id", "ended_positions", ["strategy_key", "position_id"], unique=True)
    op.create_index("ix_ended_positions_market", "ended_positions", ["strategy_key", "kind", "market", "number"])
    op.create_index("ix_ended_positions_time", "ended_positions", ["strategy_key", "kind", "ended_us", "position_id"])
    op.create_table(
        "snapshots",
        sa.Column(
            "strategy_key",
            sa.Integer,
            sa.ForeignKey("strategies.strategy_key"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["strategy_key", "seq"], ["events.strategy_key", "events.seq"], name="fk_snapshots_event"
        ),
    )
    op.create_table(
        "samples",
        sa.Column("strategy_key", sa.Integer, sa.ForeignKey("strategies.strategy_key"), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("equity", sa.Float(53), nullable=False),
        sa.Column("cash", sa.Float(53), nullable=False),
        sa.Column("position_equity", sa.Float(53), nullable=False),
        sa.Column("open_positions", sa.Integer, nullable=False),
        sa.Column("share_count", sa.Float(53)),
        sa.Column("share_price", sa.Float(53)),
        sa.PrimaryKeyConstraint("strategy_key", "at_us", name="pk_samples"),
    )
    op.create_table(
        "leases",
        sa.Column("resource", sa.String(255), primary_key=True),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(255)),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Refuse: a ledger is never thrown away."""
    raise NotImplementedError("A ledger is not downgraded: restore a backup of the database instead")
