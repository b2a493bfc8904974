"""What operators ask of a queue and do to it. No worker uses any of it.

`rules` is the pure part: what `doctor` finds, how dead letters are grouped and chosen, why an order
waits. The rest asks Redis.
"""
