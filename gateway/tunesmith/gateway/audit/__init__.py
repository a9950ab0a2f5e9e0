"""The audit log: who acts, and what was done, for the administrator and a tenant's own."""
