-- Forbids all workers to claim, or allows it.
--
-- ARGV     3 '1' to forbid it, '0' to allow it  4 who does it  5 why, '' for no reason
-- returns  '1' where it was forbidden before

define('pause', function(ARGV)
  local was = call('HGET', BOOKS, 'paused')
  if ARGV[3] == '1' then
    call('HSET', BOOKS, 'paused', 1)
  else
    call('HDEL', BOOKS, 'paused')
  end
  if (was == '1') ~= (ARGV[3] == '1') then
    note_act(ARGV[3] == '1' and 'pause' or 'resume', ARGV[4], ARGV[5], 'count', '1')
  end
  if ARGV[3] ~= '1' then wake() end
  return was
end, {'allow-oom'})
