"""Verify weight files: integrity, architecture, and agreement between engines."""
