-- What every script starts with: its keys, its clock, and the form of entries, orders and events.
--
-- KEYS    1 public  2 events  3 woken  4 retry  5 suspects  6 leases  7 workers
--         8 dead    9 books   10 arrivals  11 in_flight of the calling worker
-- ARGV    1 policy, MessagePack: order_prefix, in_flight_prefix, id_field, lease, status_ttl,
--           max_orphanings, max_events (times in ms)
--         2 the calling worker
--
-- An entry is an order with what it has been through:
--   "<copy> <failures> <orphanings> <first_seen>\n<the producer's bytes>"
-- copy is a number of its own for each entry ever taken off the public list, so that two orders
-- with the same bytes stay two.

local PUBLIC, EVENTS, WOKEN, RETRY, SUSPECTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local LEASES, WORKERS, DEAD, BOOKS, ARRIVALS = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local IN_FLIGHT, WORKER = KEYS[11], ARGV[2]

local REAPED = 1000000000000000 -- the trip number of a worker whose orders were given to others
local MOST_ARGUMENTS = 1000 -- of one command; Lua's stack holds some more
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
local status_ttl, max_events = whole(policy.status_ttl), whole(policy.max_events)

-- How this script changes the counters; written once, by `close_books`.
local booked = {received = 0, fulfilled = 0, duplicates = 0}

local function close_books()
  for name, count in pairs(booked) do
    if count > 0 then call('HINCRBY', BOOKS, name, count) end
  end
end

local function pack_entry(entry)
  return string.format('%d %d %d %d\n', entry.copy, entry.failures, entry.orphanings,
    entry.first_seen) .. entry.raw
end

local function unpack_entry(packed)
  local copy, failures, orphanings, first_seen, start =
    string.match(packed, '^(%d+) (%d+) (%d+) (%d+)\n()')
  return {
    copy = tonumber(copy), failures = tonumber(failures), orphanings = tonumber(orphanings),
    first_seen = tonumber(first_seen), raw = string.sub(packed, start),
  }
end

-- The first event of a script makes room for all of them: to look for some each time costs more
-- than the event.
local has_trimmed = false

local function emit(order_id, status, attempt)
  if has_trimmed then
    call('XADD', EVENTS, '*', 'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now)
    return
  end
  has_trimmed = true
  call('XADD', EVENTS, 'MAXLEN', '~', max_events, '*',
    'order_id', order_id, 'status', status, 'attempt', attempt, 'at', now)
end

-- An order that outlived two workers, or is on its last chance, runs with no other such order in its
-- worker, so that the one which kills workers is found out before the innocent ones beside it are
-- used up.
local function on_last_chance(entry)
  return entry.orphanings > 0 and entry.orphanings >= math.min(2, policy.max_orphanings - 1)
end

-- Bury an entry: it stays until an operator decides. Its number is its id among the dead.
local function bury(entry, order_id, reason, err, worker)
  local number = call('HINCRBY', BOOKS, 'buried', 1)
  local header = cjson.encode({
    order_id = order_id, reason = reason, error = err, at = NOW, worker = worker,
    failures = entry.failures, orphanings = entry.orphanings, first_seen = entry.first_seen,
    copy = entry.copy,
  })
  call('HSET', DEAD, number, header .. '\n' .. entry.raw)
  emit(order_id, 'dead', entry.failures)
end

local function mark_dead(order_id, err)
  local key = policy.order_prefix .. order_id
  call('HSET', key, 'status', 'dead', 'error', err, 'finished_at', now)
  call('HDEL', key, 'next_attempt_at')
  call('PEXPIRE', key, status_ttl)
end
