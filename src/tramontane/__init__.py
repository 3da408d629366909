"""Tramontane: train, serve, sell and document language models of the Mistral family."""

__version__ = "0.1.0"
