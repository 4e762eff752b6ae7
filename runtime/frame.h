/* runtime/frame.h - how records lie in a frame, and frames in a stream of bytes: pure, bytes in and out.
 *
 *     frame  = body size in bytes (u32), count of records (u32), body
 *     record = size in bytes (u32), kind (u16), zero (u16), the bytes, zeros up to a multiple of 8
 *
 * Little endian. Everything is a multiple of 8, so that in a buffer aligned to 8 every record's bytes are. A
 * frame of no records is allowed: it says that the sender lives. What is not exactly so is garbage, and
 * nothing behind it is believed. The readers read no byte outside of what they are given.
 * Owns: nothing. Thread: any. Blocks: never. */
#ifndef RUNTIME_FRAME_H
#define RUNTIME_FRAME_H

#include "runtime/ending.h"

#define LR_FRAME_HEAD 8u         /* bytes */
#define LR_RECORD_HEAD 8u        /* bytes */
#define LR_FRAME_BODY_MIN 65536u /* every receiver takes frames of this body: batches stay below */

/* A record's bytes with what fills them up. */
static inline size_t lr_record_padded(size_t size_bytes) { return (size_bytes + 7u) & ~(size_t)7u; }
/* What a record takes in a body. */
static inline size_t lr_record_room(size_t size_bytes) { return LR_RECORD_HEAD + lr_record_padded(size_bytes); }

/* --- writing: the caller has made room --- */

void lr_frame_write_head(uint8_t *at, uint32_t body_bytes, uint32_t count);
void lr_record_write_head(uint8_t *at, uint32_t size_bytes, uint16_t kind);
/* Head, bytes and fill; returns how many bytes that were (lr_record_room). */
size_t lr_record_write(uint8_t *at, uint16_t kind, const void *bytes, uint32_t size_bytes);

/* --- reading --- */

typedef struct lr_frame_scan {
    size_t whole_bytes;  /* so many bytes at the beginning are whole frames */
    uint32_t frames;     /* that many */
    size_t next_bytes;   /* size of the frame that begins there, with its head; 0: its head is not whole */
} lr_frame_scan;

/* Where the frames in size_bytes end; looks at heads alone. GARBAGE, TOO_LARGE (a body above body_max), or OK. */
lr_ending LR_MUST_USE lr_frame_scan_bytes(const uint8_t *bytes, size_t size_bytes, size_t body_max, lr_frame_scan *out);

typedef struct lr_record {
    uint16_t kind;
    uint32_t size_bytes;
    const uint8_t *bytes; /* inside what was read */
} lr_record;

typedef struct lr_frame_reader {
    const uint8_t *at, *end; /* of the body */
    uint32_t left;           /* records */
} lr_frame_reader;

/* Begins to read the frame at bytes; size_bytes may go on behind it. *frame_bytes: its size. GARBAGE where
 * it is not whole. */
lr_ending LR_MUST_USE lr_frame_read(lr_frame_reader *reader, const uint8_t *bytes, size_t size_bytes,
                                      size_t *frame_bytes);
/* True: *out is the next record. False: the frame is read to its end, or *end says GARBAGE. */
bool lr_frame_next(lr_frame_reader *reader, lr_record *out, lr_ending *end);

#endif
