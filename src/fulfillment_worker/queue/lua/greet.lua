-- The first thing said on a new connection: a lease runs out by its worker's silence, and not by
-- Redis's own.
--
-- A server that was restarted, or a replica that was promoted, tells a replication id that is new
-- (redis.io, "Replication"). While it was away nobody could renew a lease, so the first worker to
-- find that id gives each lease a whole term again, and the orders of a worker that lives stay its
-- own. One that died meanwhile is silent for that term, too, and is found out after it.
-- Returns whether that was done.

define('greet', function()
  local refusal = find_refusal()
  if refusal then return refusal end

  -- A user without the right to ask does without; so does one of a server that has no such command.
  local info = redis.pcall('INFO', 'replication')
  local life = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')
  if not life then return 0 end
  local known = call('HGET', BOOKS, 'life')
  if known == life then return 0 end
  if known then
    for _, worker in ipairs(call('ZRANGE', LEASES, 0, -1)) do
      call('ZADD', LEASES, whole(NOW + lease_of(worker)), worker)
    end
  end
  call('HSET', BOOKS, 'life', life)
  return known and 1 or 0
end)
