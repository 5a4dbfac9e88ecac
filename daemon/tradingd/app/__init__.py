"""The composition root: the one place where objects meet, and the staged start and stop."""
