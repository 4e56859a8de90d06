"""What a run folder holds: written, read, resumed. Imports torch in `checkpoints` only."""
