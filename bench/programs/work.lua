-- work.lua - the benchmark's unit of work (bench_work in bench/peers/work.h) as a kernel: work(iterations, x, ...)
-- adds what it is given and works so long on it.
local lr = require "luarun"

local file = assert(io.open(arg[0]:match("^(.*/)") .. "../peers/work.h"))
local header = file:read("*a")
file:close()

return lr.kernels{name = "bench_work", source = [[
#include <luarun/kernel.h>
]] .. header .. [[
static int work(lr_call *call)
{
    int64_t iterations;
    double x = 0, more;
    if (lr_arg_integer(call, 1, &iterations) != LR_OK) return LR_ERR;
    for (int i = 2; i <= lr_arg_count(call); i++) {
        if (lr_arg_number(call, i, &more) != LR_OK) return LR_ERR;
        x += more;
    }
    lr_return_number(call, bench_work((long)iterations, x));
    return LR_OK;
}
LR_KERNELS({"work", work, NULL, "so many units of work on the sum of what is given", {0}})
]]}
