"""LayerNorm and RMSNorm over all features of the residual stream, and their backends."""
