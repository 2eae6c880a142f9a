"""Sensors and schedules; they come with live trading."""
