-- Removes dead letters for ever, and counts them, so that the books balance.
--
-- ARGV     3 numbers of letters, MessagePack
-- returns  {how many of the numbers were looked at, the numbers of those that were removed}
--          The rest (beyond 512 KiB) is for the next call; a letter that isn't there is passed over.

local MOST_BYTES = 524288

local seen, bytes, dropped = 0, 0, {}
for _, number in ipairs(cmsgpack.unpack(ARGV[3])) do
  if bytes >= MOST_BYTES then break end
  bytes = bytes + call('HSTRLEN', DEAD, number)
  if call('HDEL', DEAD, number) == 1 then dropped[#dropped + 1] = number end
  seen = seen + 1
end
if #dropped > 0 then call('HINCRBY', BOOKS, 'dropped', #dropped) end
return {seen, dropped}
