"""Treasury, valuation and account checks."""
