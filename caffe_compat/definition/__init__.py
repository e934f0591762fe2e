"""Definitions in their current form: upgraded, filtered by phase, with the fork named and splits inserted."""
