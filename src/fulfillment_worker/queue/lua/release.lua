-- Gives back the orders of a worker whose process has ended, without waiting for its lease.
--
-- ARGV     2 the worker that is gone
-- returns  {orders put back, those of them that are dead now, orders left for the next call}

define('release', function()
  -- What remembers that it was reaped is forgotten with it in time.
  call('ZADD', WORKERS, 'NX', now, WORKER)
  read_shift()
  limits.load_books()
  local recovered, orphaned = reap(WORKER)
  close_books()
  if recovered > orphaned then wake() end
  return {recovered, orphaned, call('HLEN', IN_FLIGHT)}
end)
