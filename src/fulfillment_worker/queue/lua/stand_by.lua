-- The exchange of an idle worker that stands by: sent behind the command with which it waits, so Redis
-- goes on to it as soon as an order has come.
--
-- Somebody waits for this order, on a processor that was idle: each command given here takes several
-- times as long as in a busy Redis. So it claims the one order that woke the worker, and does no more
-- than it must: how the queue stands, the exchange that ends the order will tell. Only whether more orders
-- came is told at once, since to wait for the next of them would cost far more.
--
-- ARGV     3 number of the exchange  4 the delivery that it may make, both in digits
-- returns  as `exchange`; it never tells what is due next

define('stand_by', function(ARGV)
  local books = call('HMGET', BOOKS, 'received', 'paused', 'trips:' .. WORKER, 'limits')
  local received, made = tonumber(books[1] or 0), tonumber(books[3] or 0)
  if made >= REAPED then return {LEASE_LOST, NOW} end
  if made ~= ARGV[3] - 1 then return {STALE, NOW} end

  limits.set = nil
  local paused, delivery, backlog = books[2] == '1', tonumber(ARGV[4]), false
  -- The next one may have woken a worker that is gone.
  local woken = paused and {} or call('LRANGE', WOKEN, -2, -1)
  local raw = woken[#woken]
  start_claiming(received, MOST_BYTES)
  -- A larger one was sent once already, by the command that blocked: the next exchange claims it. So it
  -- does where limits are to be obeyed.
  if raw and #raw <= LARGE and not books[4] then
    take(delivery, string.format('%d 0 0 %s\n', received + 1, now) .. raw)
    store()
    call('HSET', BOOKS, 'trips:' .. WORKER, ARGV[3], 'received', whole(received + 1))
    call('RPOP', WOKEN)
    begin_early(1, delivery)
    backlog = #woken > 1 or call('LLEN', PUBLIC) > 0
  else
    call('HSET', BOOKS, 'trips:' .. WORKER, ARGV[3])
    backlog = raw ~= nil
  end
  return {
    OK, NOW, {}, claimed, #claimed, 0, 0, backlog and 1 or 0, paused and 1 or 0, books[4] and 1 or 0, -1,
    {}, begun, {}, {}, {}, 0,
  }
end)
