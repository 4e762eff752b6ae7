#include "bindings/commands.h"

bool lr_command_is(const char *word)
{
    (void)word;
    return false;
}

int lr_command_run(struct lua_State *L, const lr_cli *cli)
{
    (void)L;
    (void)cli;
    return 1;
}
