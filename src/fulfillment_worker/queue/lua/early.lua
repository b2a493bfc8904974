-- Beginning an order in the exchange that claims it, which saves a way to Redis and back.
--
-- Only what Redis and the worker can't read in two ways is begun like that: small, in printable
-- ASCII without escapes, without a status or a wish, without a time of its own. Everything else asks to begin.

local MOST_PLAIN = 8192
local YEAR_2000, YEAR_10000 = 946684800, 253402300800

local function is_plain(raw)
  return #raw <= MOST_PLAIN and not string.find(raw, '[^ -~]') and not string.find(raw, '\\', 1, true)
end

-- Unix milliseconds of a date in the proleptic Gregorian calendar, which starts its years in March
-- here (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
local function to_ms(year, month, day, hour, minute, second)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local year_of_era = year - era * 400
  local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local day_of_era = year_of_era * 365 + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100) + day_of_year
  local days = era * 146097 + day_of_era - 719468
  return math.floor((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + 0.5)
end

-- When the order says that it was enqueued, in ms: 0 where it says nothing, and nil where only the
-- worker can tell what it says.
local function told_time(body)
  local told = body.enqueued_at or body.created_at
  if told == nil then return 0 end
  if type(told) == 'number' and told >= YEAR_2000 and told < YEAR_10000 then
    return math.floor(told * 1000 + 0.5)
  end
  if type(told) ~= 'string' then return nil end
  local year, month, day, hour, minute, second =
    string.match(told, '^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d%.?%d*)Z$')
  if not year then return nil end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  local is_common = year >= 2000 and month >= 1 and month <= 12 and day >= 1 and day <= 28
  if not is_common or hour > 23 or minute > 59 or second >= 60 then return nil end
  return to_ms(year, month, day, hour, minute, second)
end

-- Whether the order may have this field, which only the worker reads. field: '' for none.
local function may_name(raw, field)
  return field ~= '' and string.find(raw, '"' .. field .. '"', 1, true) ~= nil
end

-- Whether the id in the body is this text beyond doubt: Lua rounds whole numbers from 2^53 on, and
-- -0 is 0 to the worker.
local function is_exact(id, order_id)
  return type(id) == 'string' or (math.abs(id) < 2^53 and order_id == whole(id))
end

-- Begins an order that was never claimed before. Returns its id, or '' where it must ask.
local function begin_unread(raw, delivery)
  if not is_plain(raw) or may_name(raw, policy.not_before_field) or may_name(raw, policy.expires_field)
  then return '' end
  local order_id, body = read_order_id(raw)
  local queued_at = order_id ~= '' and #order_id <= 128 and told_time(body)
  if not queued_at or not is_exact(body[policy.id_field], order_id) then return '' end
  local key = policy.order_prefix .. order_id
  -- A status, or what an operator wishes.
  if call('HLEN', key) > 0 then return '' end
  if limits.set and not limits.start(delivery) then return '' end
  start(key, delivery, order_id, '1', whole(queued_at))
  return order_id
end

-- The id of an order that began like that, where its worker doesn't know: the reply was lost. '' where
-- this delivery has not begun.
local function begun_unheard(raw, delivery)
  local order_id = #raw <= MOST_PLAIN and read_order_id(raw) or ''
  if order_id == '' then return '' end
  local was = call('HMGET', policy.order_prefix .. order_id, 'status', 'worker', 'delivery')
  local is_own = was[1] == 'processing' and was[2] == WORKER and was[3] == delivery
  return is_own and order_id or ''
end
