-- What is written when an attempt starts.

-- delivery, attempt: in digits. queued_at: ms in digits, '0' where not known.
local function start(key, delivery, order_id, attempt, queued_at)
  call('HSET', key, 'status', 'processing', 'attempt', attempt, 'worker', WORKER,
    'delivery', delivery, 'queued_at', queued_at == '0' and now or queued_at, 'started_at', now)
  emit(order_id, 'processing', attempt)
end
