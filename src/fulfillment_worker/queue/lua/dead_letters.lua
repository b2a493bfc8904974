-- What an operator does to dead letters.

-- Puts dead letters back: due at once, with no failures and no orphanings. Each is stored among
-- the retries before it is removed from the dead.
--
-- ARGV     3 numbers of letters, MessagePack  4 who does it  5 why, '' for no reason
--          6 the id of the order where it is one letter, else ''
--          7 the entry of the audit that tells of what the same command did before, '' for none
--          8 to how many; both may be left out
-- returns  {how many of the numbers were looked at, the numbers of those that were put back, the entry
--           of the audit}
--          The rest (beyond 512 KiB) is for the next call; a letter that isn't there is passed over.

-- Letters of earlier versions don't tell their copy; no count of orders comes near this.
local UNTOLD_COPIES = 10000000000000

local function read_letter(number)
  local letter = call('HGET', DEAD, number)
  if not letter then return nil, 0 end
  local header, start = string.match(letter, '^([^\n]*)\n()')
  local readable, told = pcall(cjson.decode, header or '')
  if not readable or type(told) ~= 'table' then return nil, #letter end
  told.raw = string.sub(letter, start)
  return told, #letter
end

-- An order that was fulfilled since, or of which another copy is at work, keeps its status.
local function mark_retrying(order_id, attempt)
  if type(order_id) ~= 'string' or order_id == '' then return end
  local key = policy.order_prefix .. order_id
  local status = call('HGET', key, 'status')
  if status and status ~= 'dead' then return end
  call('HSET', key, 'status', 'retrying', 'next_attempt_at', now)
  call('HDEL', key, 'finished_at')
  call('PERSIST', key)
  emit(order_id, 'retrying', attempt)
end

local function revive(number, letter)
  local entry = {
    copy = letter.copy or UNTOLD_COPIES + tonumber(number), failures = 0, orphanings = 0,
    first_seen = letter.first_seen or NOW, raw = letter.raw,
  }
  -- Else it would be as old as before.
  if letter.reason == 'expired' then entry.first_seen = NOW end
  if type(letter.order_id) == 'string' then keep_id(entry, letter.order_id) end
  call('ZADD', RETRY, due_at(NOW), pack_entry(entry))
  mark_retrying(letter.order_id, letter.failures or 0)
  call('HDEL', DEAD, number)
end

define('retry_dead', function(ARGV)
  read_shift()
  local seen, bytes, revived = 0, 0, {}
  for _, number in ipairs(cmsgpack.unpack(ARGV[3])) do
    if bytes >= MOST_BYTES then break end
    local letter, size = read_letter(number)
    if letter then
      revive(number, letter)
      revived[#revived + 1] = number
    end
    seen, bytes = seen + 1, bytes + size
  end
  local entry = note_letters('retry', ARGV[4], ARGV[5], ARGV[6], #revived, ARGV[7], ARGV[8])
  if #revived > 0 then wake() end
  return {seen, revived, entry}
end)

-- Removes dead letters for ever, and counts them, so that the books balance.
--
-- ARGV     3 to 6 as above
-- returns  {how many of the numbers were looked at, the numbers of those that were removed}
--          The rest (beyond 512 KiB) is for the next call; a letter that isn't there is passed over.

define('drop_dead', function(ARGV)
  local seen, bytes, dropped = 0, 0, {}
  for _, number in ipairs(cmsgpack.unpack(ARGV[3])) do
    if bytes >= MOST_BYTES then break end
    bytes = bytes + call('HSTRLEN', DEAD, number)
    if call('HDEL', DEAD, number) == 1 then dropped[#dropped + 1] = number end
    seen = seen + 1
  end
  if #dropped > 0 then call('HINCRBY', BOOKS, 'dropped', #dropped) end
  note_letters('drop', ARGV[4], ARGV[5], ARGV[6], #dropped)
  return {seen, dropped}
end, {'allow-oom'})
