"""The depthwise causal convolution over time and its backends."""
