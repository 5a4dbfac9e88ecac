"""What people and machines see of the daemon: log lines, heartbeats. Losing all of it changes nothing about trading."""
