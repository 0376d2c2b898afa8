-- What the server does in one step. Loaded as a library of functions, or once for each function as a script; the
-- keys of a call have one hash tag, and so have those that a function finds in an index.
--
-- A session is a string: 's', its kind (0: nobody's, 1: a user's), two zero bytes, then little-endian the seconds
-- at which it was begun, last used and ends at the latest (4 bytes each) and its version (8 bytes). A user's goes on with
-- the hash (16 bytes) in their index's name, the length of their name (4 bytes) and the name. The rest is data.
--
-- An index is a sorted set of the last 32 characters of its sessions' keys, by the second at which they end at the latest.

local function time()
  local time = redis.call('TIME')
  return tonumber(time[1]), tonumber(time[2])
end

local function read(value)
  if #value < 24 or string.sub(value, 1, 1) ~= 's' or string.sub(value, 3, 4) ~= '\0\0' then
    return nil
  end
  local session = {}
  session.created, session.seen, session.last, session.version = struct.unpack('<I4I4I4I8', value, 5)
  session.stamp = string.sub(value, 17, 24)
  local kind = string.byte(value, 2)
  if kind == 0 then
    session.whose, session.data = '', string.sub(value, 25)
  elseif kind == 1 and #value >= 44 then
    local length = struct.unpack('<I4', value, 41)
    if #value < 44 + length then
      return nil
    end
    session.whose, session.data = string.sub(value, 25, 44 + length), string.sub(value, 45 + length)
  else
    return nil
  end
  return session
end

local function expire(key, second)
  redis.call('EXPIREAT', key, string.format('%.0f', second))
end

-- The session under a key; without one nothing, and what to answer then.
local function find(key)
  local value = redis.call('GET', key)
  if not value then
    return nil, { 'gone' }
  end
  local session = read(value)
  if not session then
    return nil, redis.error_reply('TENFOLD the value of the key is no session')
  end
  return session
end

-- Answers the version under which it was written. It is a time, so that a server which forgot its latest writes
-- gives no version twice.
local function write(key, session, idle)
  local seconds, micros = time()
  session.seen = seconds
  session.version = math.max((session.version or 0) + 1, seconds * 1000000 + micros)
  local kind = session.whose == '' and 0 or 1
  local version = struct.pack('<I8', session.version)
  local header = 's' .. string.char(kind) .. '\0\0'
    .. struct.pack('<I4I4I4', session.created, session.seen, session.last) .. version
  redis.call('SET', key, header .. session.whose .. session.data)
  expire(key, math.min(seconds + idle, session.last))
  return version
end

local function member(key)
  return string.sub(key, -32)
end

local function prefix(key)
  return string.sub(key, 1, -33)
end

-- The index of whose session it is: beside the session, under another letter.
local function index_of(key, session)
  local hash = string.gsub(string.sub(session.whose, 1, 16), '.', function(byte)
    return string.format('%02x', string.byte(byte))
  end)
  return string.sub(key, 1, -35) .. 'u:' .. hash
end

local function enter(index, key, last)
  redis.call('ZADD', index, last, member(key))
  local latest = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2]
  expire(index, tonumber(latest))
end

local function remove(key, session)
  redis.call('UNLINK', key)
  if session.whose ~= '' then
    redis.call('ZREM', index_of(key, session), member(key))
  end
end

-- Whether a user may have one more session than those in their index.
local function make_room(index, key, max, refuse)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', (time()))
  if redis.call('ZCARD', index) < max then
    return true
  end
  local live = {}
  for _, other in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if redis.call('EXISTS', prefix(key) .. other) == 1 then
      live[#live + 1] = other
    else
      redis.call('ZREM', index, other)
    end
  end
  if #live >= max and refuse then
    return false
  end
  for at = 1, #live + 1 - max do
    redis.call('UNLINK', prefix(key) .. live[at])
    redis.call('ZREM', index, live[at])
  end
  return true
end

-- KEYS: the session, its user's index if it has one, and the session in whose place it comes, if any.
-- ARGV: idle, absolute, whose, data, how many sessions the user may have, whether one more is refused.
local function create(keys, args)
  local key, index, old = keys[1], keys[2], keys[3]
  if redis.call('EXISTS', key) == 1 then
    return { 'occupied' }
  end
  local session = { whose = args[3], data = args[4] }
  local before, none
  if old then
    before, none = find(old)
    if not before then
      return none
    end
    session.version, session.data = before.version, before.data
  end
  if index then
    -- It takes no room that it is about to leave.
    local place = old and redis.call('ZSCORE', index, member(old))
    if place then
      redis.call('ZREM', index, member(old))
    end
    if not make_room(index, key, tonumber(args[5]), args[6] == '1') then
      if place then
        enter(index, old, place)
      end
      return { 'full' }
    end
  end
  if before then
    remove(old, before)
  end
  session.created = time()
  session.last = session.created + tonumber(args[2])
  if index then
    enter(index, key, session.last)
  end
  return { 'ok', write(key, session, tonumber(args[1])) }
end

-- KEYS: the session. ARGV: idle. Answers when that was.
local function touch(keys, args)
  local session, none = find(keys[1])
  if not session then
    return none
  end
  local seconds = time()
  redis.call('SETRANGE', keys[1], 8, struct.pack('<I4', seconds))
  expire(keys[1], math.min(seconds + tonumber(args[1]), session.last))
  return seconds
end

-- KEYS: the session. ARGV: idle, the version it has to have, data.
local function save(keys, args)
  local session, none = find(keys[1])
  if not session then
    return none
  end
  if session.stamp ~= args[2] then
    return { 'conflict', session.stamp }
  end
  session.data = args[3]
  return { 'ok', write(keys[1], session, tonumber(args[1])) }
end

-- KEYS: the session, and the key it gets. ARGV: idle.
local function cycle(keys, args)
  local session, none = find(keys[1])
  if not session then
    return none
  end
  if redis.call('EXISTS', keys[2]) == 1 then
    return { 'occupied' }
  end
  remove(keys[1], session)
  if session.whose ~= '' then
    enter(index_of(keys[2], session), keys[2], session.last)
  end
  return { 'ok', write(keys[2], session, tonumber(args[1])) }
end

-- KEYS: the session. Answers its version and data.
local function take(keys)
  local session, none = find(keys[1])
  if not session then
    return none
  end
  remove(keys[1], session)
  return { 'ok', session.stamp, session.data }
end

-- KEYS: the session. Answers whether there was one.
local function revoke(keys)
  -- What is no session goes too, whatever it is.
  local value = redis.pcall('GET', keys[1])
  local session = type(value) == 'string' and read(value)
  if session then
    remove(keys[1], session)
    return 1
  end
  return redis.call('UNLINK', keys[1])
end

-- KEYS: the user's index. ARGV: what their sessions' keys begin with, and the one to spare. Answers how many.
local function revoke_user(keys, args)
  local ended = 0
  for _, other in ipairs(redis.call('ZRANGE', keys[1], 0, -1)) do
    if other ~= args[2] then
      ended = ended + redis.call('UNLINK', args[1] .. other)
      redis.call('ZREM', keys[1], other)
    end
  end
  return ended
end

-- KEYS: the user's index. ARGV: what their sessions' keys begin with. Answers what the keys end with, and values.
local function list(keys, args)
  local found = {}
  for _, other in ipairs(redis.call('ZRANGE', keys[1], 0, -1)) do
    local value = redis.call('GET', args[1] .. other)
    if value then
      found[#found + 1] = other
      found[#found + 1] = value
    else
      redis.call('ZREM', keys[1], other)
    end
  end
  return found
end
