"""Questions asked of a strategy beyond one backtest: is it honest, is it robust, which parameters suit it."""
