"""Market data: candles, the lake, sources and the universe."""
