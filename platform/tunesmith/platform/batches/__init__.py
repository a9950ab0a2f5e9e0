"""Batches: a file of requests, answered into another at low priority within a day."""
