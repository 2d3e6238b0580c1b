"""A classifier as an ONNX file: any number of inputs at once, class names inside, checked against torch."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically
from noisycorrect.support.modules import evaluating, unwrap
from noisycorrect.task import Task

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # torch's exporter needs the first two, the check the third
TOLERANCE = 1e-5
_NONE = torch.empty(0)  # what a task's forward does not look at
INPUT, OUTPUTS = "inputs", ("logits", "probabilities")


def write_onnx(
    model: nn.Module,
    task: Task,
    path: str | os.PathLike[str],
    example: Any,
    *,
    class_names: Sequence[str] | None = None,
    opset: int = 18,
) -> None:
    """Write a model as ONNX: input ``inputs`` (N, ...), outputs ``logits`` and ``probabilities``, N any number.

    The file is run by onnxruntime on the example, on one of its rows and on all of them twice, and compared with torch,
    before it takes its name. Metadata ``class_names`` is a JSON list; it is left out where there are no names.

    Parameters
    ----------
    model : nn.Module
        Takes one tensor; exported in evaluation mode, and comes back in the mode that it was in.
    task : Task
        Says what its output means.
    path : path-like
        The file; its folder must exist. Replaced atomically. Weights lie inside it.
    example : array-like, shape (n, ...)
        Inputs as those of training.
    class_names : sequence of str, optional
        K names.
    opset : int
        ONNX operator set, at least 18.

    Raises
    ------
    InvalidInputError
        If ``onnx``, ``onnxscript`` or ``onnxruntime`` are missing, the example is no batch of numbers, the model cannot
        be exported for any number of inputs, the file says something else than the model (by more than 1e-5 of the
        largest output), or cannot be written.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInputError(
            f"the packages {', '.join(PACKAGES)}",
            got=f"no {' and no '.join(missing)}",
            fix=f"pip install {' '.join(missing)}",
        )
    opset = whole_number("opset", opset, least=18)
    network = _Outputs(unwrap(model), task)
    inputs = _checked_example(example, model)
    with evaluating(network), torch.no_grad():
        content = _exported(network, inputs, opset, class_names)
        _check(network, content, inputs)
    try:
        with replace_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        fix = "free space, or choose another path"
        raise InvalidInputError(f"to write {Path(path)}", got=str(error), fix=fix) from error


class _Outputs(nn.Module):
    """A model's logits and probabilities, as plain tensors."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        batch = Batch(_NONE, inputs, _NONE, Trust(_NONE))
        output = self.task.forward(self.model, batch)
        logits = self.task.logits(output, None) if hasattr(self.task, "logits") else output
        return logits, self.task.probs(output)


def _checked_example(example: Any, model: nn.Module) -> Tensor:
    """Return an example of at least two inputs, where the model is: of one, the exporter would fix the number."""
    array = example if isinstance(example, Tensor) else np.asarray(example)
    if array.ndim < 1 or not len(array) or (isinstance(array, np.ndarray) and array.dtype.kind not in "biuf"):
        raise InvalidInputError(
            "example inputs of numbers, shape (n, ...)",
            got=f"{array.dtype} of shape {tuple(array.shape)}",
            fix="pass some rows of the training inputs",
        )
    inputs = torch.as_tensor(np.array(array) if isinstance(array, np.ndarray) else array)
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    inputs = inputs.to(first.device, first.dtype) if inputs.is_floating_point() else inputs.to(first.device)
    return torch.cat([inputs, inputs]) if len(inputs) < 2 else inputs


def _exported(network: nn.Module, inputs: Tensor, opset: int, class_names: Sequence[str] | None) -> bytes:
    import onnx

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        logger.setLevel(logging.ERROR)  # likewise
        try:
            program: Any = torch.onnx.export(
                network,
                (inputs,),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
        except Exception as error:  # of many classes, some of them the exporter's own
            raise _not_exported(network, error.__cause__ or error) from error
        finally:
            logger.setLevel(level)
    proto = program.model_proto
    if class_names is not None:
        onnx.helper.set_model_props(proto, {"class_names": json.dumps(list(class_names))})
    content: bytes = proto.SerializeToString()
    return content


def _not_exported(network: nn.Module, error: BaseException) -> InvalidInputError:
    model = network.model if isinstance(network, _Outputs) else network
    reason = str(error).strip().splitlines()
    return InvalidInputError(
        "a model that works as ONNX for any number N of inputs",
        got=f"{type(model).__name__}: {reason[0] if reason else type(error).__name__}",
        fix="take one tensor (N, ...) in forward, and let no operation depend on N or on values",
    )


def _check(network: nn.Module, content: bytes, inputs: Tensor) -> None:
    """Raise an InvalidInputError unless the file says what the network says, for several numbers of inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for some in (inputs, inputs[:1], torch.cat([inputs, inputs])):
        try:
            found = session.run(list(OUTPUTS), {INPUT: some.cpu().numpy()})
        except Exception as error:  # onnxruntime's own, of many classes
            raise _not_exported(network, error) from error
        for name, own, wanted in zip(OUTPUTS, found, network(some), strict=True):
            expected = wanted.cpu().numpy()
            scale = max(1.0, float(np.abs(expected).max()))
            apart = float(np.abs(own - expected).max()) if own.shape == expected.shape else np.inf
            if not apart <= TOLERANCE * scale:
                raise InvalidInputError(
                    f"a file whose {name} are the model's to {TOLERANCE:g}",
                    got=f"{apart:.2g} apart, of {len(some)} inputs, in shape {own.shape} for {expected.shape}",
                    fix="try another opset=; nothing was written",
                )
