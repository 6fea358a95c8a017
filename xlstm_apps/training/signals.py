"""Ctrl-C and SIGTERM: finish the step, save, leave."""

import signal
import sys
import threading
from types import FrameType


class Interrupted(Exception):  # noqa: N818
    """Training stopped at a safe point because a signal asked for it."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class StopSignals:
    """Context in which the first SIGINT or SIGTERM only sets `received`; a second one acts at once, as usual.

    Outside the main thread Python allows no handlers; there signals keep their meaning. One that is ignored, as Ctrl-C
    is by what a script starts in the background, stays ignored.
    """

    def __init__(self, announce: bool):
        self.received = 0
        self._announce, self._before = announce, {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(signum) is not signal.SIG_IGN:
                    self._before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received:
            signal.signal(signum, signal.SIG_DFL if signum == signal.SIGTERM else signal.default_int_handler)
            signal.raise_signal(signum)
        self.received = signum
        if self._announce:
            print(f"\n{signal.Signals(signum).name}: saving a checkpoint (again: stop at once) ...", file=sys.stderr)
