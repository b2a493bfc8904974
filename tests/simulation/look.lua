-- What there is in a queue, and what is new in its stream of events.
--
-- ARGV     1 queue  2 id of the last event that is known  3 number of the last letter that is known
-- returns  events (id, order id, status, attempt, its last worker), new letters (order id, reason), waiting,
--          in flight, retrying, dead, fulfilled, duplicates, dropped, held, cancelled, last letter, leases
--          (name, ms)
local keys = '{' .. ARGV[1] .. '}:'
local call = redis.call

local news = {}
for _, entry in ipairs(call('XRANGE', keys .. 'events', '(' .. ARGV[2], '+')) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  local worker = call('HGET', keys .. 'order:' .. fields.order_id, 'worker') or ''
  news[#news + 1] = {entry[1], fields.order_id, fields.status, fields.attempt, worker}
end

local books = call('HMGET', keys .. 'books', 'fulfilled', 'duplicates', 'dropped', 'buried', 'cancelled')
local letters = {}
for number = tonumber(ARGV[3]) + 1, tonumber(books[4] or 0) do
  local letter = call('HGET', keys .. 'dead', number)
  local header = letter and cjson.decode(string.match(letter, '^[^\n]*')) or {}
  letters[#letters + 1] = {header.order_id or '', header.reason or ''}
end

local in_flight = 0
for _, key in ipairs(call('KEYS', keys .. 'in_flight:*')) do in_flight = in_flight + call('HLEN', key) end

return {
  news, letters,
  call('LLEN', ARGV[1]) + call('LLEN', keys .. 'woken'), in_flight,
  call('ZCARD', keys .. 'retry') + call('LLEN', keys .. 'suspects') + call('HLEN', keys .. 'parked'), call('HLEN', keys .. 'dead'),
  tonumber(books[1] or 0), tonumber(books[2] or 0), tonumber(books[3] or 0),
  call('HLEN', keys .. 'held'), tonumber(books[5] or 0), tonumber(books[4] or 0),
  call('ZRANGE', keys .. 'leases', 0, -1, 'WITHSCORES'),
}
