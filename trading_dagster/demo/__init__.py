"""The live demo: a market of its own on this machine, in which a strategy trades through Dagster."""
