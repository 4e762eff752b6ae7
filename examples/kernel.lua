-- kernel.lua - kernels in C, written in the script, compiled when it first runs, called like any remote function.
--
-- A part of the Mandelbrot set is computed in bands, a task a band. Each band is a tensor that the kernel makes in the
-- object store: the second kernel is given its future and reads that very memory.

local lr = require "luarun"

-- No fused multiply-add, so that points near the border fall on the same side on every machine.
local k = lr.kernels{name = "mandelbrot", flags = {"-ffp-contract=off"}, source = [[
#include <luarun/kernel.h>

enum { WIDTH = 64, HEIGHT = 24, LIMIT = 200 };

/* How many steps the point x + iy stays within a circle of radius 2; LIMIT: it never leaves. */
static int steps(double x, double y)
{
    double a = 0, b = 0;
    int n = 0;
    for (; n < LIMIT && a * a + b * b <= 4; n++) {
        double next = a * a - b * b + x;
        b = 2 * a * b + y;
        a = next;
    }
    return n;
}

static int band(lr_call *call)
{
    int64_t first, count;
    lr_tensor out;
    if (lr_arg_integer(call, 1, &first) || lr_arg_integer(call, 2, &count)) return LR_ERR;
    if (first < 1 || count < 1 || first + count - 1 > HEIGHT)
        return lr_fail(call, "there are no rows %d to %d", (int)first, (int)(first + count - 1));
    if (lr_return_tensor(call, LR_U8, 2, (int64_t[]){count, WIDTH}, &out)) return LR_ERR;
    uint8_t *pixel = out.data;
    for (int64_t row = first - 1; row < first - 1 + count; row++) {
        if (lr_cancelled(call)) return LR_ERR;
        for (int column = 0; column < WIDTH; column++)
            *pixel++ = (uint8_t)steps(-2.2 + 3.2 * column / WIDTH, -1.2 + 2.4 * (double)row / HEIGHT);
    }
    return LR_OK;
}

static int count_inside(lr_call *call)
{
    lr_tensor pixels;
    double inside = 0;
    if (lr_arg_tensor(call, 1, LR_U8, 2, &pixels)) return LR_ERR;
    for (int64_t i = 0; i < pixels.count; i++)
        inside += ((const uint8_t *)pixels.data)[i] == LIMIT;
    return lr_return_number(call, inside);
}

LR_KERNELS({"band", band, "(first: integer, count: integer) -> u8[count, 64]", "rows of the picture", {0}},
           {"count_inside", count_inside, "(pixels: u8[n, m]) -> number", "how many never leave", {0}})
]]}

local shades = {[0] = " ", ".", ":", "-", "=", "+", "*", "%"}

local bands, counts = {}, {}
for i = 1, 6 do
  bands[i] = k.band(4 * i - 3, 4)
  counts[i] = k.count_inside(bands[i])
end

for _, band in ipairs(bands) do
  local pixels = band:get()
  for row = 1, pixels:size(1) do
    local line = {}
    for column = 1, pixels:size(2) do
      local n = pixels:get(row, column)
      line[column] = n == 200 and "#" or shades[math.min(math.floor(n / 2), 7)]
    end
    print((table.concat(line):gsub(" +$", "")))
  end
end

local inside = 0
for _, count in ipairs(lr.get(counts)) do inside = inside + count end
print(("%d of %d points never leave"):format(inside, 64 * 24))

print(select(2, k.band(23, 4):pget()).message)
