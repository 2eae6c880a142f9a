"""Ledgers, snapshots and artefact tables on disk."""
