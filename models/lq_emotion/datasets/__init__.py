"""Recordings with labels: AVEC and RECOLA trees, and synthetic ones."""
