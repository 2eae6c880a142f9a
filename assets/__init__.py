"""Dagster assets, one file a group."""
