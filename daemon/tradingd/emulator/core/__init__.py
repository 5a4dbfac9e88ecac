"""Venue-neutral half of the built-in venues: market, matching, account, ledger."""
