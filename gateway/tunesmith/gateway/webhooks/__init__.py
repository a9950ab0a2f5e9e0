"""Webhooks: a tenant's endpoints, and the task that sends to them."""
