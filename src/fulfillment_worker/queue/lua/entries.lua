-- What becomes of entries: how they are packed, counted and buried.
--
-- An entry is an order with what it has been through:
--   "<copy> <failures> <orphanings> <first_seen>\n<the producer's bytes>"
-- copy is a number of its own for each entry ever taken off the public list, so that two orders
-- with the same bytes stay two.

-- From this size on, an order's bytes are not read more often than they must be.
local LARGE = 65536
-- No more is moved in one run than these bytes, so that large orders can't keep Redis or the line
-- busy for long.
local MOST_BYTES = 524288

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

-- The id of an order is known once an attempt has begun. From then on it is kept, by the number of
-- the copy, wherever the entry goes: its bytes may be read otherwise by Redis, or by a worker whose
-- settings are others, and its status would never end. It isn't part of the entry, so that workers of
-- earlier versions can read that.
local function keep_id(entry, order_id)
  if order_id ~= '' then call('HSET', IDS, whole(entry.copy), order_id) end
end

-- Whether an order is a suspect: it outlived two workers, or is on its last chance. Suspects run in
-- groups, and a worker holds one group at a time. A group that outlives its worker is divided, until
-- the order that kills workers is alone, and those beside it have been cleared.
local function on_last_chance(entry)
  return entry.orphanings > 0 and entry.orphanings >= math.min(2, policy.max_orphanings - 1)
end

-- Appends so many suspects to the list, which were pushed to it just now, as groups of `size`. The
-- sizes are in `suspect_groups`, that of the group whose turn is next first. Where one is missing
-- (an earlier version pushes suspects without), the group has one order.
local function add_groups(count, size)
  local sizes = {call('HGET', BOOKS, 'suspect_groups') or nil}
  while count > 0 do
    sizes[#sizes + 1] = whole(math.min(size, count))
    count = count - size
  end
  if #sizes > 0 then call('HSET', BOOKS, 'suspect_groups', table.concat(sizes, ' ')) end
end

-- Bury an entry: it stays until an operator decides. Its number is its id among the dead. silent:
-- where the order's status is another copy's.
local function bury(entry, order_id, reason, err, worker, silent)
  local number = call('HINCRBY', BOOKS, 'buried', 1)
  local header = cjson.encode({
    order_id = order_id, reason = reason, error = err, at = NOW, worker = worker,
    failures = entry.failures, orphanings = entry.orphanings, first_seen = entry.first_seen,
    copy = entry.copy,
  })
  call('HSET', DEAD, number, header .. '\n' .. entry.raw)
  call('HDEL', IDS, whole(entry.copy))
  if not silent then emit(order_id, 'dead', entry.failures, reason) end
end

local function mark_dead(order_id, err, traceback)
  local key = policy.order_prefix .. order_id
  call('HSET', key, 'status', 'dead', 'error', err, 'traceback', traceback or '',
    'finished_at', now)
  call('HDEL', key, 'next_attempt_at')
  call('PEXPIRE', key, status_ttl)
end
