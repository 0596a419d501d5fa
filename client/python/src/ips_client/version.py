"""The version, where everything may read it at no cost."""

__version__ = "1.0.0"
