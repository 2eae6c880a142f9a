"""Make the table of what strategies show: messages, calculations and plots."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "shown_rows",
        sa.Column("strategy_key", sa.Integer, sa.ForeignKey("strategies.strategy_key"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("strategy_key", "seq", "number", name="pk_shown_rows"),
    )
    op.create_index("ix_shown_rows_time", "shown_rows", ["strategy_key", "kind", "at_us", "seq", "number"])


def downgrade() -> None:
    """Refuse: what is stored is never thrown away."""
    raise NotImplementedError("A ledger is not downgraded: restore a backup of the database instead")
