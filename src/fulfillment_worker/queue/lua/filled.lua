-- Which of these lists have orders. Asked by a client that is told of changes to what it reads.
--
-- KEYS     public lists
-- returns  the numbers of those that are not empty, from 1

define_reading('filled', function(KEYS)
  local filled = {}
  for number, list in ipairs(KEYS) do
    if redis.call('LLEN', list) > 0 then filled[#filled + 1] = number end
  end
  return filled
end)
