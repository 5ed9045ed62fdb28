"""A worker that serves PyTorch, eager or compiled, over the phasebench worker protocol.

From the bottom up: `errors`, `clock`, `memory` and `settings` need no torch; `abilities`, `toolchain` and `facts` tell
what torch is here and set to; `model`, `rows` and `passes` are one forward pass; `evidence` and `attribution` prove
what ran; `calls` and `engine` load, compile and run; `session` keeps the protocol's order; `server` and `__main__`
serve it.
"""

__version__ = "0.1.0"
