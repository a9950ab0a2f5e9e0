"""Budgets a minute and the gateways that share them, on the database."""
