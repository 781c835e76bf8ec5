"""What a session owns, and the science done with it.

Nothing in here draws on a screen or parses a command line: every room is usable from a notebook.
Data types live in modules that import no torch; the modules that compute import it at the top.
"""
