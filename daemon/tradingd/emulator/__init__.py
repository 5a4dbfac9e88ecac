"""Built-in venues: sans-IO models of real venues, with a loopback server in front."""
