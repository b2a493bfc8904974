-- Replaces the bytes of a dead letter. The old ones are kept for a week, in EDITED of the order's id, by
-- the id of the entry that tells of it in the audit.
--
-- ARGV     3 the letter's number  4 who does it  5 why, '' for no reason
--          6 its bytes, as they were read  7 its new bytes  8 the id of the order in them
-- returns  1 replaced; or nothing was done: 0 it isn't there, 2 it has other bytes, 3 its header can't
--          be read

local KEPT_FOR = 7 * 86400000 -- ms

local function keep_edited(order_id, entry, raw)
  local key = policy.edited_prefix .. order_id
  call('HSET', key, entry, raw)
  call('PEXPIRE', key, KEPT_FOR)
  for _, earlier in ipairs(call('HKEYS', key)) do
    if tonumber(string.match(earlier, '^%d+')) < NOW - KEPT_FOR then call('HDEL', key, earlier) end
  end
end

define('edit_dead', function(ARGV)
  local number, order_id = ARGV[3], ARGV[8]
  local letter = call('HGET', DEAD, number)
  if not letter then return 0 end
  local header, start = string.match(letter, '^([^\n]*)\n()')
  if not header or string.sub(letter, start) ~= ARGV[6] then return 2 end
  local readable, told = pcall(cjson.decode, header)
  if not readable or type(told) ~= 'table' then return 3 end
  keep_edited(order_id, note_act('edit', ARGV[4], ARGV[5], 'order_id', order_id), ARGV[6])
  told.order_id, told.edited = order_id, NOW
  call('HSET', DEAD, number, cjson.encode(told) .. '\n' .. ARGV[7])
  return 1
end)
