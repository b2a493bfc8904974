"""The sample orders that `enqueue --sample` makes: the same that the demo's shop gets."""

from __future__ import annotations

from fulfillment_worker.runtime.demo_orders import sample_orders

__all__ = ["sample_orders"]
