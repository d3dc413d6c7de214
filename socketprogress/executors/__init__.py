"""Where the bodies of task functions run: worker processes, threads, or the server's own loop."""
