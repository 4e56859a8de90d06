"""Lightning loggers."""
