"""A user's own clips: video files and images in a folder, a table with their persons and labels, splits by person."""
