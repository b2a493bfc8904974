-- What a worker holds: asked when the reply to a trip was lost.
--
-- ARGV     3 the deliveries that it knows of, MessagePack
-- returns  {0, now, number of the last trip, all deliveries, {delivery, packed entry, order id ('' where
--          not known), ...} for those that it doesn't know}, or {1, now} where the lease has run out

if tonumber(call('HGET', BOOKS, 'trips:' .. WORKER) or 0) >= REAPED then return {1, NOW} end
local lease = call('ZSCORE', LEASES, WORKER)
local deliveries = call('HKEYS', IN_FLIGHT)
if #deliveries > 0 and (not lease or tonumber(lease) < NOW) then return {1, NOW} end
if #deliveries > 0 then call('ZADD', LEASES, string.format('%d', NOW + policy.lease), WORKER) end

local known, unknown = {}, {}
for _, delivery in ipairs(cmsgpack.unpack(ARGV[3])) do known[tostring(delivery)] = true end
for _, delivery in ipairs(deliveries) do
  if not known[delivery] then
    unknown[#unknown + 1] = delivery
    local packed = call('HGET', IN_FLIGHT, delivery)
    unknown[#unknown + 1] = packed
    unknown[#unknown + 1] = call('HGET', IDS, string.match(packed, '^%d+')) or ''
  end
end
return {0, NOW, call('HINCRBY', BOOKS, 'trips:' .. WORKER, 1), deliveries, unknown}
