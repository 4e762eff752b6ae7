#include "sched/map.h"

static size_t home(const lr_map *map, lr_id key)
{
    return (size_t)(lr_mix64(key.hi ^ lr_mix64(key.lo)) & (map->slot_count - 1));
}

static size_t step(const lr_map *map, size_t i) { return (i + 1) & (map->slot_count - 1); }

void lr_map_init(lr_map *map, lr_map_slot *slots, size_t slot_count)
{
    LR_ASSERT(slot_count >= 8 && (slot_count & (slot_count - 1)) == 0);
    memset(slots, 0, slot_count * sizeof *slots);
    *map = (lr_map){slots, slot_count, 0};
}

size_t lr_map_limit(size_t slot_count) { return slot_count - slot_count / 8; }

/* The slot of a key, or the empty slot where it would go. There is always an empty one. */
static lr_map_slot *find(const lr_map *map, lr_id key)
{
    LR_ASSERT(!lr_id_is_nil(key));
    size_t i = home(map, key);
    while (!lr_id_is_nil(map->slots[i].key) && !lr_id_equal(map->slots[i].key, key))
        i = step(map, i);
    return &map->slots[i];
}

void *lr_map_get(const lr_map *map, lr_id key) { return find(map, key)->value; }

bool lr_map_put(lr_map *map, lr_id key, void *value)
{
    LR_ASSERT(value != NULL);
    lr_map_slot *slot = find(map, key);
    if (lr_id_is_nil(slot->key)) {
        if (map->count >= lr_map_limit(map->slot_count)) return false;
        map->count++;
        slot->key = key;
    }
    slot->value = value;
    return true;
}

/* Closes the hole at i: moves back every later slot of the run that may stand there. */
static void close_hole(lr_map *map, size_t hole)
{
    size_t mask = map->slot_count - 1;
    for (size_t i = step(map, hole); !lr_id_is_nil(map->slots[i].key); i = step(map, i)) {
        size_t from_home = (i - home(map, map->slots[i].key)) & mask;
        size_t from_hole = (i - hole) & mask;
        if (from_home < from_hole) continue; /* its home lies behind the hole */
        map->slots[hole] = map->slots[i];
        hole = i;
    }
    map->slots[hole] = (lr_map_slot){LR_ID_NIL, NULL};
}

void *lr_map_remove(lr_map *map, lr_id key)
{
    lr_map_slot *slot = find(map, key);
    if (lr_id_is_nil(slot->key)) return NULL;
    void *value = slot->value;
    map->count--;
    close_hole(map, (size_t)(slot - map->slots));
    return value;
}

lr_map_slot *lr_map_move(lr_map *map, lr_map_slot *slots, size_t slot_count)
{
    lr_map old = *map;
    LR_ASSERT(old.count <= lr_map_limit(slot_count));
    lr_map_init(map, slots, slot_count);
    for (size_t i = 0; i < old.slot_count; i++)
        if (!lr_id_is_nil(old.slots[i].key)) *find(map, old.slots[i].key) = old.slots[i];
    map->count = old.count;
    return old.slots;
}

void *lr_map_next(const lr_map *map, size_t *position)
{
    while (*position < map->slot_count) {
        const lr_map_slot *slot = &map->slots[(*position)++];
        if (!lr_id_is_nil(slot->key)) return slot->value;
    }
    return NULL;
}

#define FIRST_SLOTS 16

bool lr_map_add(lr_map *map, lr_id key, void *value, const lr_allocator *a)
{
    if (map->slots && lr_map_put(map, key, value)) return true;
    size_t old_count = map->slot_count, count = map->slots ? 2 * old_count : FIRST_SLOTS;
    lr_map_slot *slots = a->allocate(a->user, count * sizeof *slots);
    if (!slots) return false;
    if (map->slots) {
        lr_map_slot *old = lr_map_move(map, slots, count);
        a->release(a->user, old, old_count * sizeof *old);
    } else {
        lr_map_init(map, slots, count);
    }
    return lr_map_put(map, key, value);
}

void lr_map_free(lr_map *map, const lr_allocator *a)
{
    if (map->slots) a->release(a->user, map->slots, map->slot_count * sizeof *map->slots);
    *map = (lr_map){0};
}
