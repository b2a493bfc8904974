-- Redis's clock may be stepped, by NTP or by a fail-over to a host whose clock differs. A step costs
-- nobody a lease, and no retry waits for longer.
--
-- How a step is told from time that has passed: each exchange says how long ago, by its worker's
-- monotonic clock, that worker was last answered, and what Redis's clock showed then.
--   Back:    less has passed by Redis's clock than by the worker's. Or the clock shows less than in
--            the last exchange of anybody.
--   Forward: more has passed by Redis's clock. The exchange may just have been under way for long, so
--            no more than the time since the last exchange of anybody counts: while others are
--            answered, a late exchange is a late exchange. If nobody was answered meanwhile, it was a step,
--            or Redis stood still, and neither is the fault of who holds a lease.
-- A worker that has not been answered before knows nothing. Where nobody was for a while, it judges
-- no lease until it has been there for the longest of them: whoever holds orders has made an exchange by
-- then, or has truly lost its lease. A worker that was there before, and knows, may judge meanwhile.
--
-- Then leases end later by all that may have been a step (or earlier), but none later than a whole
-- term from now: what goes wrong here delays the recovery of orders, and never takes any from a
-- worker that lives. The times in RETRY stay as they are, however many: they are read with `shift`.
-- Times that are shown to people are Redis's own.

local UNNOTICED = 1000 -- ms; leases outlast steps below this, since they are renewed in good time

-- How far the times in RETRY lag behind Redis's clock.
local shift = 0

local function read_shift()
  local steps = call('HMGET', BOOKS, 'steps', 'retry_steps')
  shift = tonumber(steps[1] or 0) - tonumber(steps[2] or 0)
end

-- A time in digits as RETRY has it; what is due already keeps its place, but is due.
local function due_at(time)
  return whole(time - shift)
end

local function due_since(time)
  return whole(math.min(time, NOW - shift))
end

-- ms; a worker of an earlier version doesn't say.
local function lease_of(worker)
  return tonumber(call('HGET', BOOKS, 'lease:' .. worker) or policy.lease)
end

-- later: ms; 0 for those that only must not last too long.
local function shift_leases(later)
  local leases = call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
  for i = 1, #leases, 2 do
    local most = NOW + lease_of(leases[i])
    call('ZADD', LEASES, whole(math.min(tonumber(leases[i + 1]) + later, most)), leases[i])
  end
end

-- Whether a worker that has been there for so long has outlasted all leases of the time before.
local function has_outlasted(ms)
  if ms < policy.lease then return false end
  for _, worker in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    if ms < lease_of(worker) then return false end
  end
  return true
end

local function shift_times_of_others(step)
  local heard = call('ZRANGE', WORKERS, 0, -1, 'WITHSCORES')
  for i = 1, #heard, 2 do call('ZADD', WORKERS, whole(tonumber(heard[i + 1]) + step), heard[i]) end
  local notes = call('ZRANGE', ARRIVALS, 0, -1, 'WITHSCORES')
  call('DEL', ARRIVALS)
  for i = 1, #notes, 2 do
    call('ZADD', ARRIVALS, notes[i + 1], whole(tonumber(notes[i]) + step))
  end
end

-- The step in ms, 0 for none; nil where it can't be known. And by how much leases end later, since it
-- may have been larger. gap: since the last exchange of anybody.
local function find_step(exchange, steps, gap)
  local since = exchange.heard > 0 and NOW - steps - exchange.heard
  local back = since and since - exchange.since_heard
  -- What has truly passed since the last exchange of anybody is no more than since the worker's own,
  -- unless that was none that could judge.
  local most = since and exchange.heard + steps > NOW - gap and math.huge or exchange.since_heard + UNNOTICED
  if back and back < -UNNOTICED and gap - back <= most and gap - back >= -UNNOTICED then
    return back, 0
  end
  if gap < -UNNOTICED then return gap, 0 end
  if gap <= UNNOTICED then return 0, 0 end
  if not since then return nil, 0 end
  local ahead = math.min(gap, since - exchange.since_sent)
  if ahead > UNNOTICED then return ahead, gap end
  -- What was before its first answer, only those know who were there.
  if since < gap and not has_outlasted(exchange.known_for) then return nil, 0 end
  -- Its last exchange may have been under way for long before Redis took it up.
  return 0, since >= gap and back > UNNOTICED and math.min(gap, back) or 0
end

-- last: the time of the last exchange of anybody (0 for none). steps: their sum so far. retry_steps: what
-- it was when RETRY was last empty. Returns the sum, and when leases can be judged: 0 for now.
local function follow_clock(exchange, last, steps, retry_steps)
  local step, later = 0, 0
  if last > 0 then step, later = find_step(exchange, steps, NOW - last) end
  if step and (step ~= 0 or later > 0) then shift_leases(later) end
  if step and step ~= 0 then
    shift_times_of_others(step)
    steps = steps + step
    call('HSET', BOOKS, 'steps', whole(steps))
    follow_step(math.max(step, later), last)
  end
  shift = steps - retry_steps
  return steps, step and 0 or NOW + math.max(UNNOTICED, policy.lease - exchange.known_for)
end
