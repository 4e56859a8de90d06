"""One module per command: its docstring is the help text, `main` runs it. Importing it imports no torch."""
