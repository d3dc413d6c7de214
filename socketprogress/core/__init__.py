"""The progress model: states, transitions and ports; no I/O and no clock of its own."""
