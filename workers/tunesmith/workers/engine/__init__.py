"""The engine: vLLM as it is, and the plugin that lets it pull adapters by digest."""
