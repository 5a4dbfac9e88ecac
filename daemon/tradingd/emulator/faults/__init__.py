"""Faults of a built-in venue: a small language (docs/faults.md), what it decides, and how the venue plays it."""
