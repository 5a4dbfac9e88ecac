"""The ways in: operators' commands over a unix socket."""
