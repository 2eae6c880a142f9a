"""Side-by-side speed measurements of the engine, its peers and bare floors on identical data and rules."""
