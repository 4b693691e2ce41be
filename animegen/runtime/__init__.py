"""The only importer of onnxruntime: wheels, device choice, sessions, and its errors in our words.

The table of devices is at hand without numpy or onnxruntime; those are imported with the first session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from animegen.runtime.devices import DEVICES, CudaOptions, Device

if TYPE_CHECKING:
    from animegen.runtime.session import Session, Tensor

__all__ = ["DEVICES", "CudaOptions", "Device", "Session", "Tensor"]


def __getattr__(name: str) -> Any:
    if name in {"Session", "Tensor"}:
        from animegen.runtime import session

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
