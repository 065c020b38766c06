"""Background work and commands, below the command line."""
