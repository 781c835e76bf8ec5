"""Reads the files of earlier projects. No other room imports this one."""
