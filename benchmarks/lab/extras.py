"""Packages that only some installations have: which extra brings them."""

from __future__ import annotations

import importlib

from noisycorrect.support.errors import NoisyCorrectError

EXTRAS = {
    "matplotlib": "plot",
    "PIL": "seg",
    "cleanlab": "dev",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    "safetensors": "safetensors",
}
NAMES = {"PIL": "pillow"}


def require(*modules: str) -> None:
    """Raise an error that says what to install, unless these packages are there.

    Raises
    ------
    NoisyCorrectError
        If one is missing.

    Examples
    --------
    >>> require("matplotlib", "PIL")
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            fix = f"pip install 'noisycorrect[{EXTRAS[module]}]'"
            raise NoisyCorrectError(f"the package {NAMES.get(module, module)}", got="none", fix=fix) from error
