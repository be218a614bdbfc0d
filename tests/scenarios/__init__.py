"""Whole nodes: real processes, mounts and sockets."""
