"""A sound card of software: what is played into it is what its microphone hears.

A PulseAudio server of its own, apart from any that the machine runs, with a null sink whose monitor is the
microphone. Programs reach it through ALSA's ``pulse`` plugin, as PortAudio does on Linux.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import dataclass
from glob import glob
from pathlib import Path

_CONFIG = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"


@dataclass
class NullSink:
    """The server's process, and the environment in which programs find it."""

    server: subprocess.Popen[bytes]
    env: dict[str, str]

    def play(self, path: Path) -> "subprocess.Popen[bytes]":
        """Start to play a file into the sink."""
        return subprocess.Popen(["paplay", str(path)], env=self.env)

    def unplug(self) -> None:
        """Take the device away."""
        self.server.kill()
        self.server.wait()


def missing() -> list[str]:
    """Return what this machine lacks to run a null sink; nothing where it can."""
    lacks = [name for name in ("pulseaudio", "paplay", "pactl") if shutil.which(name) is None]
    if find_library("portaudio") is None:
        lacks.append("libportaudio2")
    if not any(glob(f"/usr/lib*/{where}alsa-lib/libasound_module_pcm_pulse.so") for where in ("", "*/")):
        lacks.append("libasound2-plugins")
    return lacks


@contextmanager
def null_sink(sample_rate: int = 44_100) -> Iterator[NullSink]:
    """Run a server with a null sink."""
    with tempfile.TemporaryDirectory(prefix="zs") as folder:  # short: a socket's path has 107 characters
        (Path(folder) / ".asoundrc").write_text(_CONFIG)
        address = f"unix:{folder}/native"
        env = os.environ | {
            "HOME": folder,
            "XDG_RUNTIME_DIR": folder,
            "PULSE_RUNTIME_PATH": f"{folder}/pulse",
            "PULSE_SERVER": address,
            "PULSE_SINK": "zs",
            "PULSE_SOURCE": "zs.monitor",
        }
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=1"]
        command += ["-L", f"module-native-protocol-unix socket={folder}/native auth-anonymous=1"]
        command += ["-L", f"module-null-sink sink_name=zs rate={sample_rate} channels=2"]
        with open(f"{folder}/log", "wb") as log:
            server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            _wait_until_ready(server, env, Path(folder) / "log")
            yield NullSink(server, env)
        finally:
            server.kill()
            server.wait()


def _wait_until_ready(server: "subprocess.Popen[bytes]", env: dict[str, str], log: Path) -> None:
    for _ in range(100):
        ran = subprocess.run(
            ["pactl", "list", "short", "sources"], env=env, capture_output=True, text=True, check=False
        )
        if "zs.monitor" in ran.stdout:
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"pulseaudio does not start: {log.read_text()}")
