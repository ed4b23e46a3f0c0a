"""The bundled recogniser of sounds."""
