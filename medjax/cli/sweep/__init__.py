"""A sweep: many runs as jobs, done by one process or by several that share a folder."""
