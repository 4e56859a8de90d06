"""The environment of a program: processes and signals, the terminal, the device."""
