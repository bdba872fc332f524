"""What a command does, callable without flags or console: `run`, `evaluate_saved`, `prepare`."""
