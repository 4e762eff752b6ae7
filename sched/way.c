#include "sched/way.h"

void lr_ways_init(lr_ways *ways, const lr_allocator *a)
{
    *ways = (lr_ways){.allocator = a, .first_ns = LR_NEVER};
    lr_list_init(&ways->all);
}

lr_way *lr_ways_find(const lr_ways *ways, lr_id node) { return lr_map_find(&ways->map, node); }

static void release(lr_ways *ways, lr_way *w)
{
    if (w->address) ways->allocator->release(ways->allocator->user, w->address, w->address_bytes + 1);
    ways->allocator->release(ways->allocator->user, w, sizeof *w);
}

static void sets(lr_ways *ways, lr_way *w, uint64_t at_ns)
{
    w->at_ns = at_ns;
    if (at_ns < ways->first_ns) ways->first_ns = at_ns;
}

lr_way *lr_ways_add(lr_ways *ways, lr_id node, const char *address, size_t address_bytes, uint64_t now_ns)
{
    lr_way *w = ways->allocator->allocate(ways->allocator->user, sizeof *w);
    if (!w) return NULL;
    *w = (lr_way){.node = node, .address_bytes = address_bytes};
    lr_list_init(&w->waiting);
    w->address = ways->allocator->allocate(ways->allocator->user, address_bytes + 1);
    if (!w->address || !lr_map_add(&ways->map, node, w, ways->allocator)) {
        release(ways, w);
        return NULL;
    }
    memcpy(w->address, address, address_bytes);
    w->address[address_bytes] = 0;
    lr_list_append(&ways->all, &w->link);
    sets(ways, w, now_ns);
    return w;
}

void lr_ways_drop(lr_ways *ways, lr_way *w)
{
    LR_ASSERT(lr_list_empty(&w->waiting));
    lr_map_take(&ways->map, w->node);
    lr_link_remove(&w->link);
    release(ways, w);
}

lr_way *lr_ways_due(lr_ways *ways, uint64_t now_ns)
{
    if (now_ns < ways->first_ns) return NULL;
    ways->first_ns = LR_NEVER;
    for (lr_link *l = lr_list_first(&ways->all); l; l = lr_list_next(&ways->all, l)) {
        lr_way *w = LR_CONTAINER(l, lr_way, link);
        if (w->at_ns < ways->first_ns) ways->first_ns = w->at_ns;
        if (w->at_ns <= now_ns) return w;
    }
    return NULL;
}

uint64_t lr_ways_deadline(const lr_ways *ways) { return ways->first_ns; }

void lr_way_try(lr_ways *ways, lr_way *w, uint64_t now_ns)
{
    w->trying = true;
    sets(ways, w, now_ns + LR_WAY_TRY_NS);
}

void lr_way_failed(lr_ways *ways, lr_way *w, uint64_t now_ns)
{
    uint64_t pause = LR_WAY_PAUSE_NS;
    for (uint32_t i = 0; i < w->tries && pause < LR_WAY_PAUSE_MOST_NS; i++)
        pause *= 4;
    w->trying = false;
    w->tries++;
    sets(ways, w, now_ns + (pause < LR_WAY_PAUSE_MOST_NS ? pause : LR_WAY_PAUSE_MOST_NS));
}

void lr_ways_fini(lr_ways *ways)
{
    lr_link *l;
    while ((l = lr_list_pop(&ways->all)))
        release(ways, LR_CONTAINER(l, lr_way, link));
    lr_map_free(&ways->map, ways->allocator);
}
