"""Tables, figures and pages of results. Reads results and draws them; never trains."""
