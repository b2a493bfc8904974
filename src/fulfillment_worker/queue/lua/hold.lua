-- What operators do to orders by their ids, wherever these are: hold, cancel, let go.
--
-- ARGV     3 the order's id  4 who does it  5 why, '' for no reason

local UNARRIVED = '604800000' -- ms for which the wish for an order that hasn't arrived is kept
local MOST_COPIES = 500 -- of one order in one run, so that Redis is never busy for long

-- Notes a wish; returns the worker that has the order in flight, '' for none.
function wishes.note(key, wish, ARGV, was)
  call('HSET', key, 'wish', wish, 'wish_by', ARGV[4], 'wish_why', ARGV[5], 'wish_at', now)
  note_act(wish, ARGV[4], ARGV[5], 'order_id', ARGV[3])
  if not was[1] then call('PEXPIRE', key, UNARRIVED) end
  if was[1] ~= 'processing' or call('HEXISTS', policy.in_flight_prefix .. was[3], was[4]) == 0 then
    return ''
  end
  local field, line = 'wishes:' .. was[3], was[4] .. ' ' .. ARGV[3] .. '\n'
  local lines = call('HGET', BOOKS, field) or ''
  if not string.find('\n' .. lines, '\n' .. line, 1, true) then call('HSET', BOOKS, field, lines .. line) end
  return was[3]
end

-- returns  {what it was ('' for no status), what it is wished already ('' for nothing), the worker that
--          is told ('' for none)}. A fulfilled, cancelled or held order stays as it is, and so does one
--          that is to be cancelled.
define('hold', function(ARGV)
  local key = policy.order_prefix .. ARGV[3]
  local was = call('HMGET', key, 'status', 'wish', 'worker', 'delivery')
  local status, wish = was[1] or '', was[2] or ''
  if FINAL[status] or status == 'held' or wish == 'cancel' then return {status, wish, ''} end
  return {status, wish, wishes.note(key, 'hold', ARGV, was)}
end, {'allow-oom'})

-- The wish for an order that has arrived, as was found out since, is kept for as long as it takes.
define('keep_wish', function(ARGV)
  local key = policy.order_prefix .. ARGV[3]
  if not call('HGET', key, 'status') then call('PERSIST', key) end
end, {'allow-oom'})

-- Whether this dead letter is the order's, and was removed.
function wishes.take_letter(number, order_id)
  local letter = read_letter(number)
  return letter ~= nil and letter.order_id == order_id and call('HDEL', DEAD, number) == 1
end

-- Takes held copies of an order from their place, as many as one run may; returns how many, and 1 where
-- there are more. use: called with each entry before it is removed.
function wishes.take_held(key, copies, use)
  local many, bytes = 0, 0
  for copy, next_one in string.gmatch(copies, '(%d+) ?()') do
    local packed = call('HGET', policy.held, copy)
    if packed then
      use(packed)
      bytes = bytes + #packed
    end
    many = many + call('HDEL', policy.held, copy)
    if (many >= MOST_COPIES or bytes >= MOST_BYTES) and next_one <= #copies then
      call('HSET', key, 'held', string.sub(copies, next_one))
      return many, 1
    end
  end
  call('HDEL', key, 'held')
  return many, 0
end

-- Removes what the order has in the places where nothing has to be searched; returns as the one above.
function wishes.take_out(key, status, order_id, copies, letters)
  if copies then
    return wishes.take_held(key, copies, function(packed)
      call('HDEL', IDS, string.match(packed, '^%d+'))
    end)
  end
  local many = 0
  if status == 'dead' or status == '' then
    for _, number in ipairs(letters) do
      if wishes.take_letter(number, order_id) then many = many + 1 end
    end
  end
  return many, 0
end

-- ARGV     6 ms for which the status of a cancelled order is kept, in digits  7 numbers of the dead
--          letters that are the order's, MessagePack
-- returns  as `hold`, and how many of its entries were cancelled at once, and 1 where there are more:
--          they are for the next call
define('cancel', function(ARGV)
  local key = policy.order_prefix .. ARGV[3]
  local was = call('HMGET', key, 'status', 'wish', 'worker', 'delivery', 'attempt', 'held')
  local status, wish = was[1] or '', was[2] or ''
  local is_final = FINAL[status]
  if is_final and not was[6] then return {status, wish, '', 0, 0} end
  local letters = cmsgpack.unpack(ARGV[7])
  local many, more = wishes.take_out(key, status, ARGV[3], was[6], letters)
  if many == 0 then return {status, wish, wishes.note(key, 'cancel', ARGV, was), 0, 0} end
  if is_final then
    booked.cancelled = many
  else
    wishes.cancel(key, ARGV[3], was[5] or '0', many, ARGV[4], ARGV[5], ARGV[6])
    note_act('cancel', ARGV[4], ARGV[5], 'order_id', ARGV[3])
  end
  close_books()
  return {status, wish, '', many, more}
end, {'allow-oom'})

-- A held order is due at once, with what it has been through; a wish that hasn't taken effect is gone.
--
-- returns  {what it was ('' for no status), what was wished ('' for nothing), how many entries are due
--          now, 1 where there are more: they are for the next call}
define('let_go', function(ARGV)
  local key = policy.order_prefix .. ARGV[3]
  local was = call('HMGET', key, 'status', 'wish', 'held', 'attempt')
  local status, wish, many, more = was[1] or '', was[2] or '', 0, 0
  if was[3] then
    read_shift()
    many, more = wishes.take_held(key, was[3], function(packed)
      call('ZADD', RETRY, due_at(NOW), packed)
    end)
    wake()
  end
  if status == 'held' then
    call('HSET', key, 'status', 'retrying', 'next_attempt_at', now)
    call('HDEL', key, 'held_at', 'by', 'reason')
    emit(ARGV[3], 'retrying', was[4] or '0')
  end
  if status == 'held' or wish ~= '' then
    call('HDEL', key, 'wish', 'wish_by', 'wish_why', 'wish_at')
    note_act('release', ARGV[4], ARGV[5], 'order_id', ARGV[3])
  end
  return {status, wish, many, more}
end)
