//! What Redis does in one step. Every script touches keys of one slot only.
//!
//! A session is a hash: `g`eneration, `e`xpiry as the caller said it, `i`ndex of its sid, index of its s`u`b, sealed
//! `v`alue, lease `o`wner and `l`ease end. Times are milliseconds; all but `e` are by the server's clock.

use redis::{Cmd, Script, ToRedisArgs};

/// Adds a member to a sorted set by expiry, drops those that expired, and lets the set expire with its last one.
const KEEP: &str = "
local function keep(set, member, expires, now)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', now)
  redis.call('ZADD', set, expires, member)
  redis.call('PEXPIREAT', set, redis.call('ZRANGE', set, -1, -1, 'WITHSCORES')[2])
end
";

/// Tells other processes. A process that is asleep for longer than the feed reads everything again.
const TELL: &str = "
local function tell(feed, member, generation, origin)
  redis.call('XADD', feed, 'MAXLEN', '~', 1000, '*', 'k', member, 'g', generation, 'o', origin)
  redis.call('PEXPIRE', feed, 86400000)
end
";

/// Keys: session, all. Arguments: generation, expiry, sid, sub, sealed, end, now, member. Whether it is stored: a
/// repetition of the same write is, another value is not.
const INSERT: &str = "
local there = redis.call('HMGET', KEYS[1], 'g', 'v')
if there[1] then return there[1] == ARGV[1] and there[2] == ARGV[5] and 1 or 0 end
redis.call('HSET', KEYS[1], 'g', ARGV[1], 'e', ARGV[2], 'i', ARGV[3], 'u', ARGV[4], 'v', ARGV[5])
redis.call('PEXPIREAT', KEYS[1], ARGV[6])
keep(KEYS[2], ARGV[8], ARGV[6], ARGV[7])
return 1
";

/// Keys: session, all, feed. Arguments: those of [`INSERT`], expected generation, origin.
const SWAP: &str = "
local g = redis.call('HGET', KEYS[1], 'g')
if not g then return {'gone'} end
if g ~= ARGV[9] then return {'conflict', g} end
redis.call('HSET', KEYS[1], 'g', ARGV[1], 'e', ARGV[2], 'i', ARGV[3], 'u', ARGV[4], 'v', ARGV[5])
redis.call('HDEL', KEYS[1], 'o', 'l')
redis.call('PEXPIREAT', KEYS[1], ARGV[6])
keep(KEYS[2], ARGV[8], ARGV[6], ARGV[7])
tell(KEYS[3], ARGV[8], ARGV[1], ARGV[10])
return {'swapped'}
";

/// Keys: session, all. Arguments: expiry, end, now, member. Whether there is
/// such a row; one that lasts longer stays as it is.
const EXTEND: &str = "
local e = redis.call('HGET', KEYS[1], 'e')
if not e then return 0 end
if tonumber(e) >= tonumber(ARGV[1]) then return 1 end
redis.call('HSET', KEYS[1], 'e', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
keep(KEYS[2], ARGV[4], ARGV[2], ARGV[3])
return 1
";

/// Keys: session, all, feed. Arguments: member, origin. Gives the index keys of what was deleted.
const DELETE: &str = "
local was = redis.call('HMGET', KEYS[1], 'i', 'u')
if redis.call('DEL', KEYS[1]) == 0 then return {} end
redis.call('ZREM', KEYS[2], ARGV[1])
tell(KEYS[3], ARGV[1], '', ARGV[2])
return was
";

/// Keys: session. Arguments: owner, generation, now, end.
const LEASE: &str = "
local row = redis.call('HMGET', KEYS[1], 'g', 'o', 'l')
if not row[1] then return {'gone'} end
if row[1] ~= ARGV[2] then return {'moved', row[1]} end
if row[2] and row[2] ~= ARGV[1] and tonumber(row[3]) > tonumber(ARGV[3]) then return {'held', row[3]} end
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'l', ARGV[4])
return {'granted'}
";

/// Keys: session. Arguments: owner, end.
const RELEASE: &str = "
if redis.call('HGET', KEYS[1], 'o') == ARGV[1] then redis.call('HSET', KEYS[1], 'l', ARGV[2]) end
return 1
";

/// Keys: index. Arguments: member, end, now.
const INDEX: &str = "
keep(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return 1
";

/// Keys: session, all. Arguments: member, now by the caller's clock. Redis has mostly dropped the session already.
const EXPIRE: &str = "
local e = redis.call('HGET', KEYS[1], 'e')
if e and tonumber(e) > tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
";

/// A script, called by its hash, and by its text where the server does not know it yet.
pub(super) struct Lua {
    text: String,
    hash: String,
}

impl Lua {
    fn new(text: String) -> Self {
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Calls it by its hash: short on the wire.
    pub(super) fn by_hash<A: ToRedisArgs>(&self, keys: &[&str], arguments: &[A]) -> Cmd {
        Self::call("EVALSHA", &self.hash, keys, arguments)
    }

    /// Calls it by its text, which the server then remembers.
    pub(super) fn by_text<A: ToRedisArgs>(&self, keys: &[&str], arguments: &[A]) -> Cmd {
        Self::call("EVAL", &self.text, keys, arguments)
    }

    fn call<A: ToRedisArgs>(command: &str, script: &str, keys: &[&str], arguments: &[A]) -> Cmd {
        let mut call = redis::cmd(command);
        call.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        call
    }
}

/// All of them.
pub(super) struct Scripts {
    pub(super) insert: Lua,
    pub(super) swap: Lua,
    pub(super) extend: Lua,
    pub(super) delete: Lua,
    pub(super) lease: Lua,
    pub(super) release: Lua,
    pub(super) index: Lua,
    pub(super) expire: Lua,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let lua = |parts: &[&str]| Lua::new(parts.concat());
        Self {
            insert: lua(&[KEEP, INSERT]),
            swap: lua(&[KEEP, TELL, SWAP]),
            extend: lua(&[KEEP, EXTEND]),
            delete: lua(&[TELL, DELETE]),
            lease: lua(&[LEASE]),
            release: lua(&[RELEASE]),
            index: lua(&[KEEP, INDEX]),
            expire: lua(&[EXPIRE]),
        }
    }
}
