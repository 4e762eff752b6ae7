/* sched/list.h - an intrusive doubly linked list.
 *
 * Owns: nothing; the links live inside the elements, whose memory is the caller's. A link is in at
 * most one list; a link of zeros is in none. All operations take constant time.
 * Thread: the owner's. Blocks: never. */
#ifndef SCHED_LIST_H
#define SCHED_LIST_H

#include "sched/base.h"

typedef struct lr_link {
    struct lr_link *prev, *next; /* both NULL: in no list */
} lr_link;

typedef struct lr_list {
    lr_link head; /* a ring: head.next is the first, head.prev the last */
} lr_list;

static inline void lr_list_init(lr_list *list) { list->head.prev = list->head.next = &list->head; }
static inline bool lr_list_empty(const lr_list *list) { return list->head.next == &list->head; }
static inline bool lr_link_in_list(const lr_link *link) { return link->next != NULL; }

/* The first link, or NULL. */
static inline lr_link *lr_list_first(const lr_list *list)
{
    return lr_list_empty(list) ? NULL : list->head.next;
}

/* The link behind one that is in the list, or NULL at the end. */
static inline lr_link *lr_list_next(const lr_list *list, const lr_link *link)
{
    return link->next == &list->head ? NULL : link->next;
}

static inline void lr_list_append(lr_list *list, lr_link *link)
{
    LR_ASSERT(!lr_link_in_list(link));
    link->prev = list->head.prev;
    link->next = &list->head;
    list->head.prev->next = link;
    list->head.prev = link;
}

static inline void lr_list_prepend(lr_list *list, lr_link *link)
{
    LR_ASSERT(!lr_link_in_list(link));
    link->next = list->head.next;
    link->prev = &list->head;
    list->head.next->prev = link;
    list->head.next = link;
}

/* Takes a link out of the list it is in. */
static inline void lr_link_remove(lr_link *link)
{
    LR_ASSERT(lr_link_in_list(link));
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
}

/* Takes the first link out, or returns NULL. */
static inline lr_link *lr_list_pop(lr_list *list)
{
    lr_link *first = lr_list_first(list);
    if (first) lr_link_remove(first);
    return first;
}

#endif
