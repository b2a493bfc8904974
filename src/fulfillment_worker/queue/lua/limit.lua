-- Sets the limits of the queue, all of them at once, or lifts them.
--
-- What is in flight counts from here on: where keys are limited otherwise than before, each order that a
-- worker holds is read for its key.
--
-- ARGV     3 the limits as they were read, '' for none  4 as they are to be (core/limits.py)
--          5 who does it  6 why, '' for no reason  7 what is changed, in words
-- returns  1, or 0 where the limits are others by now: nothing was done

local function hold_all()
  for _, worker in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    local in_flight = policy.in_flight_prefix .. worker
    for _, delivery in ipairs(call('HKEYS', in_flight)) do
      limits.hold(worker, delivery, call('HGET', in_flight, delivery))
    end
  end
end

define('limit', function(ARGV)
  local books = call('HMGET', BOOKS, 'limits', 'limit_rate', 'steps')
  if (books[1] or '') ~= ARGV[3] then return 0 end
  local steps = tonumber(books[3] or 0)
  limits.load(books[1], nil, steps)
  local before = limits.set and limits.set.generation
  limits.load(ARGV[4], books[2], steps)
  local set = limits.set
  if set.generation ~= before then
    call('DEL', policy.key_holders, policy.held_keys, policy.key_rates, policy.key_turns)
    if set.per_key then hold_all() end
  end
  if set.rate or set.in_flight or set.per_key or call('HLEN', policy.parked) > 0 then
    call('HSET', BOOKS, 'limits', ARGV[4])
    limits.keep_starts()
  else
    call('HDEL', BOOKS, 'limits', 'limit_rate', 'swept')
  end
  note_act('limit', ARGV[5], ARGV[6], 'what', ARGV[7])
  wake()
  return 1
end, {'allow-oom'})
