"""Nets whose weights are published: what is known about each, how their weights are recognised, fetched and loaded."""
