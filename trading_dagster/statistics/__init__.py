"""Measures of performance and the tables made of them, on pandas and numpy only."""
