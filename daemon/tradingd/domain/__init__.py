"""The words of the daemon as types: pure, no clock, no I/O, stdlib and msgspec only."""
