"""One training run: its net, its folder, its schedule, and resuming it."""
