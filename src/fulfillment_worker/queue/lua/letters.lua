-- What is known of dead letters, without the orders' bytes: some of them, in no order.
--
-- KEYS     1 dead
-- ARGV     1 cursor, '0' to begin with
--          2 order ids, MessagePack: only letters of these; of all orders where there are none. A
--            letter whose id can't be told without parsing is always among them
-- returns  {cursor of the next call, '0' after the last, {number, header, size of the order, ...}}

local MOST_LETTERS = 500
local MOST_HEADER = 65536 -- a damaged one may be anything
local READ = 8 -- Redis reads whole letters here, so a few at a time; fewer where they are large

define_reading('letters', function(KEYS, ARGV)
  local cursor, told, read, bytes = ARGV[1], {}, 0, 0
  local ids, wanted = cmsgpack.unpack(ARGV[2]), {}
  for _, order_id in ipairs(ids) do wanted[cjson.encode(order_id)] = true end

  local function is_wanted(header)
    if #ids == 0 then return true end
    local order_id = string.match(header, '"order_id":("[^"\\]*")')
    return not order_id or wanted[order_id]
  end

  repeat
    local likely = read == 0 and 1 or math.floor((MOST_BYTES - bytes) * read / bytes)
    local found = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', math.max(1, math.min(READ, likely)))
    cursor = found[1]
    for i = 1, #found[2], 2 do
      local letter = found[2][i + 1]
      local header = string.match(letter, '^[^\n]*')
      if is_wanted(header) then
        told[#told + 1] = found[2][i]
        told[#told + 1] = string.sub(header, 1, MOST_HEADER)
        told[#told + 1] = math.max(0, #letter - #header - 1)
      end
      read, bytes = read + 1, bytes + #letter
    end
  until cursor == '0' or read >= MOST_LETTERS or bytes >= MOST_BYTES
  return {cursor, told}
end)
