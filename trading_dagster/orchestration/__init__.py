"""Backtests as Dagster assets: partitions, asset factories, checks, resources and the local Dagster home."""
