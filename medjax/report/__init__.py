"""Tables, figures and galleries of a run's results. Reads values and draws them; never trains."""
