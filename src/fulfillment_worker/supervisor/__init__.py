"""Several worker processes under one supervisor, which owns the metrics port.

supervisor                                  child (a fresh interpreter)
  Fleet        keeps every seat taken             child.py     loads the handler, consumes
  Child        one process, as seen from here <-> Messages     over a socket pair
  ReportStore  what they reported last            Reporter     a thread that reports once a second
"""
