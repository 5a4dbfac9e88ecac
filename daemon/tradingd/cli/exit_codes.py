"""Exit statuses of the command line, after sysexits.h; the service manager and scripts rely on them."""

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 69
IO_ERROR = 74
CONFIG = 78
INTERRUPTED = 130

EPILOG = """exit status:
  0   done
  1   failed; the text says why
  2   wrong usage
  69  the daemon or the venue cannot be reached
  74  the journal or a file could not be read or written: disk or permissions; a new start may succeed
  78  the configuration or the journal must be corrected by hand; not worth a restart
"""
