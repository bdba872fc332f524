"""A sweep: many runs as independent jobs, on this machine or on a cluster."""
