"""The process: threads, memory, and closing what is open at its end."""
