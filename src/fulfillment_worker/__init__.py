"""fulfillment-worker: takes orders off a Redis list and never loses one."""

from fulfillment_worker.core.order import Order, Reject, Retry

__all__ = ["Order", "Reject", "Retry"]
