"""The robot's side: which video to send over a link of so many bits a second, and what to expect of it."""
