"""The command line: click commands, each importing what it needs only when it runs."""
