"""Evaluations: two models on the same examples, with a verdict."""
