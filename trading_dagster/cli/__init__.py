"""The command line: the same functions without Dagster, and what starts Dagster."""
