"""What a strategy file sees: its module, parameters, input, indicators and position manager."""
