-- Limits of the fleet: how many attempts may start, and how many may be under way, over all workers of
-- the queue and for each key (a customer, say).
--
-- The limits are `limits` in BOOKS, as core/limits.py writes them, and each exchange reads them with the
-- other books: where there are none, nothing else is done. Who uses up a limit is read from what is in
-- flight, so a slot can't be lost or freed twice:
--   in flight  counted in the hashes of the workers that have a lease.
--   per key    HOLDERS names the deliveries of each key, and each counts as long as it is in flight.
--   rate       the time that the starts have reached (core/limits.py), `limit_rate` in BOOKS; of a key
--              in KEY_RATES, while it is ahead of the clock.
-- Fleet limits hold back claims. What was claimed all the same, and may not start, goes back to RETRY.
--
-- An order that must wait for its key is parked: PARKED has its entry by the copy's number, and
-- PARKED_KEYS, all of one score, "<generation>\0<key>\0<copy>": so the next of a key is found by its
-- name. When a delivery of the key leaves the flight, whatever ends it, the next one goes to RETRY and is
-- due. Where a key waits for its rate, KEY_TURNS has the time at which its next one is due.
--
-- Times are without the steps of Redis's clock (clock.lua), in ms with fractions.

local limits = {}

-- Lua allows 200 locals in a chunk, and the library is one: what follows is this part's own.
do

local UNITS = {s = 1000, m = 60000, h = 3600000}
local MOST_PARKED = 300 -- in one run, and as many brought back
local MOST_SWEPT = 50 -- keys that are looked at in one survey
local LONGEST_KEY = 256 -- bytes

-- The limits as they were kept in the run before, and as they read.
local kept, known

local function read_rate(told, burst)
  if not told then return nil end
  local unit = UNITS[told.per]
  return {interval = unit / told.count, unit = unit, burst = burst}
end

local function read_limits(text)
  local told = cjson.decode(text)
  return {
    rate = read_rate(told.rate, told.burst), in_flight = told.in_flight, per_key = told.per_key,
    at_once = told.at_once, key_rate = read_rate(told.key_rate, told.key_burst),
    generation = string.format('%06d', told.generation or 0),
  }
end

-- Takes up the limits; `limits.set` is nil where there are none. state: `limit_rate`. steps: the sum of
-- the steps of the clock.
function limits.load(text, state, steps)
  limits.set = nil
  if not text then return end
  if text ~= kept then kept, known = text, read_limits(text) end
  limits.set, limits.steady, limits.full = known, NOW - steps, {}
  limits.held, limits.parked, limits.has_started = nil, 0, false
  local reached, window, count, before = string.match(state or '', '^(%S+) (%S+) (%S+) (%S+)$')
  limits.reached = tonumber(reached or 0)
  -- Of a slower rate that was set before, or by a clock that was ahead.
  local rate = known.rate
  if rate and limits.reached > limits.steady + rate.burst * rate.interval then
    limits.reached = limits.steady + rate.burst * rate.interval
    limits.has_started = true
  end
  limits.window, limits.count, limits.before = tonumber(window or 0), tonumber(count or 0), tonumber(before or 0)
end

-- For the functions that have not read the books.
function limits.load_books()
  local books = call('HMGET', BOOKS, 'limits', 'limit_rate', 'steps')
  limits.load(books[1], books[2], tonumber(books[3] or 0))
end

-- --- rates -------------------------------------------------------------------------------------------

-- How far the starts are ahead of the clock.
local function ahead(reached)
  return math.max(reached - limits.steady, 0)
end

local function tokens(reached, rate)
  return math.floor(rate.burst - ahead(reached) / rate.interval + 1e-6)
end

local function after_start(reached, rate)
  return limits.steady + ahead(reached) + rate.interval
end

-- When so many may start: without the steps of the clock.
local function next_start(reached, rate, many)
  return limits.steady + ahead(reached) - (rate.burst - many) * rate.interval
end

-- Starts in the unit that is under way, and in the whole one before.
local function follow_window()
  local unit = limits.set.rate.unit
  local window = math.floor(limits.steady / unit) * unit
  if window == limits.window then return end
  limits.before = window - limits.window == unit and limits.count or 0
  limits.window, limits.count = window, 0
end

local function count_start()
  follow_window()
  limits.count = limits.count + 1
  limits.has_started = true
end

-- Writes down what has started in this run.
function limits.keep_starts()
  if not limits.has_started then return end
  call('HSET', BOOKS, 'limit_rate', string.format('%.3f %d %d %d', limits.reached, limits.window,
    limits.count, limits.before))
end

-- --- the fleet ---------------------------------------------------------------------------------------

-- How many orders are in flight.
function limits.count_held()
  if not limits.held then
    local held = call('HLEN', IN_FLIGHT)
    for _, worker in ipairs(call('ZRANGE', LEASES, 0, -1)) do
      if worker ~= WORKER then held = held + call('HLEN', policy.in_flight_prefix .. worker) end
    end
    limits.held = held
  end
  return limits.held
end

-- How many of so many may be claimed.
function limits.room(wanted)
  local set = limits.set
  limits.held = nil
  if set.rate then wanted = math.min(wanted, tokens(limits.reached, set.rate)) end
  if set.in_flight then wanted = math.min(wanted, set.in_flight - limits.count_held()) end
  return math.max(0, wanted)
end

-- Whether nothing may be claimed now, and when to look again: nil where only an end tells. At high rates
-- that is once for several starts.
local function hold_up()
  local set = limits.set
  limits.held = nil
  if set.in_flight and limits.count_held() >= set.in_flight then return true end
  if not set.rate or tokens(limits.reached, set.rate) > 0 then return false end
  local many = math.max(1, math.floor(set.rate.burst / 4))
  return true, math.ceil(next_start(limits.reached, set.rate, many) - limits.steady + NOW)
end

-- At the end of an exchange. waits: whether orders wait to be claimed. has_room: whether this worker could
-- claim more. grown: by how many the orders in flight are more than before. next_due: of retries. Returns
-- 1, or 2 where nothing may be claimed now, and when the worker is to look.
function limits.finish(waits, has_room, grown, next_due)
  limits.keep_starts()
  if not waits then return 1, next_due end
  local is_held_up, look_at = hold_up()
  if is_held_up then return 2, look_at end
  local most = limits.set.in_flight
  -- There was no room before, so others may not look by themselves, and this worker leaves some.
  if most and not has_room and limits.count_held() - grown >= most then wake() end
  return 1, next_due
end

-- --- keys --------------------------------------------------------------------------------------------

-- The order's key; nil where it has none that is usable.
local function key_in(raw)
  local readable, value = pcall(cjson.decode, raw)
  if not readable then
    -- Half a surrogate pair is legal JSON; Redis's parser refuses it.
    readable, value = pcall(cjson.decode, (string.gsub(raw, '\\u[dD][89a-fA-F]%x%x', '?')))
  end
  if not readable then return nil end
  for name in string.gmatch(limits.set.per_key, '[^.]+') do
    if type(value) ~= 'table' then return nil end
    value = value[name]
  end
  if type(value) == 'string' then
    return value ~= '' and #value <= LONGEST_KEY and not string.find(value, '%c') and value or nil
  end
  if type(value) ~= 'number' or value ~= value or math.abs(value) == math.huge then return nil end
  if value == math.floor(value) and math.abs(value) < 2^53 then return whole(value) end
  return string.format('%.17g', value)
end

local function let_holder_go(key, member, field)
  call('ZREM', policy.key_holders, member)
  call('HDEL', policy.held_keys, field)
  limits.full[key] = nil
end

-- How many deliveries of this key are in flight: asked of the flight itself where it is at its limit.
local function count_holders(key)
  local from, to = '[' .. key .. '\0', '(' .. key .. '\1'
  local many = call('ZLEXCOUNT', policy.key_holders, from, to)
  if many < limits.set.at_once or limits.full[key] then return many end
  limits.store()
  for _, member in ipairs(call('ZRANGEBYLEX', policy.key_holders, from, to)) do
    local worker, delivery = string.match(member, '^[^%z]*%z([^%z]*)%z(%d+)$')
    if call('HEXISTS', policy.in_flight_prefix .. worker, delivery) == 0 then
      let_holder_go(key, member, worker .. ' ' .. delivery)
      many = many - 1
    end
  end
  limits.full[key] = many >= limits.set.at_once
  return many
end

-- As above, before the claimed are in flight; claim.lua knows how.
function limits.store() end

local function reached_by(key)
  return tonumber(call('ZSCORE', policy.key_rates, key) or 0)
end

-- When the key's next one may start by its rate; nil where it may now.
local function waits_for_rate(key)
  local rate = limits.set.key_rate
  if not rate then return nil end
  local reached = reached_by(key)
  if tokens(reached, rate) > 0 then return nil end
  return next_start(reached, rate, 1)
end

local function park(key, copy, packed)
  call('HSET', policy.parked, copy, packed)
  call('ZADD', policy.parked_keys, 0,
    limits.set.generation .. '\0' .. key .. '\0' .. string.format('%016d', copy))
  local order_id = call('HGET', IDS, copy)
  if order_id then call('HSET', policy.order_prefix .. order_id, 'waits_for', key) end
  limits.parked = limits.parked + 1
end

-- Makes the key's next parked order due, if it may start.
local function call_next(key)
  local set = limits.set
  local prefix = set.generation .. '\0' .. key .. '\0'
  local function next_member()
    return call('ZRANGEBYLEX', policy.parked_keys, '[' .. prefix, '(' .. prefix .. ':', 'LIMIT', 0, 1)[1]
  end
  local member = next_member()
  if not member or (set.at_once and count_holders(key) >= set.at_once) then return end
  local at = waits_for_rate(key)
  if at then
    call('ZADD', policy.key_turns, string.format('%.3f', at), key)
    return
  end
  -- One that was erased is passed over.
  while member and limits.bring_back(member, due_at(NOW)) == 0 do member = next_member() end
end

-- Moves a parked order to where those are that are due. due: nil for when it was first seen. Returns its
-- size.
function limits.bring_back(member, due)
  local copy = whole(tonumber(string.sub(member, -16)))
  local packed = call('HGET', policy.parked, copy)
  if packed then
    call('ZADD', RETRY, due or due_since(tonumber(string.match(packed, '^%d+ %d+ %d+ (%d+)'))), packed)
  end
  call('ZREM', policy.parked_keys, member)
  return call('HDEL', policy.parked, copy) == 1 and #packed or 0
end

-- Whether an entry that is about to be claimed must wait for its key, and is parked; and its key, false
-- for none.
function limits.park(copy, packed, raw)
  local set = limits.set
  local key = set.per_key and key_in(raw)
  if not key then return false, false end
  if set.at_once and count_holders(key) >= set.at_once then
    park(key, copy, packed)
    return true
  end
  local at = waits_for_rate(key)
  if at then
    park(key, copy, packed)
    call('ZADD', policy.key_turns, string.format('%.3f', at), key)
  end
  return at ~= nil, key
end

-- Whether so much was parked in this run that the rest is for the next one.
function limits.is_tired()
  return limits.parked >= MOST_PARKED
end

-- A delivery is about to be in flight. key: false for none, nil where it is to be read.
function limits.hold(worker, delivery, packed, key)
  if key == nil then key = key_in(string.match(packed, '\n(.*)')) end
  if not key then return end
  call('ZADD', policy.key_holders, 0, key .. '\0' .. worker .. '\0' .. delivery)
  call('HSET', policy.held_keys, worker .. ' ' .. delivery, key)
end

-- A delivery is in flight no more: the next of its key may start.
function limits.let_go(worker, delivery)
  if not limits.set.per_key then return end
  local field = worker .. ' ' .. delivery
  local key = call('HGET', policy.held_keys, field)
  if not key then return end
  let_holder_go(key, key .. '\0' .. worker .. '\0' .. delivery, field)
  call_next(key)
end

-- --- starts ------------------------------------------------------------------------------------------

-- Counts the start of an attempt where the rates allow it; returns whether they do.
function limits.start(delivery)
  local set = limits.set
  if set.rate and tokens(limits.reached, set.rate) < 1 then return false end
  local key = set.key_rate and call('HGET', policy.held_keys, WORKER .. ' ' .. delivery)
  if key then
    local reached = reached_by(key)
    if tokens(reached, set.key_rate) < 1 then return false end
    call('ZADD', policy.key_rates, string.format('%.3f', after_start(reached, set.key_rate)), key)
    call_next(key)
  end
  if set.rate then
    limits.reached = after_start(limits.reached, set.rate)
    count_start()
  end
  return true
end

-- What has begun, as far as Redis knows, and may not go on, is to be tried again.
local function mark_waiting(order_id, delivery, attempt, copy)
  local key = policy.order_prefix .. order_id
  if call('HGET', key, 'status') ~= 'processing' then return end
  call('HSET', key, 'status', 'retrying', 'next_attempt_at', now)
  call('HSET', IDS, copy, order_id)
  emit(order_id, 'retrying', attempt)
end

-- Whether an order that asks to start may not: it is in flight no more then. delivery, attempt: in digits.
function limits.refuse(delivery, order_id, attempt)
  local set = limits.set
  local packed = call('HGET', IN_FLIGHT, delivery)
  if not packed then return false end
  local copy, first_seen = string.match(packed, '^(%d+) %d+ %d+ (%d+)')
  local key = set.per_key and call('HGET', policy.held_keys, WORKER .. ' ' .. delivery)
  local at = key and waits_for_rate(key)
  if set.in_flight and limits.count_held() > set.in_flight then
    call('ZADD', RETRY, due_since(tonumber(first_seen)), packed)
  elseif key and (at or set.at_once and count_holders(key) > set.at_once) then
    park(key, copy, packed)
    if at then call('ZADD', policy.key_turns, string.format('%.3f', at), key) end
  elseif set.rate and tokens(limits.reached, set.rate) < 1 then
    local due = math.ceil(next_start(limits.reached, set.rate, 1) - limits.steady + NOW)
    call('ZADD', RETRY, due_at(due), packed)
  else
    return not limits.start(delivery)
  end
  mark_waiting(order_id, delivery, attempt, copy)
  call('HDEL', IN_FLIGHT, delivery)
  if limits.held then limits.held = limits.held - 1 end
  limits.let_go(WORKER, delivery)
  return true
end

-- --- what an exchange does beside --------------------------------------------------------------------

-- What an exchange ended is in flight no more.
function limits.let_go_of(fulfilled, outcomes)
  if not limits.set.per_key then return end
  for i = 1, #fulfilled, 3 do limits.let_go(WORKER, fulfilled[i]) end
  for _, fields in ipairs(outcomes) do limits.let_go(WORKER, whole(fields[2])) end
end

-- Brings back what was parked for keys that are limited otherwise by now.
local function bring_back_former()
  local members = call('ZRANGEBYLEX', policy.parked_keys, '-', '(' .. limits.set.generation, 'LIMIT', 0,
    MOST_PARKED)
  local moved = 0
  for _, member in ipairs(members) do
    if moved >= MOST_BYTES then return end
    moved = moved + limits.bring_back(member)
  end
  local set = limits.set
  if #members == 0 and not (set.rate or set.in_flight or set.per_key) then
    call('HDEL', BOOKS, 'limits', 'limit_rate', 'swept')
    limits.set = nil
  end
end

-- Makes due what waited for the rate of its key. Returns when the next one is, nil for none.
function limits.follow()
  if limits.set.generation ~= '000000' then bring_back_former() end
  local set = limits.set
  if not (set and set.key_rate) then return nil end
  call('ZREMRANGEBYSCORE', policy.key_rates, '-inf', string.format('%.3f', limits.steady))
  for _ = 1, MOST_PARKED do
    local turn = call('ZRANGE', policy.key_turns, 0, 0, 'WITHSCORES')
    if not turn[1] then return nil end
    local at = tonumber(turn[2])
    if at > limits.steady then return math.ceil(at - limits.steady + NOW) end
    call('ZREM', policy.key_turns, turn[1])
    call_next(turn[1])
  end
  return NOW
end

-- A safety net: a few keys after the other, whether anybody is there for whom their orders wait.
function limits.sweep()
  local set = limits.set
  if not set.per_key then return end
  local from = call('HGET', BOOKS, 'swept') or '-'
  for _ = 1, MOST_SWEPT do
    local member = call('ZRANGEBYLEX', policy.parked_keys, from, '+', 'LIMIT', 0, 1)[1]
    if not member then
      call('HDEL', BOOKS, 'swept')
      return
    end
    local generation, key = string.match(member, '^(%d+)%z([^%z]*)%z')
    if generation == set.generation then call_next(key) end
    from = '(' .. generation .. '\0' .. key .. '\1'
  end
  call('HSET', BOOKS, 'swept', from)
end

-- The limits, and how much is used: starts in the last unit, deliveries with a key, and orders that wait for theirs.
function limits.use()
  local set, started = limits.set, 0
  if set.rate then
    follow_window()
    local share = 1 - (limits.steady - limits.window) / set.rate.unit
    started = math.floor(limits.count + limits.before * share + 0.5)
  end
  local keyed = set.per_key and call('ZCARD', policy.key_holders) or 0
  return {kept, started, keyed, call('HLEN', policy.parked)}
end

end
