"""Fine-tuning jobs, as OpenAI's API has them."""
