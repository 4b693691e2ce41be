"""The only importer of onnxruntime: wheels, device choice, sessions, and its errors in our words."""

from __future__ import annotations

from animegen.runtime.devices import DEVICES, CudaOptions, Device
from animegen.runtime.session import Session, Tensor

__all__ = ["DEVICES", "CudaOptions", "Device", "Session", "Tensor"]
