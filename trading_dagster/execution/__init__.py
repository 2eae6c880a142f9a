"""From planned trades to fills."""
