"""The price of a trade and the value of a position."""
