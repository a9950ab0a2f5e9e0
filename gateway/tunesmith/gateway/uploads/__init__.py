"""Uploads: a large file in parts, put together into a file like any other."""
