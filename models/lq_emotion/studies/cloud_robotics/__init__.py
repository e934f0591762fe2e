"""Facial Expression Recognition for Cloud Robotics (Maclean 2021)."""
