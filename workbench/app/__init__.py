"""The app: panes that show a host's session. What they show comes from the host's messages alone."""
