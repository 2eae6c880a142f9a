"""Live trading, on paper or on a chain: each step a function that may be run again at any point."""
