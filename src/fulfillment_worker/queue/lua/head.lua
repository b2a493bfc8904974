-- The bytes of the order at the head, for its age: nil where none waits, '' for a large one.
--
-- KEYS     1 woken  2 public

local head = redis.call('LINDEX', KEYS[1], -1) or redis.call('LINDEX', KEYS[2], -1)
return head and (#head <= 65536 and head or '')
