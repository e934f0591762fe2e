"""Nets of papers, one folder per paper with its recipe and its published figures."""
