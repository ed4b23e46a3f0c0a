"""Built-in label sets, installed as ``zsaudio.configs``. Data only: one YAML file a set."""
