"""The loop: one LightningModule, training and evaluation as functions, callbacks, loggers."""
