#include "runtime/allocator.h"

#include <stdlib.h>

static void *allocate(void *user, size_t size_bytes)
{
    (void)user;
    return malloc(size_bytes);
}

static void give_back(void *user, void *memory, size_t size_bytes)
{
    (void)user;
    (void)size_bytes;
    free(memory);
}

const lr_allocator lr_process_allocator = {allocate, give_back, NULL};
