"""Algorithmic trading on decentralised markets: one strategy file, backtested and traded live, on Dagster."""
