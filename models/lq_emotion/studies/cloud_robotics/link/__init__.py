"""The robot's side: which video to send over a link of a given bandwidth, and what to expect of it."""
