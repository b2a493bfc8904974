-- What all functions of the library share: the queue's keys, Redis's clock and the form of events.
--
-- Redis makes the functions of a library once, when it is loaded. What one run needs is in the
-- locals that `start_run` sets; whatever an earlier run left in them is of no use.
--
-- KEYS    1 public  2 events  3 woken  4 retry  5 suspects  6 leases  7 workers
--         8 dead    9 books   10 arrivals  11 ids
--         12 in_flight of the calling worker
-- ARGV    1 policy, MessagePack: order_prefix, in_flight_prefix, id_field, lease, status_ttl,
--           max_orphanings, events_ttl, max_age (times in ms; max_age 0 for none), not_before_field
--           and expires_field ('' for none), wake (the name of a channel), and the names of the keys
--           scheduled, set_aside and held, and of those of limits.lua
--         2 the calling worker
--         The functions say what follows.

local REAPED = 1000000000000000 -- the exchange number of a worker whose orders were given to others

local PUBLIC, EVENTS, WOKEN, RETRY, SUSPECTS, LEASES, WORKERS, DEAD, BOOKS, ARRIVALS, IDS, IN_FLIGHT
local WORKER
local call -- redis.call, which a library can't reach while it is loaded
-- The policy, as it was sent and as it reads: nearly always that of the run before.
local packed_policy, policy, status_ttl
-- Only Redis's clock counts here, so the hosts' clocks may be wrong.
local NOW, now
-- Whether the first event of this run trims: to trim each time costs more than the event. What, is
-- told by events.lua.
local may_trim, generation, find_floor, note_first_event
-- How this run changes the counters; written once, by `close_books`.
local booked
-- The calling worker's wished deliveries, nil for none as nearly always; see withdrawn.lua.
local wished
-- When a worker last called this library; see idle.lua.
local used_at

-- A whole number in digits. Redis would make them itself where a number is an argument, but takes
-- thrice as long for it.
local function whole(number)
  return string.format('%d', number)
end

local function start_run(keys, args)
  call = redis.call
  PUBLIC, EVENTS, WOKEN, RETRY, SUSPECTS = keys[1], keys[2], keys[3], keys[4], keys[5]
  LEASES, WORKERS, DEAD, BOOKS, ARRIVALS = keys[6], keys[7], keys[8], keys[9], keys[10]
  IDS, IN_FLIGHT, WORKER = keys[11], keys[12], args[2]
  if args[1] ~= packed_policy then
    packed_policy, policy = args[1], cmsgpack.unpack(args[1])
    status_ttl = whole(policy.status_ttl)
  end
  local clock = call('TIME')
  NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
  now, used_at = whole(NOW), NOW
  may_trim, generation, wished = false, nil, nil
  booked = {received = 0, fulfilled = 0, duplicates = 0}
end

-- Tells idle workers that there may be something to do which no new order tells of. A user who may
-- not publish does without: they find it when they look by themselves.
local function wake()
  redis.pcall('PUBLISH', policy.wake, '')
end

-- Registers a function. Its name ends in the library's version, so that workers of two versions can
-- serve one queue. body: called with ARGV. flags: see redis.io, "Script flags".
local function define(name, body, flags)
  redis.register_function({
    function_name = name .. '_' .. VERSION,
    callback = function(keys, args)
      start_run(keys, args)
      return body(args)
    end,
    flags = flags or {},
  })
end

-- Registers a function that only reads, and has keys and arguments of its own. It runs where Redis is
-- full, too.
local function define_reading(name, body)
  redis.register_function({
    function_name = name .. '_' .. VERSION, callback = body, flags = {'no-writes'},
  })
end

-- text: the field `reason` of the event, or another one that is named. why: the reason beside that.
local function emit(order_id, status, attempt, text, field, why)
  local id
  local floor = may_trim and find_floor()
  if why and why ~= '' then
    id = call('XADD', EVENTS, 'MINID', '~', floor or '0', '*',
      'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now, field, text, 'reason', why)
  elseif text then
    id = call('XADD', EVENTS, 'MINID', '~', floor or '0', '*',
      'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now, field or 'reason', text)
  elseif floor then
    id = call('XADD', EVENTS, 'MINID', '~', floor, '*',
      'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now)
  else
    call('XADD', EVENTS, '*', 'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now)
    return
  end
  if floor then
    may_trim = false
    note_first_event(id, floor)
  end
end
