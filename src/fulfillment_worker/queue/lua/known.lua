-- Whether a queue was ever used: orders wait on it, a worker has served it, or it is paused.
--
-- KEYS     1 public  2 books
-- returns  1 or 0

define_reading('known', function(KEYS)
  -- A key of another type is not an order, but something is there.
  local waiting = redis.pcall('LLEN', KEYS[1])
  if type(waiting) ~= 'number' or waiting > 0 then return 1 end
  return redis.call('HLEN', KEYS[2]) > 0 and 1 or 0
end)
