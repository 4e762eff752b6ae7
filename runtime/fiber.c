/* Fibers: mapping stacks, and the switch, written for each processor. */
#define _GNU_SOURCE
#include "runtime/fiber.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_THREAD__)
#define STACK_BYTES (2u << 20) /* mapping and unmapping costs it by the byte */
#else
#define STACK_BYTES (64u << 20) /* address space; kernels run here, and those may need much */
#endif
#define GUARD_BYTES 65536u
#define FIBERS_MAX 16000u       /* each takes two of the 65,530 maps a process may have */

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

static _Atomic uint32_t fibers;
static _Thread_local lr_fiber *arriving, *leaving;

/* lr_fiber_swap(&save, load): pushes what a callee preserves, stores the stack pointer, takes the other. */
void lr_fiber_swap(void **save, void *load);

#if defined(__x86_64__)
#define FRAME_WORDS 9 /* control words, r15..r12, rbx, rbp, return address, an end for unwinders */
#define RETURN_WORD 7
__asm__(".text\n.globl lr_fiber_swap\n.hidden lr_fiber_swap\n.type lr_fiber_swap,@function\n"
        "lr_fiber_swap:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  subq $8, %rsp\n  stmxcsr (%rsp)\n  fnstcw 4(%rsp)\n"
        "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
        "  ldmxcsr (%rsp)\n  fldcw 4(%rsp)\n  addq $8, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n.size lr_fiber_swap,.-lr_fiber_swap\n");
static void first_controls(uint64_t *frame)
{
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0\n fnstcw %1" : "=m"(mxcsr), "=m"(control));
    frame[0] = mxcsr | (uint64_t)control << 32;
}
#elif defined(__aarch64__)
#define FRAME_WORDS 20 /* x19..x30, d8..d15 */
#define RETURN_WORD 11
__asm__(".text\n.globl lr_fiber_swap\n.hidden lr_fiber_swap\n.type lr_fiber_swap,%function\n"
        "lr_fiber_swap:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n  str x9, [x0]\n  mov sp, x1\n"
        "  ldp x19, x20, [sp]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n"
        "  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #160\n  ret\n.size lr_fiber_swap,.-lr_fiber_swap\n");
static void first_controls(uint64_t *frame) { (void)frame; }
#else
#error "lr_fiber_swap is written for x86-64 and aarch64; add this processor's"
#endif

/* What sanitizers must know of a switch: before it, and after it on the other side. */
static void before(lr_fiber *from, lr_fiber *to)
{
    leaving = from;
    arriving = to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(to->sanitizer, 0);
#endif
}

static void after(lr_fiber *here)
{
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom;
    size_t size_bytes;
    __sanitizer_finish_switch_fiber(here->fake_stack, &bottom, &size_bytes);
    if (!leaving->body) { /* a thread's own stack, whose place only the sanitizer knew */
        leaving->stack = (char *)(uintptr_t)bottom;
        leaving->stack_bytes = size_bytes;
    }
#endif
    (void)here;
}

static _Noreturn void enter(void)
{
    lr_fiber *f = arriving;
    after(f);
    f->body(f->argument);
    LR_ASSERT(!"a fiber's body returned");
    __builtin_unreachable();
}

void lr_fiber_switch(lr_fiber *from, lr_fiber *to)
{
    before(from, to);
    lr_fiber_swap(&from->saved, to->saved);
    after(from);
}

void lr_fiber_of_thread(lr_fiber *f)
{
    memset(f, 0, sizeof *f);
#if defined(__SANITIZE_THREAD__)
    f->sanitizer = __tsan_get_current_fiber();
#endif
}

/* The record at the upper end, below it the frame that the first switch pops. */
static lr_fiber *lay_out(char *stack)
{
    lr_fiber *f = (lr_fiber *)(stack + STACK_BYTES - 256);
    uint64_t *frame = (uint64_t *)(void *)f - 16 - FRAME_WORDS;
    memset(f, 0, sizeof *f);
    memset(frame, 0, FRAME_WORDS * sizeof *frame);
    first_controls(frame);
    frame[RETURN_WORD] = (uint64_t)(uintptr_t)enter;
    f->saved = frame;
    f->stack = stack;
    f->stack_bytes = STACK_BYTES;
    return f;
}

_Static_assert(sizeof(lr_fiber) <= 256, "its place at the end of a stack");
_Static_assert((16 + FRAME_WORDS) % 2 == (RETURN_WORD == 7 ? 1 : 0), "the ABI's alignment at a function's entry");

lr_fiber *lr_fiber_new(void (*body)(void *argument), void *argument)
{
    if (atomic_fetch_add(&fibers, 1) >= FIBERS_MAX) {
        atomic_fetch_sub(&fibers, 1);
        return NULL;
    }
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        atomic_fetch_sub(&fibers, 1);
        return NULL;
    }
    if (mprotect(stack, GUARD_BYTES, PROT_NONE) != 0) {
        munmap(stack, STACK_BYTES);
        atomic_fetch_sub(&fibers, 1);
        return NULL;
    }
    lr_fiber *f = lay_out(stack);
    f->body = body;
    f->argument = argument;
#if defined(__SANITIZE_THREAD__)
    f->sanitizer = __tsan_create_fiber(0);
#endif
    return f;
}

void lr_fiber_free(lr_fiber *f)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(f->sanitizer);
#endif
    munmap(f->stack, f->stack_bytes);
    atomic_fetch_sub(&fibers, 1);
}
