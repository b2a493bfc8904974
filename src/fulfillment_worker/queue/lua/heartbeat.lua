-- Renews a lease while the reply to an exchange is on its way, which may take longer than a lease.
--
-- returns  1, or 0 where the lease had run out: nothing was done

define('heartbeat', function()
  local lease = call('ZSCORE', LEASES, WORKER)
  if not lease or tonumber(lease) < NOW then return 0 end
  call('ZADD', LEASES, whole(NOW + policy.lease), WORKER)
  return 1
end)
