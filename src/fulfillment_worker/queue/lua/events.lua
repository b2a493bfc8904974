-- Which entries of the stream of events are trimmed.
--
-- The id of an entry begins with Redis's time, so those with an id below NOW - events_ttl are. But an
-- id doesn't tell the age of its entry
--   after a step forward: all entries look old at once;
--   after a step back: Redis never makes an id below the last one, so new ids stay ahead of the clock.
-- Until ids tell it again, entries are kept by generations: `mark` is the id with which the young one
-- began. When that was events_ttl ago, all entries before it are trimmed, and the next one begins. So
-- each is kept for events_ttl at least, and for twice as long at most.
--
-- `events` in BOOKS: "<floor> <since> <steps> <mark>". floor: ids below it are trimmed. since: when
-- the young generation began, without the steps of the clock. steps: their sum then. It isn't there
-- while ids tell the age.

-- `generation`, in common.lua, is `events` as this run found or left it.

local sum_of_steps -- of the clock

-- ms; a smaller step isn't made up for: events are kept for so much less, or more.
local function tolerance()
  return policy.events_ttl / 16
end

local function keep_generation(floor, since, steps, mark)
  generation = table.concat({floor, whole(since), whole(steps), mark}, ' ')
  call('HSET', BOOKS, 'events', generation)
end

-- step: forward. last: the time of the last exchange of anybody, before the step.
local function follow_step(step, last)
  if step > tolerance() and call('HEXISTS', BOOKS, 'events') == 0 then
    keep_generation(whole(math.max(0, last - policy.events_ttl)), 0, 0, '')
  end
end

local function floor_by_time()
  return whole(math.max(0, NOW - policy.events_ttl))
end

-- The id below which the first event of this run trims.
function find_floor()
  local floor, since, steps_then, mark = string.match(generation or '', '^(%S+) (%S+) (%S+) (%S*)$')
  if not floor then
    generation = nil
    return floor_by_time()
  end
  if mark == '' or NOW - sum_of_steps - since < policy.events_ttl then return floor end
  local ahead = string.match(mark, '^%d+') - (NOW - policy.events_ttl)
  if math.abs(sum_of_steps - steps_then) <= tolerance() and ahead <= tolerance() then
    call('HDEL', BOOKS, 'events')
    generation = nil
    return floor_by_time()
  end
  keep_generation(mark, 0, 0, '')
  return mark
end

-- Lets the first event of this run trim. told: `events` in BOOKS, before a step that this run noticed.
local function allow_trimming(told, steps)
  may_trim = true
  generation, sum_of_steps = generation or told, steps
end

-- id: of the first event of this run, which trimmed what is below `floor`.
function note_first_event(id, floor)
  local mark = generation and string.match(generation, '(%S*)$')
  if mark and mark ~= '' then return end
  if mark or string.match(id, '^%d+') - NOW > tolerance() then
    keep_generation(floor, NOW - sum_of_steps, sum_of_steps, id)
  end
end
