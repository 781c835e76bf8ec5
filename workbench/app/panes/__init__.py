"""The panes of the app, one file each: each shows a part of the session view."""
