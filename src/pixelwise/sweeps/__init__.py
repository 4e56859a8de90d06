"""Many runs: sweeps, searches, comparisons. Importing it imports no torch."""
