/* tests/fuzz/frame_fuzz.c - what a peer that is up may send: bytes into the scan, and what it finds into the reader.
 *
 * Whatever the scan calls whole frames must be readable or garbage, never lead outside of the bytes (each input lies in a
 * block of its own, so that the address sanitizer sees it), and what is read must be written as it was. */
#include "runtime/frame.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#define BODY_MAX 4096

size_t lr_fuzz_seed(unsigned index, uint8_t *bytes, size_t room)
{
    static const uint32_t sizes[][3] = {{0, 1, 7}, {8, 100, 0}, {300, 16, 9}};
    size_t at = 0;
    if (index > 3 || room < 2048) return 0;
    for (unsigned f = 0; f <= index && f < 3; f++) {
        size_t start = at;
        at += LR_FRAME_HEAD;
        for (unsigned r = 0; r < 3; r++)
            at += lr_record_write(bytes + at, (uint16_t)(r * 300), "0123456789abcdef", sizes[f][r] > 16 ? 16 : sizes[f][r]);
        lr_frame_write_head(bytes + start, (uint32_t)(at - start - LR_FRAME_HEAD), 3);
    }
    if (index == 3) {
        lr_frame_write_head(bytes + at, 0, 0);
        at += LR_FRAME_HEAD + 3; /* and a head that is not whole */
    }
    return at;
}

static void read_frames(const uint8_t *bytes, size_t whole_bytes, uint32_t frames)
{
    size_t at = 0, frame_bytes;
    uint8_t again[BODY_MAX];
    for (uint32_t i = 0; i < frames; i++, at += frame_bytes) {
        lr_frame_reader reader;
        lr_record record;
        lr_ending end = lr_frame_read(&reader, bytes + at, whole_bytes - at, &frame_bytes);
        LR_ASSERT(end == LR_ENDING_OK); /* the scan has said so */
        while (lr_frame_next(&reader, &record, &end)) {
            size_t n = lr_record_write(again, record.kind, record.bytes, record.size_bytes);
            LR_ASSERT(memcmp(again, record.bytes - LR_RECORD_HEAD, n) == 0);
        }
    }
    LR_ASSERT(at == whole_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    uint8_t *own = malloc(size_bytes + 1);
    LR_ASSERT(own);
    memcpy(own, bytes, size_bytes);
    uint8_t *exact = realloc(own, size_bytes ? size_bytes : 1);
    lr_frame_scan scan;
    lr_ending end = lr_frame_scan_bytes(exact, size_bytes, BODY_MAX, &scan);
    LR_ASSERT(scan.whole_bytes <= size_bytes && scan.next_bytes <= LR_FRAME_HEAD + BODY_MAX);
    if (end == LR_ENDING_OK || scan.frames > 0) read_frames(exact, scan.whole_bytes, scan.frames);
    free(exact);
    return 0;
}
