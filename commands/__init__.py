"""The verbs: one grammar under the REPL, the command files, the command line and Python.

`run(session, line)` turns a line into a stream of events; nothing in this floor prints or draws.
"""

from commands.running import run

__all__ = ["run"]
