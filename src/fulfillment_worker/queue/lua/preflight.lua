-- Calls every command that the other functions use, on a key of its own, and undoes it.
--
-- A function isn't undone when it ends midway, so a user who lacks a right must be found out before
-- the first order is touched. Returns nil, or the first refusal, which names the command.

local function find_refusal()
  local refusal

  -- In the place of the one that ends the function, and with it the words that tell what was refused.
  -- How servers word that within a function differs: by the code (7.2 and later), or by these words.
  local function call(command, ...)
    local reply = redis.pcall(command, ...)
    if refusal or type(reply) ~= 'table' or not reply.err then return end
    refusal = reply
    local words, name = string.lower(reply.err), string.lower(command)
    if string.find(words, 'noperm', 1, true) or string.find(words, 'acl failure', 1, true)
      or string.find(words, 'user executing the script', 1, true) then
      refusal = redis.error_reply('NOPERM ' .. name .. ' in a script')
    elseif string.find(words, 'unknown', 1, true) then
      refusal = redis.error_reply('ERR unknown command ' .. name .. ' in a script')
    end
  end

  local SCRATCH, OTHER = policy.scratch, policy.scratch .. ':other'
  call('DEL', SCRATCH, OTHER)
  call('LPUSH', SCRATCH, 'x')
  call('LMOVE', SCRATCH, OTHER, 'RIGHT', 'LEFT')
  call('LMOVE', OTHER, SCRATCH, 'LEFT', 'RIGHT')
  call('LLEN', SCRATCH)
  call('LINDEX', SCRATCH, -1)
  call('LRANGE', SCRATCH, -1, -1)
  call('LTRIM', SCRATCH, 0, -1)
  call('RPOP', SCRATCH)
  call('HSET', SCRATCH, 'x', 1)
  call('HINCRBY', SCRATCH, 'x', 1)
  call('HGET', SCRATCH, 'x')
  call('HMGET', SCRATCH, 'x', 'y')
  call('HKEYS', SCRATCH)
  call('HLEN', SCRATCH)
  call('HSTRLEN', SCRATCH, 'x')
  call('HEXISTS', SCRATCH, 'x')
  call('PEXPIRE', SCRATCH, 60000)
  call('PERSIST', SCRATCH)
  call('HDEL', SCRATCH, 'x')
  call('ZADD', SCRATCH, 1, 'x')
  call('ZCARD', SCRATCH)
  call('ZCOUNT', SCRATCH, '-inf', 1)
  call('ZSCORE', SCRATCH, 'x')
  call('ZRANGE', SCRATCH, 0, -1, 'WITHSCORES')
  call('ZREVRANGE', SCRATCH, 0, 0)
  call('ZLEXCOUNT', SCRATCH, '-', '+')
  call('ZRANGEBYLEX', SCRATCH, '-', '+', 'LIMIT', 0, 1)
  call('ZRANGEBYSCORE', SCRATCH, '-inf', 1, 'LIMIT', 0, 1)
  call('ZREMRANGEBYSCORE', SCRATCH, '-inf', 0)
  call('ZREM', SCRATCH, 'x')
  call('XADD', SCRATCH, 'MINID', '~', 0, '*', 'x', 1)
  call('DEL', SCRATCH, OTHER)
  return refusal
end

-- returns  nothing, or the first refusal
define('rights', find_refusal, {'allow-oom'})
