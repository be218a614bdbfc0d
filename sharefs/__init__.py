"""sharefs: My Shared Spaces, folders that a group shares without a server."""

__version__ = "0.1.0"
