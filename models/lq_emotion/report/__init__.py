"""What was run, found and not verified, as one HTML page and as Markdown."""
