"""The history of the ledger database's tables, one file a step."""
