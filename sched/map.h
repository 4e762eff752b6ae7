/* sched/map.h - a hash map from ids to pointers in memory of the caller's.
 *
 * Open addressing with linear probing and removal by shifting back (Knuth 6.4, algorithm R): no tombstones,
 * so it does not decay. It never grows by itself: put answers false when it is full (7/8 of the slots), and the
 * owner gives it more with lr_map_move or refuses; lr_map_add is for owners that have an allocator.
 * Owns: nothing; neither slots nor what the pointers point to. Thread: the owner's. Blocks: never. */
#ifndef SCHED_MAP_H
#define SCHED_MAP_H

#include "sched/allocator.h"
#include "sched/id.h"

typedef struct lr_map_slot {
    lr_id key; /* nil: empty */
    void *value;
} lr_map_slot;

typedef struct lr_map {
    lr_map_slot *slots;
    size_t slot_count; /* a power of two */
    size_t count;
} lr_map;

/* An empty map over slot_count slots (a power of two, 8 at least), which it clears. */
void lr_map_init(lr_map *map, lr_map_slot *slots, size_t slot_count);
/* The value of a key, or NULL. */
void *lr_map_get(const lr_map *map, lr_id key);
/* Sets the value (not NULL) of a key (not nil). False: the key is new and the map is full. */
bool lr_map_put(lr_map *map, lr_id key, void *value) LR_MUST_USE;
/* Takes a key out and returns its value, or NULL where it was not in. */
void *lr_map_remove(lr_map *map, lr_id key);
/* How many keys fit into that many slots. */
size_t lr_map_limit(size_t slot_count);
/* Moves everything to other slots, which it clears first; there must be room. Returns the old slots. */
lr_map_slot *lr_map_move(lr_map *map, lr_map_slot *slots, size_t slot_count);
/* Walks: the value at or behind *position, which is advanced past it; NULL at the end. Start with 0; no
 * change of the map in between. The order means nothing. */
void *lr_map_next(const lr_map *map, size_t *position);

/* As put, with slots from the allocator, doubled when they are full. A map of zeros is an empty one. False: no memory,
 * nothing is changed. Such a map is given back by lr_map_free. */
bool lr_map_add(lr_map *map, lr_id key, void *value, const lr_allocator *a) LR_MUST_USE;
void lr_map_free(lr_map *map, const lr_allocator *a);
/* As get and remove, for a map that may be of zeros still. */
static inline void *lr_map_find(const lr_map *map, lr_id key) { return map->slots ? lr_map_get(map, key) : NULL; }
static inline void *lr_map_take(lr_map *map, lr_id key) { return map->slots ? lr_map_remove(map, key) : NULL; }

#endif
