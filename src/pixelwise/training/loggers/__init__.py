"""Where logged numbers go."""
