"""zsaudio in the browser: recordings, live sound, archives and models on a page of this computer.

Gradio is imported here, before a module of this package needs it, and nothing here imports torch: a page can
be used while the models are loaded.
"""

import inspect
import os
from typing import Any
from unittest import mock

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _not_of_gradio(of: Any, getfile: Any = inspect.getfile) -> str:
    """Return the file of an object; none of Gradio's components is found.

    Gradio writes type stubs of its components into its own folder whenever it is imported, which is half of
    the time that the import takes. It leaves out those whose file is not found (6.31:
    ``component_meta.create_or_modify_pyi``).
    """
    if isinstance(of, type) and of.__module__.startswith("gradio."):
        raise OSError
    return str(getfile(of))


with mock.patch("inspect.getfile", _not_of_gradio):
    import gradio  # noqa: F401
