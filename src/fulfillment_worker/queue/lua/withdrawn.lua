-- Orders in flight that operators wish to hold or to cancel.
--
-- `wishes:<worker>` in BOOKS names them, a line for each: "<delivery> <order id>". The worker's
-- exchanges read it with the other books, and tell which attempts are to be stopped, until these have
-- ended: so a lost reply costs nothing. Whatever a named attempt ends as, but as a success, the wish
-- takes effect in the same step. `wished`, in common.lua, is what the calling worker's says.

-- For an order that was fulfilled first: the wish came too late.
function wishes.forget(order_id)
  call('HDEL', policy.order_prefix .. order_id, 'wish', 'wish_by', 'wish_why', 'wish_at')
end

-- Before the outcomes of an exchange.
function wishes.expect(fulfilled)
  wishes.obeyed = {}
  for i = 2, #fulfilled, 3 do wishes.forget(fulfilled[i]) end
end

-- Whether a wish took effect in place of this outcome. A dead letter is not held: it waits anyway.
function wishes.overtake(kind, delivery, order_id, attempt, err, _, traceback)
  if order_id == '' then return false end
  if kind == 'fulfilled' then wishes.forget(order_id) end
  local key = policy.order_prefix .. order_id
  local wish = call('HGET', key, 'wish')
  if not wish or (kind == 'dead' and wish ~= 'cancel') then return false end
  if is_of_another(key, delivery) then return false end
  local entry = entry_of(delivery)
  if not entry then return true end
  if kind == 'retried' or kind == 'dead' then
    remember_failure(key, attempt, err)
    call('HSET', key, 'error', err, 'traceback', traceback or '')
    entry.failures = attempt
  end
  local obeyed = wishes.obeyed
  obeyed[#obeyed + 1] = whole(delivery)
  obeyed[#obeyed + 1] = wishes.obey(wish, key, order_id, attempt, pack_entry(entry))
  call('HDEL', IN_FLIGHT, delivery)
  return true
end

-- An attempt that was stopped for an operator. Where the wish was taken back since, the order goes on.
function outcome.withdrawn(delivery, order_id, attempt)
  if not wishes.overtake('withdrawn', delivery, order_id, attempt) then
    outcome.requeued(delivery, order_id, attempt)
  end
end

-- What is told of wishes in a reply: the deliveries to be stopped, each with what its order is to be;
-- and those among the outcomes that ended by a wish, each with what its order is.
function wishes.told()
  local stops, lines = {}, {}
  for delivery, order_id in string.gmatch(wished, '(%d+) ([^\n]+)\n') do
    local wish = call('HGET', policy.order_prefix .. order_id, 'wish')
    if wish and call('HEXISTS', IN_FLIGHT, delivery) == 1 then
      stops[#stops + 1] = delivery
      stops[#stops + 1] = wish == 'cancel' and 'cancelled' or 'held'
      lines[#lines + 1] = delivery .. ' ' .. order_id .. '\n'
    end
  end
  if #lines == 0 then
    call('HDEL', BOOKS, 'wishes:' .. WORKER)
  elseif table.concat(lines) ~= wished then
    call('HSET', BOOKS, 'wishes:' .. WORKER, table.concat(lines))
  end
  return {stops, wishes.obeyed}
end
