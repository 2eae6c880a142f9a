"""Run migrations on the connection that the ledger database was opened with, inside its transaction."""

from alembic import context

from trading_dagster.storage.ledger_schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
