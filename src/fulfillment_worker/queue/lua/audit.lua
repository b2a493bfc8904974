-- What operators did, for those who ask later. It is written in the same run as the deed.

local MOST_ACTS = '10000'

-- what, value: 'order_id' and the id, or 'count' and how many. Returns the id of the entry.
local function note_act(act, by, why, what, value)
  local fields = {'at', now, 'by', by, 'act', act, what, value}
  if why ~= '' then
    fields[#fields + 1] = 'why'
    fields[#fields + 1] = why
  end
  return call('XADD', policy.audit, 'MAXLEN', '~', MOST_ACTS, '*', unpack(fields))
end

-- The same for dead letters, of which the operator named one (its order's id, '' for several).
-- earlier: the entry that tells of what the same command did before, '' for none, and to how many: one
-- entry tells of all of it. Returns its id.
local function note_letters(act, by, why, order_id, count, earlier, before)
  if count == 0 then return earlier or '' end
  if order_id ~= '' then return note_act(act, by, why, 'order_id', order_id) end
  local entry = note_act(act, by, why, 'count', whole(count + (before or 0)))
  if earlier and earlier ~= '' then call('XDEL', policy.audit, earlier) end
  return entry
end

-- ARGV     3 the act  4 who does it  5 why, '' for no reason  6 to how many orders
define('note', function(ARGV)
  note_act(ARGV[3], ARGV[4], ARGV[5], 'count', ARGV[6])
end)
