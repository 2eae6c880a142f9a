"""Strategies written for trade-executor: their files rewritten, and the calls they make that have no place here."""
