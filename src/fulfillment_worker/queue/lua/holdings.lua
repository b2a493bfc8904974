-- What a worker holds: asked when the reply to a trip was lost.
--
-- returns  {0, now, generation, {delivery, packed entry, ...}}, or {1, now} where the lease has
--          run out

local lease = call('ZSCORE', LEASES, WORKER)
local held = call('HGETALL', IN_FLIGHT)
if #held > 0 and (not lease or tonumber(lease) < NOW) then return {1, NOW} end
if #held > 0 then call('ZADD', LEASES, string.format('%d', NOW + policy.lease), WORKER) end
return {0, NOW, call('HINCRBY', BOOKS, 'generation:' .. WORKER, 1), held}
