"""When the worker ends: with its parent, on a signal, or when nobody has asked for anything for long."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable


def end_with_parent() -> None:
    """Ends the worker when standard input is closed, which the kernel does when its writer dies, however it dies.

    Compilers that the worker started belong to its process group; where it leads that group, all of it ends.
    """
    threading.Thread(target=_wait_for_end, name="parent", daemon=True).start()


def _wait_for_end() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    own = os.getpid()
    # Fails for the first process of a container that is its only one: for it this means everybody else.
    with contextlib.suppress(ProcessLookupError):
        if os.getpgrp() == own:
            os.killpg(own, signal.SIGKILL)
        os.kill(own, signal.SIGKILL)
    # That first process is not killed by a signal from inside, and all others end with it.
    os._exit(128 + signal.SIGKILL)


def stop_on_signal(stopping: threading.Event) -> None:
    """Sets `stopping` on SIGTERM and SIGINT.

    The kernel may give a signal to any thread, and the main one, asleep over a lock, would not hear of it. What is
    written into a pipe, whichever thread the signal meets, another one waits for.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    ending = (signal.SIGTERM, signal.SIGINT)
    for number in ending:
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        while os.read(reader, 1)[0] not in ending:
            pass
        stopping.set()

    threading.Thread(target=wait, name="signal", daemon=True).start()


def exit_when_idle(idle_ns: Callable[[], int], seconds: float, stopping: threading.Event) -> None:
    """Sets `stopping` once `idle_ns` reaches `seconds`."""

    def watch() -> None:
        limit = round(seconds * 1e9)
        while not stopping.is_set():
            left = limit - idle_ns()
            if left <= 0:
                stopping.set()
            else:
                stopping.wait(left / 1e9)

    threading.Thread(target=watch, name="idle", daemon=True).start()
