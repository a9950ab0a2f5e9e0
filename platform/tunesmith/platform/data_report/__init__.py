"""Whether examples are good enough to learn from, said before anybody trains on them."""
