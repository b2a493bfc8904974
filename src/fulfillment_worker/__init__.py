"""fulfillment-worker: takes orders off a Redis list and never loses one."""

from fulfillment_worker.core.order import Order, Postpone, Reject, Retry

__all__ = ["Order", "Postpone", "Reject", "Retry"]
