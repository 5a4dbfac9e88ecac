"""Deterministic simulation: the whole daemon core, unmodified ccxt.pro and the built-in venue in one virtual time."""
