"""Live listening: the session, clips of events, and commands; results go to a view, messages to the log."""
