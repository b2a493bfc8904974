-- For how long no worker has called this library: another version may remove it then.
--
-- returns  ms since the last call; 0 where it was just loaded, as by a server that was restarted

define_reading('idle', function()
  call = redis.call
  local clock = call('TIME')
  local ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
  used_at = used_at or ms
  return ms - used_at
end)
