-- How the queue stands: what the gauges show.

local MOST_READABLE = 262144 -- a larger order is not parsed only to learn its age

-- The fields of an order that may say since when it waits, as JSON.
local function read_times(raw)
  local ok, body = pcall(cjson.decode, raw)
  if not ok or type(body) ~= 'table' then return '' end
  local times = {}
  for _, field in ipairs({'enqueued_at', 'created_at'}) do
    local told = body[field]
    local is_short = type(told) == 'number' or type(told) == 'string' and #told <= 64
    if is_short then times[field] = told end
  end
  return cjson.encode(times)
end

local function first_seen_of(packed)
  return tonumber(string.match(packed, '^%d+ %d+ %d+ (%d+)'))
end

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

-- The bytes of the order at the head, which may say since when it waits. Of a large one only this
-- part, and it is read once: it is the order that is received next, and noted under that number.
local function read_head(received, noted)
  local number = whole(received + 1)
  local known, told = string.match(noted or '', '^(%d+) (.*)$')
  if known == number then return told end
  local head = call('LINDEX', WOKEN, -1) or call('LINDEX', PUBLIC, -1)
  if #head <= LARGE then return head end
  told = #head <= MOST_READABLE and read_times(head) or ''
  call('HSET', BOOKS, 'head', number .. ' ' .. told)
  return told
end

-- waiting, retrying, scheduled, held, dead, since, head (what `read_head` returns, '' for none)
local function survey(received, nothing_waits, in_flight, noted)
  local waiting, retrying, since, head = 0, 0, NOW, ''
  if not nothing_waits then
    waiting = call('LLEN', PUBLIC) + call('LLEN', WOKEN)
    retrying = call('ZCARD', RETRY) + call('LLEN', SUSPECTS)
    if waiting > 0 then
      since = waiting_since(received, waiting)
      head = read_head(received, noted)
    end
    local suspect = call('LINDEX', SUSPECTS, -1)
    if suspect then since = math.min(since, first_seen_of(suspect)) end
  end
  if limits.set then retrying = retrying + call('HLEN', policy.parked) end
  local scheduled, held = call('ZCARD', policy.scheduled), call('HLEN', policy.held)
  -- All that was noted has gone, however it went.
  if waiting == 0 then
    call('DEL', ARRIVALS)
    if retrying + scheduled + held + in_flight == 0 then call('DEL', IDS) end
  end
  return waiting, retrying, scheduled, held, call('HLEN', DEAD), since, head
end
