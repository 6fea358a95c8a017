"""LayerNorm of every head with the output gate behind it, and its backends."""
