"""The app: panes over a host's session, made of what the host says and of nothing else."""
