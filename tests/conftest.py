"""What holds for all tests."""

import signal

# A shell that starts tests in the background lets them ignore Ctrl-C, and the programs they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
