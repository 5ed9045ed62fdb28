"""The order in which the protocol's requests may come, and the one that is in flight."""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import OutOfOrder


class State(enum.IntEnum):
    """How far a session has come; each state has all before it behind it."""

    NEW = 0
    GREETED = 1
    PREPARED = 2
    LOADED = 3


@dataclass
class Operation:
    """A request in flight."""

    name: str
    call_id: int
    """0: not a call."""
    cancelled: threading.Event = field(default_factory=threading.Event)


# Request: the states it may come in, and what to do first otherwise.
_ALLOWED: dict[str, tuple[frozenset[State], str]] = {
    "Describe": (frozenset({State.GREETED, State.PREPARED, State.LOADED}), "after Hello"),
    "Prepare": (frozenset({State.GREETED, State.PREPARED}), "after Hello, while no model is loaded"),
    "Load": (frozenset({State.PREPARED}), "after Prepare, while no model is loaded"),
    "Compile": (frozenset({State.LOADED}), "after Load"),
    "Call": (frozenset({State.LOADED}), "after Load"),
    "Unload": (frozenset({State.LOADED}), "after Load"),
}


ENGINE_REQUESTS = frozenset(_ALLOWED)
"""Requests that are the engine's to serve, one at a time."""


class Session:
    """State of the one session that a worker serves. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = State.NEW
        self._current: Operation | None = None

    @property
    def state(self) -> State:
        """How far the session has come."""
        with self._lock:
            return self._state

    def reach(self, state: State) -> None:
        """Notes that the session has come to `state`."""
        with self._lock:
            self._state = state

    def greet(self) -> None:
        """Notes a Hello; one within a session changes nothing."""
        with self._lock:
            self._state = max(self._state, State.GREETED)

    @contextlib.contextmanager
    def operation(self, name: str, call_id: int = 0) -> Iterator[Operation]:
        """Holds the session for one request.

        Raises:
            OutOfOrder: the request may not come now.
        """
        with self._lock:
            allowed, when = _ALLOWED[name]
            if self._current is not None:
                raise OutOfOrder(f"{name} while {self._current.name} is in flight: one request at a time")
            if self._state not in allowed:
                raise OutOfOrder(f"{name} in state {self._state.name.lower()}: it may come {when}")
            mine = self._current = Operation(name, call_id)
        try:
            yield mine
        finally:
            with self._lock:
                self._current = None

    def cancel(self, call_id: int = 0) -> bool:
        """Asks what is in flight to stop; `call_id` 0 means whatever it is. Whether it was in flight."""
        with self._lock:
            current = self._current
            if current is None or call_id not in (0, current.call_id):
                return False
            current.cancelled.set()
            return True

    @property
    def busy(self) -> bool:
        """Whether a request is in flight."""
        with self._lock:
            return self._current is not None
