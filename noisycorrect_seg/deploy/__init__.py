"""Networks in other programs' hands: ONNX files that parse photos, and the same with 8-bit whole numbers."""

from noisycorrect_seg.deploy.quantize import Quantized, quantize_onnx
from noisycorrect_seg.deploy.runtime import OnnxNetwork

__all__ = ["OnnxNetwork", "Quantized", "quantize_onnx"]
