"""Drawing blocks (`sessions.views.blocks`) in a terminal. Nothing in here knows a result."""
