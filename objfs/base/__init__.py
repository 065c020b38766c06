"""What every layer may use: types, the error tree, limits, ports and settings. Imports nothing
of objfs and does no I/O of its own."""
