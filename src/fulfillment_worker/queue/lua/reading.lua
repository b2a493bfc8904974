-- What an entry's bytes say, where the worker that should have read them didn't.

-- The order's id ('' for none) and its body. A hash that another delivery holds is never changed by
-- it, so a misreading does no harm.
local function read_order_id(raw)
  local ok, body = pcall(cjson.decode, raw)
  local id = ok and type(body) == 'table' and body[policy.id_field]
  if type(id) == 'number' then
    -- Above 2^53 Lua's numbers are rounded, so the digits are taken as they stand.
    local name = string.gsub(policy.id_field, '%W', '%%%0')
    local digits = string.match(raw, '"' .. name .. '"%s*:%s*(%-?%d+)%s*[,}]')
    return digits and tonumber(digits) == id and digits or '', body
  end
  if type(id) == 'string' and id ~= '' and not string.find(id, '%c') then return id, body end
  return ''
end
