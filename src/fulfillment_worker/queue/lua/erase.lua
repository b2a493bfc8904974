-- Removes what was found of an order (a person's right to be forgotten): see admin/eraser.py, which
-- looks for it, since that takes long where there is much. What has moved meanwhile is found by the
-- next look.
--
-- ARGV     3 the order's id  4 who does it  5 why, '' for no reason
--          6 what was found, MessagePack: waiting (entries of the public list and of `woken`),
--            waits (entries of retries, suspects, those set aside and held ones), letters (their
--            numbers), events, acts (ids of entries of the streams),
--            courses (names of paced retries)
-- returns  {1 where a worker holds the order: nothing was done; how many entries and letters went,
--          how many events, how many acts}

define('erase', function(ARGV)
  local order_id, found = ARGV[3], cmsgpack.unpack(ARGV[6])
  local key = policy.order_prefix .. order_id
  local holding = call('HMGET', key, 'status', 'worker', 'delivery')
  if holding[1] == 'processing'
    and call('HEXISTS', policy.in_flight_prefix .. holding[2], holding[3]) == 1 then
    return {1, 0, 0, 0}
  end

  local gone, received = 0, 0
  for _, raw in ipairs(found.waiting) do
    gone = gone + call('LREM', PUBLIC, 0, raw) + call('LREM', WOKEN, 0, raw)
  end
  for _, packed in ipairs(found.waits) do
    local copy = string.match(packed, '^%d+')
    local removed = call('ZREM', RETRY, packed) + call('LREM', SUSPECTS, 0, packed)
    if call('HGET', policy.set_aside, copy) == packed then
      call('ZREM', policy.scheduled, copy)
      removed = removed + call('HDEL', policy.set_aside, copy)
    end
    if call('HGET', policy.held, copy) == packed then
      removed = removed + call('HDEL', policy.held, copy)
    end
    if call('HGET', policy.parked, copy) == packed then
      removed = removed + call('HDEL', policy.parked, copy)
    end
    if removed > 0 then call('HDEL', IDS, copy) end
    received = received + removed
  end
  for _, number in ipairs(found.letters) do received = received + call('HDEL', DEAD, number) end
  -- They were received, and are in no place any more: the books say so.
  if received > 0 then call('HINCRBY', BOOKS, 'dropped', received) end
  call('DEL', key, policy.edited_prefix .. order_id)
  for _, name in ipairs(found.courses) do call('HDEL', policy.courses, name) end
  local events, acts = 0, 0
  for _, id in ipairs(found.events) do events = events + call('XDEL', EVENTS, id) end
  for _, id in ipairs(found.acts) do acts = acts + call('XDEL', policy.audit, id) end
  return {0, gone + received, events, acts}
end)
