"""Semi-supervised deep generative models of multilingual text in JAX and Flax."""

__version__ = "0.1.0"
