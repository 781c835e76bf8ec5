"""The panes of the app, one file each: what they show comes from the view alone."""
