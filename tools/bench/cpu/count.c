/* QEMU plugin: counts the instructions of every thread of an emulated process.
 *
 * The process marks what is to be counted by umask(MARK | kind << 16 | value << 9 | 022): a system call
 * that Python makes at little cost and that does nothing else. Instructions of the library that stands in
 * for the kernel's USB side (usbfs.c) are counted apart; it tells its place with FAKE.
 *
 * Only the few plugin functions that are used are declared here, so that no header is needed. They are
 * the same in version 1 of the interface (QEMU up to 8) and in the later ones.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1
#endif

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef void (*tb_callback)(plugin_id, struct qemu_plugin_tb *);
typedef void (*exec_callback)(unsigned, void *);
typedef void (*syscall_callback)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, tb_callback);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, exec_callback, int, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, syscall_callback);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = PLUGIN_VERSION;

enum { UMASK = 166, MARK = 0x5e << 24, THREADS = 64, KINDS = 64 };
enum kind { ROLE = 1, BEGIN, END, PAUSE, RESUME, FAKE, PART };

struct block {
    uint64_t instructions;
    bool fake;
};
static struct thread {
    uint64_t counted, paused, fake; /* instructions */
    uint64_t parts[KINDS];          /* the same as counted, by the part that was named last */
    bool is_paused;
    unsigned part;
    char role;
} threads[THREADS], before[THREADS];
static uint64_t fake_start, fake_end;

static void executed(unsigned number, void *data)
{
    struct block *block = data;
    struct thread *thread = &threads[number % THREADS];
    if (block->fake)
        thread->fake += block->instructions;
    else if (thread->is_paused)
        thread->paused += block->instructions;
    else {
        thread->counted += block->instructions;
        thread->parts[thread->part] += block->instructions;
    }
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    struct block *block = calloc(1, sizeof *block);
    (void)id;
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->fake = qemu_plugin_tb_vaddr(tb) >= fake_start && qemu_plugin_tb_vaddr(tb) < fake_end;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
}

/* One line for each thread: its role, then counted, paused and fake instructions, then its parts. */
static void report(void)
{
    for (int i = 0; i < THREADS; i++) {
        struct thread *now = &threads[i], *old = &before[i];
        if (now->counted == old->counted && now->fake == old->fake)
            continue;
        fprintf(stderr, "COUNT %c %lu %lu %lu", now->role ? now->role : '?', now->counted - old->counted,
                now->paused - old->paused, now->fake - old->fake);
        for (int part = 1; part < KINDS; part++)
            if (now->parts[part] != old->parts[part])
                fprintf(stderr, " %d:%lu", part, now->parts[part] - old->parts[part]);
        fprintf(stderr, "\n");
    }
}

static void called(plugin_id id, unsigned number, int64_t call, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    struct thread *thread = &threads[number % THREADS];
    unsigned value = a >> 9 & 0x7f;
    (void)id, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (call != UMASK || (a & 0xff000000) != MARK)
        return;
    switch ((enum kind)(a >> 16 & 0xff)) {
    case ROLE: thread->role = (char)value; break;
    case BEGIN: memcpy(before, threads, sizeof before); break;
    case END: report(); break;
    case PAUSE: thread->is_paused = true; break;
    case RESUME: thread->is_paused = false; break;
    case FAKE: fake_start = b; fake_end = c; break;
    case PART: thread->part = value % KINDS; break;
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **options)
{
    (void)info, (void)count, (void)options;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
