"""What tenants use, and what their tuned models save."""
