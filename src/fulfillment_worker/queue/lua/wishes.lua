-- What operators wish for an order: to hold it, or to cancel it.
--
-- The order may be anywhere, and needn't have arrived: the wish is a field of its status hash (`wish`,
-- with `wish_by`, `wish_why` and `wish_at`), which the gate of attempts reads anyway (begin.lua). There
-- it takes effect, at the latest. Where the order is in flight, its worker is told (withdrawn.lua).
--
-- HELD (policy.held) has the entries of held orders by the numbers of their copies, and the status hash
-- names these copies (`held`): so an order is found by its id, and no list is searched.

-- A fulfilled or cancelled order is never handled again: a copy of it is a duplicate.
local FINAL = {fulfilled = true, cancelled = true}

local wishes = {obeyed = {}}

-- Takes the entry to where held orders are. A copy of an order that is held already is held with it.
function wishes.hold(key, order_id, attempt, packed)
  local copy, first_seen = string.match(packed, '^(%d+) %d+ %d+ (%d+)')
  local was = call('HMGET', key, 'status', 'held', 'wish_by', 'wish_why', 'queued_at')
  call('HSET', policy.held, copy, packed)
  call('HSET', IDS, copy, order_id)
  call('HSET', key, 'status', 'held', 'held', was[2] and was[2] .. ' ' .. copy or copy,
    'queued_at', was[5] or first_seen)
  if was[1] == 'held' then return end
  call('HSET', key, 'held_at', now, 'by', was[3] or '', 'reason', was[4] or '')
  call('HDEL', key, 'wish', 'wish_by', 'wish_why', 'wish_at', 'next_attempt_at', 'finished_at')
  call('PERSIST', key)
  emit(order_id, 'held', attempt, was[3] or '', 'by', was[4])
end

-- Ends the order. many: of its entries, which are in no place any more. ttl: of its status, ms in digits.
function wishes.cancel(key, order_id, attempt, many, by, why, ttl)
  booked.cancelled = (booked.cancelled or 0) + many
  call('HSET', key, 'status', 'cancelled', 'by', by, 'reason', why, 'finished_at', now)
  call('HDEL', key, 'wish', 'wish_by', 'wish_why', 'wish_at', 'next_attempt_at', 'held_at')
  call('PEXPIRE', key, ttl)
  emit(order_id, 'cancelled', attempt, by, 'by', why)
end

-- Does what is wished for an entry that is about to leave its place. Returns what the order is now.
function wishes.obey(wish, key, order_id, attempt, packed)
  if wish ~= 'cancel' then
    wishes.hold(key, order_id, attempt, packed)
    return 'held'
  end
  local told = call('HMGET', key, 'wish_by', 'wish_why')
  wishes.cancel(key, order_id, attempt, 1, told[1] or '', told[2] or '', status_ttl)
  call('HDEL', IDS, string.match(packed, '^%d+'))
  return 'cancelled'
end
