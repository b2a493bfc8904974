-- What an entry's bytes say, where the worker that should have read them didn't.

-- What stands after a field's name, wherever in the bytes: in digits, and in quotes.
local function after_name(raw, field, value)
  local name = string.gsub(field, '%W', '%%%0')
  return string.gmatch(raw, '"' .. name .. '"%s*:%s*' .. value)
end

-- Lua rounds numbers from 2^53 on, so the digits are taken as they stand. A field within another
-- may have the same name; nil where two numbers can't be told apart.
local function digits_of(raw, field, number)
  local found
  for digits in after_name(raw, field, '(%-?%d+)%s*[,}]') do
    if tonumber(digits) == number then
      if found and found ~= digits then return nil end
      found = digits
    end
  end
  return found
end

local function usable(id)
  return type(id) == 'string' and id ~= '' and not string.find(id, '%c')
end

-- The order's id ('' for none) and its body. A hash that another delivery holds is never changed by
-- it, so a misreading does no harm.
local function read_order_id(raw)
  local ok, body = pcall(cjson.decode, raw)
  local id = ok and type(body) == 'table' and body[policy.id_field]
  if type(id) == 'number' then return digits_of(raw, policy.id_field, id) or '', body end
  if usable(id) then return id, body end
  return ''
end
