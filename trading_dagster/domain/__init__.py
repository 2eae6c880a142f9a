"""Values and rules of trading, on the standard library only."""
