"""The host: a process that owns a session and outlives the terminal, and the client that talks to it.

`messages` defines the protocol, `places` the files of a host, `process` the host itself with its `log` of messages and
`serving` (the socket). `client` is the other side, `starting` starts and ends hosts, `listing` lists those that run.
Only the host imports a model.
"""

from __future__ import annotations

JOURNAL = "default"
"""The default name of a session and of its journal."""

#: Set in the environment of a line REPL that the app starts: F9 leads back there.
FROM_APP = "WORKBENCH_FROM_APP"
