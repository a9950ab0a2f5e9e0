"""The data report: whether examples are good enough to learn from, before anybody trains on them."""
