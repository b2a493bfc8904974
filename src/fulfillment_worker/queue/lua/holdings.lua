-- What a worker holds: asked when the reply to an exchange was lost.
--
-- Of the orders that it doesn't know, the small ones are sent. The others are given back: their
-- bytes may be what the line could not carry, and another worker may have a better one.
--
-- ARGV     3 the deliveries that it knows of, MessagePack
--          4 ms until what is given back is due, in digits; '0' keeps its place
--          5 what it knows of Redis's clock, MessagePack, as in an exchange
--          6 number of the question, in digits
-- returns  {0, now, all deliveries, {delivery, packed entry, order id ('' where not known), ...} for
--          those that it doesn't know, how many were given back, those of them
--          claimed for the first time}, or {1, now} where the lease has run out, or {2, now} where the
--          question comes so late that the worker has gone on since: nothing was done

local MOST_UNKNOWN = 65536 -- bytes

define('holdings', function(ARGV)
  local delay, number = tonumber(ARGV[4]), tonumber(ARGV[6])

  local books = call('HMGET', BOOKS, 'trips:' .. WORKER, 'clock', 'steps', 'retry_steps')
  local function book(i) return tonumber(books[i] or 0) end

  if book(1) >= REAPED then return {1, NOW} end
  if book(1) >= number then return {2, NOW} end
  local _, judges_at = follow_clock(cmsgpack.unpack(ARGV[5]), book(2), book(3), book(4))
  local may_judge = judges_at == 0
  if may_judge then call('HSET', BOOKS, 'clock', now) end
  local lease = call('ZSCORE', LEASES, WORKER)
  local held = call('HKEYS', IN_FLIGHT)
  -- One that is missing was lost by Redis: what is in flight was given to nobody else.
  local is_over = may_judge and lease and tonumber(lease) < NOW
  if #held > 0 and is_over then return {1, NOW} end

  local given_back, first_claims = 0, 0

  -- Stored before it is removed: should the function end in between, it is there twice.
  local function give_back(delivery)
    if given_back == 0 then
      read_shift()
      limits.load_books()
    end
    local entry = unpack_entry(call('HGET', IN_FLIGHT, delivery))
    local due = delay == 0 and due_since(entry.first_seen) or due_at(NOW + delay)
    local at = delay == 0 and entry.first_seen or NOW + delay
    wait_until(due, whole(at), entry, begun_unheard(entry.raw, delivery), entry.failures + 1)
    call('HDEL', IN_FLIGHT, delivery)
    if limits.set then limits.let_go(WORKER, delivery) end
    given_back = given_back + 1
    if entry.failures == 0 and entry.orphanings == 0 then first_claims = first_claims + 1 end
  end

  local known, deliveries, unknown, bytes = {}, {}, {}, 0
  for _, delivery in ipairs(cmsgpack.unpack(ARGV[3])) do known[tostring(delivery)] = true end
  table.sort(held, function(a, b) return tonumber(a) < tonumber(b) end)
  for _, delivery in ipairs(held) do
    local size = known[delivery] and 0 or call('HSTRLEN', IN_FLIGHT, delivery)
    if bytes + size > MOST_UNKNOWN then
      give_back(delivery)
    else
      bytes = bytes + size
      deliveries[#deliveries + 1] = delivery
      if not known[delivery] then
        local packed = call('HGET', IN_FLIGHT, delivery)
        unknown[#unknown + 1] = delivery
        unknown[#unknown + 1] = packed
        unknown[#unknown + 1] = call('HGET', IDS, string.match(packed, '^%d+')) or ''
      end
    end
  end

  if #deliveries > 0 then
    call('ZADD', LEASES, whole(NOW + policy.lease), WORKER)
  else
    call('ZREM', LEASES, WORKER)
  end
  call('HSET', BOOKS, 'trips:' .. WORKER, ARGV[6])
  return {0, NOW, deliveries, unknown, given_back, first_claims}
end)
