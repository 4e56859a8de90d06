"""A run's files as figures and HTML pages. Imports neither torch nor Lightning."""
