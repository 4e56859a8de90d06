"""From words of the shell to a composed, checked config. Hydra is used here; torch is never imported."""
