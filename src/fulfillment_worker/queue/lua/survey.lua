-- How the queue stands: what the gauges show.

-- Since when the order at the head of the public list has been there at least. Orders needn't
-- carry a time: each survey notes how many orders had ever arrived by now, and the head's number
-- is one above those received, so the first note that reaches it tells when it was there.
local function waiting_since(received, waiting)
  call('ZREMRANGEBYSCORE', ARRIVALS, '-inf', received)
  -- More than ever arrived by now: orders have vanished from the list, by another consumer's or
  -- by an operator's hand. What is left was there when the first of these notes was made.
  local beyond = '(' .. received + waiting
  local vanished = call('ZRANGEBYSCORE', ARRIVALS, beyond, '+inf', 'LIMIT', 0, 1)[1]
  if vanished then
    call('ZREMRANGEBYSCORE', ARRIVALS, beyond, '+inf')
    call('ZADD', ARRIVALS, received + waiting, vanished)
  end
  local first = tonumber(call('ZRANGE', ARRIVALS, 0, 0)[1])
  local last = tonumber(call('ZREVRANGE', ARRIVALS, 0, 0)[1])
  -- Notes get sparser the longer the head waits, so that a backlog of days costs no memory.
  if not last or NOW - last >= math.max(1000, (NOW - first) / 500) then
    call('ZADD', ARRIVALS, received + waiting, now)
  end
  return first or NOW
end

local function sum_in_flight(leases, own)
  local sum = own
  for i = 1, #leases, 2 do
    if leases[i] ~= WORKER then
      sum = sum + call('HLEN', policy.in_flight_prefix .. leases[i])
    end
  end
  return sum
end

-- waiting, retrying, dead, since, head (the bytes of the order at the head, '' for none)
local function survey(received, nothing_waits, in_flight)
  local waiting, retrying, since, head = 0, 0, NOW, ''
  if not nothing_waits then
    waiting = call('LLEN', PUBLIC) + call('LLEN', WOKEN)
    retrying = call('ZCARD', RETRY) + call('LLEN', SUSPECTS)
    if waiting > 0 then
      since = waiting_since(received, waiting)
      head = call('LINDEX', WOKEN, -1) or call('LINDEX', PUBLIC, -1)
    end
    local suspect = call('LINDEX', SUSPECTS, -1)
    if suspect then since = math.min(since, unpack_entry(suspect).first_seen) end
  end
  -- All that was noted has gone, however it went.
  if waiting == 0 then
    call('DEL', ARRIVALS)
    if retrying + in_flight == 0 then call('DEL', IDS) end
  end
  return waiting, retrying, call('HLEN', DEAD), since, head
end
