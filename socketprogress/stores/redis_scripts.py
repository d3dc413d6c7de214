"""What Redis does in one go: writing a part of a backlog, claiming a start, naming a leader.

Keys, all of them under the store's prefix: `tasks` (ids in the order of their first saving), `task:ID` (a hash),
`log:ID` (a list of chunks), `logs` (the end and size of each log), `meta`, `feed` and `commands` (streams),
`servers` (a beat of each process), `running:NAME` (what counts for `max_running`), `data` (names this data).
"""

from __future__ import annotations

from socketprogress.stores.logtail import MOST_BYTES, MOST_LINES

__all__ = ["CLAIM", "COMMAND", "FEED_S", "LEAD", "WRITE"]

FEED_S = 15.0
"""How long the feed remembers: who is further behind reads everything again."""

WRITE = f"""
local prefix, gone, fed, lines, refused = KEYS[1], {{}}, {{}}, {{}}, {{}}
local origin, deleted, states, logs = unpack(cmsgpack.unpack(ARGV[1]))

for _, id in ipairs(deleted) do
  redis.call('DEL', prefix .. 'task:' .. id, prefix .. 'log:' .. id)
  redis.call('ZREM', prefix .. 'tasks', id)
  redis.call('HDEL', prefix .. 'logs', id)
  gone[#gone + 1] = '"' .. id .. '"'
end

for _, one in ipairs(states) do
  local id, name, ended, term, epoch, seq, told, state = unpack(one)
  local key, accepted = prefix .. 'task:' .. id, true
  local old = redis.call('HMGET', key, 'ended', 'term', 'epoch', 'seq')
  if old[1] then
    local same = old[2] == term and old[3] == epoch
    local newer = tonumber(term) > tonumber(old[2])
    if (old[1] == '1' and not (same and ended == '1')) or not (same or newer) then
      accepted = false
      refused[#refused + 1] = redis.call('HGET', key, 'state')
    elseif same and tonumber(old[4]) > tonumber(seq) then
      accepted = false
    end
  else
    redis.call('ZADD', prefix .. 'tasks', redis.call('INCR', prefix .. 'count'), id)
  end
  if accepted then
    redis.call('HSET', key, 'ended', ended, 'term', term, 'epoch', epoch, 'seq', seq,
               'state', state)
    if ended == '1' then redis.call('ZREM', prefix .. 'running:' .. name, id) end
    fed[#fed + 1] = told == '' and state or told
  end
end

for _, one in ipairs(logs) do
  local id, chunks = unpack(one)
  local key = prefix .. 'log:' .. id
  local told = redis.call('HGET', prefix .. 'logs', id) or '0:0:0'
  local stop, count, size = told:match('(%d+):(%d+):(%d+)')
  stop, count, size = tonumber(stop), tonumber(count), tonumber(size)
  for number, chunk in ipairs(chunks) do
    local first, many, bytes, text = unpack(chunk)
    if first + many > stop then
      redis.call('RPUSH', key, first .. ':' .. many .. ':' .. bytes .. ':' .. text)
      stop, count, size = first + many, count + many, size + bytes
      if number == #chunks then lines[#lines + 1] = '["' .. id .. '",' .. first .. ',' .. text .. ']' end
    end
  end
  while count > {MOST_LINES} or size > {MOST_BYTES} do
    local many, bytes = redis.call('LPOP', key):match('^%d+:(%d+):(%d+):')
    count, size = count - tonumber(many), size - tonumber(bytes)
  end
  redis.call('HSET', prefix .. 'logs', id, stop .. ':' .. count .. ':' .. size)
end

for at = 2, #ARGV, 2 do
  redis.call('HSET', prefix .. 'meta', ARGV[at], ARGV[at + 1])
end

if #fed + #gone + #lines > 0 then
  local oldest = tonumber(redis.call('TIME')[1]) - {FEED_S:.0f}
  redis.call('XADD', prefix .. 'feed', 'MINID', '~', oldest .. '000', '*',
             'n', redis.call('INCR', prefix .. 'fed'), 'o', origin,
             's', '[' .. table.concat(fed, ',') .. ']',
             'l', '[' .. table.concat(lines, ',') .. ']',
             'd', '[' .. table.concat(gone, ',') .. ']')
end
return refused
"""
"""Writes deletions, states, log chunks and small values, and tells all other processes of them.

All but the small values is one argument, in MessagePack: for many small ones the driver takes several times as long.
A state is refused, and the stored one returned, if the stored one has ended or a later term has it. One
that is older than what the same process has stored is what a broken connection delivered late.
"""

CLAIM = """
local prefix, id, name, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
if redis.call('EXISTS', prefix .. 'task:' .. id) == 1 then return {'known'} end
if not redis.call('SET', prefix .. 'start:' .. id, '1', 'NX', 'EX', 30) then return {'claimed'} end
if most < 0 then return {'free'} end
local key, running = prefix .. 'running:' .. name, {'full'}
local members = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do
  local ended = redis.call('HGET', prefix .. 'task:' .. members[i], 'ended')
  if ended == '1' or (not ended and now - tonumber(members[i + 1]) > 30) then
    redis.call('ZREM', key, members[i])
  else
    running[#running + 1] = members[i]
  end
end
if #running > most then
  redis.call('DEL', prefix .. 'start:' .. id)
  return running
end
redis.call('ZADD', key, now, id)
return {'free'}
"""
"""Says who may start a task: the id is free, known or claimed, or the definition is full."""

COMMAND = """
local prefix, kind, id, asked = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local task = prefix .. 'task:' .. id
if redis.call('EXISTS', task) == 0 then return 0 end
if tonumber(redis.call('TIME')[1]) - asked > 3 then return 0 end
redis.call('HSET', task, 'wish', kind)
redis.call('XADD', prefix .. 'commands', 'MAXLEN', '~', 1000, '*', 'kind', kind, 'task', id)
return 1
"""
"""Tells whoever speaks for a task what is wanted of it, now and when it looks next.

What a Redis that hung carries out late changes nothing: whoever asked was told that it cannot be done.
"""

LEAD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""Makes the asking process the leader, or keeps it so, unless there is another."""
