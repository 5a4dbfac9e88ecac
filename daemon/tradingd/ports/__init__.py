"""The seams: everything that reads a clock, randomness, the network or the disk stands behind one of these."""

from tradingd.ports.calls import CallContext, Clear, Priority, RateBudget, at_once, call_context
from tradingd.ports.host import Clock, Publisher, Random, Timers
from tradingd.ports.journal import Journal, Store
from tradingd.ports.venue import Approved, StateProtection, StreamKey, Venue, VenueLimits, VenueSink

__all__ = [
    "Approved",
    "CallContext",
    "Clear",
    "Clock",
    "Journal",
    "Priority",
    "Publisher",
    "Random",
    "RateBudget",
    "StateProtection",
    "Store",
    "StreamKey",
    "Timers",
    "Venue",
    "VenueLimits",
    "VenueSink",
    "at_once",
    "call_context",
]
