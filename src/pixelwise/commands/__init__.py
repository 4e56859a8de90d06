"""One module a command: its docstring is its help, and its `main` runs it. Importing one imports no torch."""
