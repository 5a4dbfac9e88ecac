"""From a venue's pushes to events: candles exactly once and in order, the account, and the streams' health."""
