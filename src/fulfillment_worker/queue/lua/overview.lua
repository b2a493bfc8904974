-- How a queue stands, as of one instant. A transaction would tell that as well, but a Redis that is
-- full refuses all of it.
--
-- KEYS     1 public  2 woken  3 retry  4 suspects  5 dead  6 books  7 leases  8 workers  9 scheduled
--          10 held  11 parked
-- ARGV     1 what the keys of the workers' in-flight hashes start with
-- returns  {the time, the sizes of the first five, the bytes of the order at the head, for its age
--          (nil where none waits, '' for a large one), books, leases, workers with their times,
--          the numbers of scheduled, held and parked ones, how many orders each worker with a lease
--          holds}

define_reading('overview', function(KEYS, ARGV)
  call = redis.call
  local head = call('LINDEX', KEYS[2], -1) or call('LINDEX', KEYS[1], -1)
  local leases, holds = call('ZRANGE', KEYS[7], 0, -1), {}
  for i, worker in ipairs(leases) do holds[i] = call('HLEN', ARGV[1] .. worker) end
  return {
    call('TIME'),
    call('LLEN', KEYS[1]), call('LLEN', KEYS[2]), call('ZCARD', KEYS[3]), call('LLEN', KEYS[4]),
    call('HLEN', KEYS[5]),
    head and (#head <= 65536 and head or ''),
    call('HGETALL', KEYS[6]),
    leases,
    call('ZRANGE', KEYS[8], 0, -1, 'WITHSCORES'),
    call('ZCARD', KEYS[9]),
    call('HLEN', KEYS[10]),
    call('HLEN', KEYS[11]),
    holds,
  }
end)
