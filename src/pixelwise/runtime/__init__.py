"""What runs the program: processes and signals, the terminal, the device."""
