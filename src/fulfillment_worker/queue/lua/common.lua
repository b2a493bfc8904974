-- What every script starts with: its keys, its clock and the form of events. Redis makes all of a
-- script's functions anew each time that it runs, so there are few here.
--
-- KEYS    1 public  2 events  3 woken  4 retry  5 suspects  6 leases  7 workers
--         8 dead    9 books   10 arrivals  11 ids
--         12 in_flight of the calling worker
-- ARGV    1 policy, MessagePack: order_prefix, in_flight_prefix, id_field, lease, status_ttl,
--           max_orphanings, max_events (times in ms)
--         2 the calling worker

local PUBLIC, EVENTS, WOKEN, RETRY, SUSPECTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local LEASES, WORKERS, DEAD, BOOKS, ARRIVALS = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local IDS, IN_FLIGHT, WORKER = KEYS[11], KEYS[12], ARGV[2]

local REAPED = 1000000000000000 -- the trip number of a worker whose orders were given to others
local call = redis.call
local policy = cmsgpack.unpack(ARGV[1])

-- A whole number in digits. Redis would make them itself where a number is an argument, but takes
-- thrice as long for it.
local function whole(number)
  return string.format('%d', number)
end

-- Only Redis's clock counts here, so the hosts' clocks may be wrong.
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now = whole(NOW)

-- The first event of a script makes room for all of them: to look for some each time costs more
-- than the event.
local has_trimmed = false

local function emit(order_id, status, attempt)
  if has_trimmed then
    call('XADD', EVENTS, '*', 'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now)
    return
  end
  has_trimmed = true
  call('XADD', EVENTS, 'MAXLEN', '~', whole(policy.max_events), '*',
    'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now)
end
