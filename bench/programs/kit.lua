-- kit.lua - what luarun's own side of the benchmark shares: arguments, quantiles, the answer. Each program measures
-- one thing once, after its own warm-up, by the protocol of bench/peers/work.h:
--
--   luarun [options] bench/programs/NAME.lua [key=value ...]      prints one flat JSON object as its last line
--
-- Seconds, and rates per second. What is measured is the public interface only, as a user would write it.

local kit = {}

local given = {}
for _, word in ipairs(arg) do
  local key, value = word:match("^([%w_]+)=(.*)$")
  if not key then error("key=value wanted, '" .. word .. "' given", 0) end
  given[key] = value
end

---The number given as key=value, or `otherwise`.
function kit.number(key, otherwise) return tonumber(given[key]) or otherwise end

---The text given as key=value, or `otherwise`.
function kit.text(key, otherwise) return given[key] or otherwise end

---The value below which so much (0 to 1) of the list lies; sorts it.
function kit.quantile(list, q)
  table.sort(list)
  return list[math.min(#list, math.floor(q * #list) + 1)]
end

---Prints the answer: a list of names and numbers.
function kit.answer(values)
  local words = {}
  for name, value in pairs(values) do words[#words + 1] = ("%q: %.9g"):format(name, value) end
  table.sort(words)
  print("{" .. table.concat(words, ", ") .. "}")
end

---The answer of something done `count` times in so many seconds.
function kit.rate(count, seconds) kit.answer{count = count, seconds = seconds, rate = count / seconds} end

---The answer of a list of seconds.
function kit.latency(list)
  kit.answer{count = #list, p50 = kit.quantile(list, 0.5), p99 = kit.quantile(list, 0.99)}
end

---Bytes of this process that are in memory, from /proc.
function kit.resident_bytes()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^VmRSS:%s+(%d+)")
    if kilobytes then return tonumber(kilobytes) * 1024 end
  end
  error("no VmRSS in /proc/self/status", 0)
end

---The directory of this file, for `package.path`, is where the programs lie: they say
---`package.path = arg[0]:match("^(.*/)") .. "?.lua;" .. package.path` before they require this one.
return kit
