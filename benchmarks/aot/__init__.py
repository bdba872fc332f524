"""The hot programs, compiled for a GPU that is not there: what would run on it, and what would be read and written."""
