#include "runtime/control_redis_scripts.h"

#include <stdio.h>

/* What several scripts share. A number of Lua's is written with %.0f: .. would write 1.7e+15.
 *
 * next_version: one more than the last one. A counter that was not there starts at the server's clock in microseconds:
 * above every version that a store which lost its data has given. */
#define NEXT_VERSION                                                                                                   \
    "local function next_version(counter)\n"                                                                           \
    "  local n = redis.call('INCR', counter)\n"                                                                        \
    "  if n > 1 then return n end\n"                                                                                   \
    "  local t = redis.call('TIME')\n"                                                                                 \
    "  n = t[1] * 1000000 + t[2]\n"                                                                                    \
    "  redis.call('SET', counter, string.format('%.0f', n))\n"                                                         \
    "  return n\n"                                                                                                     \
    "end\n"

/* An answer of rows holds no more bytes than this, unless it is one row. */
#define PAGE_BYTES "1048576"

static const char *const scripts[LR_REDIS_SCRIPT_COUNT] = {
    /* At the beginning of a connection. KEYS format, version; ARGV format. Raises the counter to the clock: a replica
     * that took over may lack the last versions its primary gave. Returns 1, or the format that is there. */
    [LR_REDIS_SCRIPT_HELLO] =
        "local there = redis.call('GET', KEYS[1])\n"
        "if there and there ~= ARGV[1] then return there end\n"
        "local t = redis.call('TIME')\n"
        "local now = t[1] * 1000000 + t[2]\n"
        "if not there then redis.call('SET', KEYS[1], ARGV[1]) end\n"
        "if tonumber(redis.call('GET', KEYS[2]) or '0') < now then\n"
        "  redis.call('SET', KEYS[2], string.format('%.0f', now))\n"
        "end\n"
        "return 1\n",
    /* PUT and COMPARE_AND_SET. KEYS row, version, index of the table; ARGV owner (zeros: nobody), key, member of the
     * owner's index, prefix of those indexes, value, channel ('': wake nobody), expected version ('': any).
     * Returns the new version, or the row that is there (none: an empty list). */
    [LR_REDIS_SCRIPT_WRITE] = NEXT_VERSION
        "local nobody = string.rep('\\0', 16)\n"
        "local owner = ARGV[1]\n"
        "local head = redis.call('GETRANGE', KEYS[1], 0, 31)\n"
        "if ARGV[7] ~= '' then\n"
        "  local there = 0\n"
        "  if head ~= '' then there = tonumber(string.sub(head, 1, 16)) end\n"
        "  if there ~= tonumber(ARGV[7]) then return {redis.call('GET', KEYS[1]) or nil} end\n"
        "end\n"
        "local n = next_version(KEYS[2])\n"
        "redis.call('SET', KEYS[1], string.format('%016.0f', n) .. owner .. ARGV[5])\n"
        "local before = nobody\n"
        "if head == '' then redis.call('ZADD', KEYS[3], n, ARGV[2]) else before = string.sub(head, 17, 32) end\n"
        "if before ~= owner then\n"
        "  if before ~= nobody then redis.call('ZREM', ARGV[4] .. before, ARGV[3]) end\n"
        "  if owner ~= nobody then redis.call('ZADD', ARGV[4] .. owner, n, ARGV[3]) end\n"
        "end\n"
        "if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[6], '') end\n"
        "return n\n",
    /* KEYS row, index of the table; ARGV key, member of the owner's index, prefix of those indexes, channel.
     * Returns how many rows went. */
    [LR_REDIS_SCRIPT_DELETE] =
        "local head = redis.call('GETRANGE', KEYS[1], 0, 31)\n"
        "if head == '' then return 0 end\n"
        "redis.call('UNLINK', KEYS[1])\n"
        "redis.call('ZREM', KEYS[2], ARGV[1])\n"
        "local owner = string.sub(head, 17, 32)\n"
        "if owner ~= string.rep('\\0', 16) then redis.call('ZREM', ARGV[3] .. owner, ARGV[2]) end\n"
        "if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], '') end\n"
        "return 1\n",
    /* KEYS index (of a table or an owner); ARGV cursor, rows wanted, prefix of the members wanted, prefix that makes a
     * member a row's key, members to look at. Returns the cursor (0: all), then member and row by turns. */
    [LR_REDIS_SCRIPT_SCAN] =
        "local from = '(' .. ARGV[1]\n"
        "local found = redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[5])\n"
        "local limit, prefix, answer, bytes, last = tonumber(ARGV[2]), ARGV[3], {'0'}, 0, nil\n"
        "for i = 1, #found, 2 do\n"
        "  if string.sub(found[i], 1, #prefix) == prefix then\n"
        "    local row = redis.call('GET', ARGV[4] .. found[i])\n"
        "    if row then\n"
        "      if bytes > 0 and bytes + #row > " PAGE_BYTES " then break end\n"
        "      answer[#answer + 1] = found[i]\n"
        "      answer[#answer + 1] = row\n"
        "      bytes = bytes + #row\n"
        "    end\n"
        "  end\n"
        "  last = i + 1\n"
        "  if #answer > 2 * limit then break end\n"
        "end\n"
        "if last and (last < #found or #found == 2 * tonumber(ARGV[5])) then\n"
        "  answer[1] = string.format('%.0f', tonumber(found[last]))\n"
        "end\n"
        "return answer\n",
    /* KEYS index of the owner; ARGV prefix of all our keys, rows to remove at most, 1 to wake.
     * Returns how many went: fewer than asked for when there are no more. */
    [LR_REDIS_SCRIPT_DELETE_OWNED] =
        "local found = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)\n"
        "for i = 1, #found do\n"
        "  local table, key = string.match(found[i], '^(%a+):(.*)$')\n"
        "  redis.call('UNLINK', ARGV[1] .. 'row:' .. found[i])\n"
        "  redis.call('ZREM', ARGV[1] .. 'index:' .. table, key)\n"
        "  if ARGV[3] == '1' then redis.call('PUBLISH', ARGV[1] .. 'wake:' .. found[i], '') end\n"
        "end\n"
        "if #found > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #found - 1) end\n"
        "return #found\n",
    /* KEYS entries, their counter; ARGV value, entries to keep, channel. Returns the entry's number. */
    [LR_REDIS_SCRIPT_APPEND] =
        "local n = redis.call('INCR', KEYS[2])\n"
        "if redis.call('RPUSH', KEYS[1], ARGV[1]) > tonumber(ARGV[2]) then\n"
        "  redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)\n"
        "end\n"
        "if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], '') end\n"
        "return n\n",
    /* KEYS entries, their counter; ARGV cursor, entries wanted. Returns the first one's number, then entries. */
    [LR_REDIS_SCRIPT_READ] =
        "local last, length = tonumber(redis.call('GET', KEYS[2]) or '0'), redis.call('LLEN', KEYS[1])\n"
        "local at, limit = math.max(tonumber(ARGV[1]) - (last - length), 0), tonumber(ARGV[2])\n"
        "local answer, bytes = {last - length + at + 1}, 0\n"
        "while #answer <= limit and bytes < " PAGE_BYTES " do\n"
        "  local some = redis.call('LRANGE', KEYS[1], at, at + 7)\n"
        "  if #some == 0 then break end\n"
        "  at = at + #some\n"
        "  for i = 1, #some do\n"
        "    if #answer > limit or (bytes > 0 and bytes + #some[i] > " PAGE_BYTES ") then return answer end\n"
        "    answer[#answer + 1] = some[i]\n"
        "    bytes = bytes + #some[i]\n"
        "  end\n"
        "end\n"
        "return answer\n",
};

static char hashes[LR_REDIS_SCRIPT_COUNT][LR_REDIS_SHA_TEXT];

static uint32_t roll(uint32_t x, int bits) { return x << bits | x >> (32 - bits); }

static void sha1_block(uint32_t h[5], const uint8_t block[64])
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = roll(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
        uint32_t t = roll(a, 5) + f + e + k[i / 20] + w[i];
        e = d, d = c, c = roll(b, 30), b = a, a = t;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

void lr_redis_sha1(const void *bytes, size_t size_bytes, char text[LR_REDIS_SHA_TEXT])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *at = bytes;
    size_t left = size_bytes;
    for (; left >= 64; left -= 64, at += 64)
        sha1_block(h, at);
    uint8_t tail[128] = {0};
    if (left > 0) memcpy(tail, at, left);
    tail[left] = 0x80;
    size_t padded = left < 56 ? 64 : 128;
    for (size_t i = 0; i < 8; i++)
        tail[padded - 1 - i] = (uint8_t)((uint64_t)size_bytes * 8 >> (8 * i));
    for (size_t i = 0; i < padded; i += 64)
        sha1_block(h, tail + i);
    for (int i = 0; i < 5; i++)
        snprintf(text + 8 * i, 9, "%08x", h[i]);
}

void lr_redis_scripts_init(void)
{
    for (int i = 0; i < LR_REDIS_SCRIPT_COUNT; i++)
        lr_redis_sha1(scripts[i], strlen(scripts[i]), hashes[i]);
}

const char *lr_redis_script_text(lr_redis_script script) { return scripts[script]; }

const char *lr_redis_script_sha(lr_redis_script script) { return hashes[script]; }
