"""Reports: the lines of a session or a journal, with their results, as one HTML page."""
