"""Evaluations: two models on the same examples, asked for by jobs and by tenants."""
