"""The live command: its screen, its session, and what it does when something is heard."""
