"""What do all tests share? Hypothesis draws the same examples each time, and no clock judges it.

This file also puts its folder on the path, for `shapes`.
"""

import signal

from hypothesis import settings

settings.register_profile("sharefs", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("sharefs")

# A shell has what it runs in the background ignore Ctrl-C, and programs would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
