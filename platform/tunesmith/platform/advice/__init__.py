"""Is it worth it: what fine-tuning costs and saves, and when it is the right tool at all."""
