"""Models: the names that a tenant may use, and what is behind each."""
