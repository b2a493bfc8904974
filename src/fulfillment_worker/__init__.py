"""fulfillment-worker: takes orders off a Redis list and never loses one."""

from fulfillment_worker.core.handler import Handler
from fulfillment_worker.core.order import Order, Postpone, Reject, Retry

__all__ = ["Handler", "Order", "Postpone", "Reject", "Retry"]
