"""The process: threads, memory, and resources that are closed at exit."""
