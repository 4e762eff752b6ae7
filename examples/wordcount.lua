-- Map and reduce: counts words of texts in tasks, then merges the counts two by two. Tables are copied on the way;
-- every future passed as an argument is a dependency, so that the whole tree of merges is submitted at once.
--   luarun examples/wordcount.lua [FILE...]

local lr = require "luarun"

local texts = {}
for i = 1, #arg do
  local file = assert(io.open(arg[i]))
  texts[i] = file:read "*a"
  file:close()
end
if #texts == 0 then
  texts = {
    "the quick brown fox jumps over the lazy dog",
    "the dog sleeps and the fox runs",
    "a fox is quick and a dog is not",
    "over the hill and far away",
  }
end

local count = lr.remote(function(text)
  local counts = {}
  for word in text:lower():gmatch "%a+" do counts[word] = (counts[word] or 0) + 1 end
  return counts
end)

local merge = lr.remote(function(a, b)
  for word, n in pairs(b) do a[word] = (a[word] or 0) + n end
  return a
end)

local level = {}
for i, text in ipairs(texts) do level[i] = count(text) end
while #level > 1 do
  local next_level = {}
  for i = 1, #level, 2 do
    next_level[#next_level + 1] = level[i + 1] and merge(level[i], level[i + 1]) or level[i]
  end
  level = next_level
end

local words = {}
for word, n in pairs(level[1]:get()) do words[#words + 1] = { word = word, n = n } end
table.sort(words, function(a, b)
  if a.n ~= b.n then return a.n > b.n end
  return a.word < b.word
end)
for i = 1, math.min(5, #words) do print(words[i].n, words[i].word) end
