"""What verbs do with a session that takes several rooms: each takes the session and plain values, and returns results.

Nothing here reads words of a line, and nothing is drawn. What needs no session is a function of the room it belongs to.
"""
