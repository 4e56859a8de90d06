"""From the command line to a composed and checked config, with Hydra. Never imports torch."""
