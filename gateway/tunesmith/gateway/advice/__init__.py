"""Whether fine-tuning is worth it."""
