-- One exchange between a worker and its queue.
--
-- ARGV     3 exchange, MessagePack: the fields of core/exchange.py, Exchange
-- returns  {1, now}  the lease had run out: nothing was done
--          {2, now}  it is not the exchange that comes next: nothing was done
--          {0, now, verdicts, packed entries, first claims, recovered, orphaned,
--           backlog, paused, limited (1 where limits are set, 2 where nothing may be claimed now for
--           them), next due (-1 for none), survey (empty unless asked for),
--           delivery and id, in turn, of claimed orders that have begun,
--           delivery and id, in turn, of claimed orders whose id is known from an earlier attempt,
--           sizes of those that were too large, and are dead letters now,
--           what `wishes.told` tells,
--           now without the steps of Redis's clock}

local OK, LEASE_LOST, STALE = 0, 1, 2
local SILENT_FOR = 3600000 -- ms after which a worker that holds nothing is forgotten
local LOOK_EVERY = 10000 -- ms between two looks for workers whose lease is lost
local WAKE_EVERY = 250 -- ms between two calls for other workers

-- Something is due that this worker has no room for: an idle one may take it.
local function call_others()
  local last = tonumber(call('HGET', BOOKS, 'woke') or 0)
  if math.abs(NOW - last) < WAKE_EVERY then return end
  call('HSET', BOOKS, 'woke', now)
  wake()
end

define('exchange', function(ARGV)
  local exchange = cmsgpack.unpack(ARGV[3])

  local books = call('HMGET', BOOKS, 'received', 'fulfilled', 'duplicates', 'dropped', 'paused',
    'trips:' .. WORKER, 'breaker:' .. WORKER, 'id_fields', 'next_due',
    'clock', 'steps', 'retry_steps', 'events', 'wishes:' .. WORKER, 'limits', 'limit_rate')
  local function book(i) return tonumber(books[i] or 0) end

  if book(6) >= REAPED then return {LEASE_LOST, NOW} end
  if book(6) ~= exchange.number - 1 then return {STALE, NOW} end
  local steps, judges_at = follow_clock(exchange, book(10), book(11), book(12))
  local may_judge = judges_at == 0
  limits.load(books[15], books[16], steps)
  if exchange.holding > 0 and may_judge then
    -- One that is missing was lost by Redis: what is in flight was given to nobody else.
    local lease = call('ZSCORE', LEASES, WORKER)
    if lease and tonumber(lease) < NOW then return {LEASE_LOST, NOW} end
  end
  -- Redis may have come back with an older state, or a reply was lost without the worker's notice.
  if exchange.holding > 0 and call('HLEN', IN_FLIGHT) ~= exchange.holding then
    return {STALE, NOW}
  end
  -- Asked before anything is changed: a key of the wrong type ends the function here.
  local listed = call('LLEN', PUBLIC)

  start_claiming(book(1), exchange.most_bytes)
  local paused = books[5] == '1'

  if books[8] ~= policy.id_field then note_id_field(books[8]) end
  -- Not where the clock may have been stepped, and nobody knows.
  if may_judge then allow_trimming(books[13], steps) end
  wished = books[14] or nil
  if wished then wishes.expect(exchange.fulfilled) end
  forget_ids(exchange.forget)
  fulfil_all(exchange.fulfilled)
  apply_outcomes(exchange.outcomes)
  if limits.set then limits.let_go_of(exchange.fulfilled, exchange.outcomes) end
  local verdicts = begin_all(exchange.begins)
  local told = wished and wishes.told() or {}

  -- One worker's orphans an exchange; the rest of the expired come with the next.
  local leases = call('ZRANGE', LEASES, 0, exchange.survey and -1 or 1, 'WITHSCORES')
  local recovered, orphaned = 0, 0
  for i = 1, #leases, 2 do
    if may_judge and leases[i] ~= WORKER and tonumber(leases[i + 1]) < NOW then
      recovered, orphaned = reap(leases[i])
      break
    end
  end

  local back_at = bring_back()
  local turn_at = limits.set and limits.follow()
  local retry_due, next_due = next_retry(books[9])
  local suspect, empty = exchange.suspects > 0, false
  local room = paused and 0 or exchange.claim
  local claimable = limits.set and limits.room(room) or room
  if claimable > 0 then
    suspect, empty = claim(claimable, exchange.suspects, exchange.first_delivery, retry_due, listed)
    if retry_due then retry_due, next_due = next_retry() end
  elseif room == 0 then
    hand_on()
  end

  local own = 0
  if exchange.holding > 0 or #claimed > 0 then
    own = call('HLEN', IN_FLIGHT)
    if own > 0 then
      renew_lease()
    else
      call('ZREM', LEASES, WORKER)
    end
  end

  local surveyed = {}
  if exchange.survey then
    local received = received_before + booked.received
    local nothing_waits = empty and not next_due and no_suspects
    local looked, noted_head, cancelled = unpack(call('HMGET', BOOKS, 'looked', 'head', 'cancelled'))
    if math.abs(NOW - (looked or 0)) >= LOOK_EVERY then find_lost_leases(leases) end
    local in_flight = sum_in_flight(leases, own)
    local waiting, retrying, scheduled, held, dead, since, head =
      survey(received, nothing_waits, in_flight, noted_head)
    if retry_due then since = math.min(since, next_due) end
    surveyed = {
      waiting, in_flight, retrying, scheduled, held, dead, since,
      received, book(2) + booked.fulfilled, book(3) + booked.duplicates, book(4),
      (cancelled or 0) + (booked.cancelled or 0), head,
      limits.set and limits.use() or {},
    }
    if limits.set then limits.sweep() end
    if call('ZADD', WORKERS, now, WORKER) == 1 then
      for _, silent in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', NOW - SILENT_FOR)) do
        forget(silent)
      end
    end
  end
  if exchange.breaker_open ~= (books[7] == '1') then
    if exchange.breaker_open then
      call('HSET', BOOKS, 'breaker:' .. WORKER, 1)
    else
      call('HDEL', BOOKS, 'breaker:' .. WORKER)
    end
  end
  call('HSET', BOOKS, 'trips:' .. WORKER, whole(exchange.number), 'clock', may_judge and now or books[10])
  if exchange.number == 1 then call('HSET', BOOKS, 'lease:' .. WORKER, whole(policy.lease)) end
  if not next_due and book(12) ~= steps then call('HSET', BOOKS, 'retry_steps', whole(steps)) end
  if exchange.leaving then forget(WORKER) end

  close_books()

  local backlog = retry_due
    or (not empty and call('LLEN', PUBLIC) + call('LLEN', WOKEN) > 0)
    or (not suspect and not no_suspects and call('LLEN', SUSPECTS) > 0)
  local limited = 0
  if limits.set then
    local ended = #exchange.fulfilled / 3 + #exchange.outcomes + recovered
    local has_room = exchange.claim > #claimed + #oversized
    limited, next_due = limits.finish(backlog and not paused, has_room, #claimed - ended, next_due)
    backlog = backlog and limited < 2
    if turn_at and (not next_due or turn_at < next_due) then next_due = turn_at end
  end
  if retry_due and exchange.claim == 0 and not paused and limited < 2 then call_others() end

  -- The soonest moment at which there is something to do that no new order tells of.
  if back_at and (not next_due or back_at < next_due) then next_due = back_at end
  for i = 1, #leases, 2 do
    local lease = math.max(tonumber(leases[i + 1]), judges_at)
    if leases[i] ~= WORKER and (not next_due or lease < next_due) then next_due = lease + 1 end
  end
  local first_claims = booked.received - #oversized
  return {
    OK, NOW, verdicts, claimed, first_claims, recovered, orphaned,
    backlog and 1 or 0, paused and 1 or 0, limited, next_due or -1, surveyed, begun,
    -- What was parked was received, too, so the numbers don't tell whether all are new.
    (limits.set or #claimed > first_claims) and known_ids(exchange.first_delivery) or {}, oversized, told,
    NOW - steps,
  }
end)
