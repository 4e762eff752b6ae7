--- Tables, times and sizes for people: pure, a value in, text out.

local text = {}

---"0.4 s", "12 s", "5 min", "3 h", "2 d"
function text.span(seconds)
  if not seconds then return "-" end
  if seconds < 0 then seconds = 0 end
  if seconds < 10 then return ("%.1f s"):format(seconds) end
  if seconds < 120 then return ("%.0f s"):format(seconds) end
  if seconds < 7200 then return ("%.0f min"):format(seconds / 60) end
  if seconds < 172800 then return ("%.0f h"):format(seconds / 3600) end
  return ("%.0f d"):format(seconds / 86400)
end

---"812 B", "1.2 MB"
function text.size(bytes)
  if not bytes then return "-" end
  local units, i = { "B", "kB", "MB", "GB", "TB" }, 1
  while bytes >= 1000 and i < #units do bytes, i = bytes / 1000, i + 1 end
  return (i == 1 and "%.0f %s" or "%.1f %s"):format(bytes, units[i])
end

---{ gpu = 1, cpu = 2 } as "cpu 2, gpu 1"
function text.amounts(amounts)
  local parts = {}
  for name, amount in pairs(amounts or {}) do
    parts[#parts + 1] = name .. " " .. (name == "memory" and text.size(amount) or ("%g"):format(amount))
  end
  table.sort(parts)
  return #parts > 0 and table.concat(parts, ", ") or "-"
end

-- What does not print would move the terminal's cursor.
local function plain(value)
  if value == nil then return "-" end
  return (tostring(value):gsub("[%c\127]", " "))
end

---Rows under heads, in columns as wide as what stands in them.
---@param heads string[]
---@param lines any[][]
---@param indent? string
function text.columns(heads, lines, indent)
  local widths, out = {}, {}
  local all = { heads }
  for _, line in ipairs(lines) do all[#all + 1] = line end
  for _, line in ipairs(all) do
    for i = 1, #heads do
      line[i] = plain(line[i])
      widths[i] = math.max(widths[i] or 0, #line[i])
    end
  end
  for _, line in ipairs(all) do
    local parts = {}
    for i = 1, #heads do parts[i] = i == #heads and line[i] or line[i] .. (" "):rep(widths[i] - #line[i]) end
    out[#out + 1] = (indent or "") .. table.concat(parts, "  ")
  end
  return table.concat(out, "\n") .. "\n"
end

return text
