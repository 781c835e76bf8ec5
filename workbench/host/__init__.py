"""The host: a process that owns a session and goes on when the terminal dies, and the client that talks to it.

`messages` is what the two say to each other, `places` where they meet on the disk, `process` the host itself with
`log` (what was said) and `serving` (the socket), `client` the other side, `starting` how a host begins and ends, and
`listing` those that live. Only the host ever imports a model.
"""

from __future__ import annotations

JOURNAL = "default"
"""The name of the session, and of its journal, where none is named."""
