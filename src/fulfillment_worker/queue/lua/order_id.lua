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

-- The fields in which workers of this queue have looked for ids: the settings of who began an
-- attempt may be others than those of who finds its orphan.
local function note_id_field(known)
  if not known then
    call('HSET', BOOKS, 'id_fields', policy.id_field)
  elseif not string.find('\n' .. known .. '\n', '\n' .. policy.id_field .. '\n', 1, true) then
    call('HSET', BOOKS, 'id_fields', string.sub(policy.id_field .. '\n' .. known, 1, 4096))
  end
end

local function id_fields()
  local fields = {policy.id_field}
  for field in string.gmatch(call('HGET', BOOKS, 'id_fields') or '', '[^\n]+') do
    if field ~= policy.id_field then fields[#fields + 1] = field end
  end
  return fields
end

-- Each number that Lua can't tell from this one; any number where it couldn't read the bytes.
local function add_digits(add, raw, field, number)
  for digits in after_name(raw, field, '(%-?%d+)%s*[,}]') do
    if not number or tonumber(digits) == number then add(digits == '-0' and '0' or digits) end
  end
end

-- All of them, the likeliest first. Redis's parser refuses some JSON that is an order to a worker,
-- so then all that stands after the field's name comes into question.
local function possible_ids(raw)
  local found, seen = {}, {}
  local function add(id)
    if usable(id) and not seen[id] then
      found[#found + 1], seen[id] = id, true
    end
  end
  local readable, body = pcall(cjson.decode, raw)
  for _, field in ipairs(id_fields()) do
    local id = readable and type(body) == 'table' and body[field]
    if type(id) == 'number' then add_digits(add, raw, field, id) else add(id) end
    if not readable then
      add_digits(add, raw, field)
      for text in after_name(raw, field, '("[^"]*")') do
        local told, list = pcall(cjson.decode, '[' .. text .. ']')
        add(told and list[1])
      end
    end
  end
  return found
end
