"""Many runs: the jobs of a table, worked through by one process or by several that share a folder."""
