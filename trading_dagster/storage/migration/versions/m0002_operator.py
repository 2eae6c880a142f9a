"""Make the tables of what operators say and are told: kill switches, approvals, messages."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "kill_switches",
        sa.Column("switch_key", sa.Integer, primary_key=True),
        sa.Column("scope", sa.String(255), nullable=False),
        sa.Column("is_on", sa.Integer, nullable=False),
        sa.Column("switched_by", sa.String(255), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_kill_switches_scope", "kill_switches", ["scope", "switch_key"])
    op.create_table(
        "approvals",
        sa.Column("approval_key", sa.Integer, primary_key=True),
        sa.Column("strategy_id", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("decision_us", sa.BigInteger, nullable=False),
        sa.Column("first_trade_id", sa.BigInteger, nullable=False),
        sa.Column("last_trade_id", sa.BigInteger, nullable=False),
        sa.Column("trades", sa.Text, nullable=False),
        sa.Column("requested_us", sa.BigInteger, nullable=False),
        sa.Column("deadline_us", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("approved_ids", sa.Text, nullable=False),
        sa.Column("answered_by", sa.String(255), nullable=False),
        sa.Column("answered_us", sa.BigInteger),
        sa.Column("comment", sa.Text, nullable=False),
        sa.UniqueConstraint("strategy_id", "digest", name="ux_approvals_digest"),
    )
    op.create_index("ix_approvals_trades", "approvals", ["strategy_id", "last_trade_id"])
    op.create_index("ix_approvals_verdict", "approvals", ["strategy_id", "verdict"])
    op.create_table(
        "messages",
        sa.Column("message_key", sa.Integer, primary_key=True),
        sa.Column("strategy_id", sa.String(255), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("claimed_ms", sa.BigInteger, nullable=False),
        sa.Column("delivered_ms", sa.BigInteger),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("last_at_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_messages_subject", "messages", ["strategy_id", "kind", "subject", "message_key"])
    op.create_index("ix_messages_level", "messages", ["level", "message_key"])


def downgrade() -> None:
    """Refuse: what operators said is never thrown away."""
    raise NotImplementedError("A ledger is not downgraded: restore a backup of the database instead")
