"""The depthwise convolution over a grid of two dimensions and its backends."""
