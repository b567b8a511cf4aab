"""Results out: frames."""
