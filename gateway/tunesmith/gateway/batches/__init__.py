"""Batches: their routes, and the runner that answers their requests in the background."""
