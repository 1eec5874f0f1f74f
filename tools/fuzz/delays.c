/* Delays where a network or a busy machine would make them: before a call of libc that sends, receives or waits,
 * DELAYS_PERMILLE times in a thousand, of up to DELAYS_US. Loaded in front of libc with LD_PRELOAD, in every
 * process and thread of a test. Linux; x86-64 or arm64 with glibc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)atoi(text) : otherwise;
}

static void delay(void)
{
    static int known;
    static unsigned permille, longest_us;
    static __thread uint64_t state;
    if (!known) {
        permille = from_environment("DELAYS_PERMILLE", 20);
        longest_us = from_environment("DELAYS_US", 30000);
        known = 1;
    }
    if (!state) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        state = (((uint64_t)now.tv_nsec * 2654435761u) ^ (uintptr_t)&state ^ ((uint64_t)getpid() << 32)) | 1;
    }
    /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    if (longest_us && state % 1000 < permille) {
        struct timespec pause = {0, (long)((state >> 20) % longest_us % 1000000) * 1000};
        nanosleep(&pause, NULL);
    }
}

#define DELAYED(result, name, parameters, arguments)      \
    result name parameters                                \
    {                                                     \
        static result(*next) parameters;                  \
        if (!next)                                        \
            next = dlsym(RTLD_NEXT, #name);               \
        delay();                                          \
        return next arguments;                            \
    }

DELAYED(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
DELAYED(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
DELAYED(int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms))
DELAYED(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
DELAYED(ssize_t, recv, (int fd, void *b, size_t n, int flags), (fd, b, n, flags))
DELAYED(ssize_t, recvfrom, (int fd, void *b, size_t n, int flags, struct sockaddr *a, socklen_t *m),
        (fd, b, n, flags, a, m))
DELAYED(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
DELAYED(ssize_t, send, (int fd, const void *b, size_t n, int flags), (fd, b, n, flags))
DELAYED(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
DELAYED(ssize_t, sendto, (int fd, const void *b, size_t n, int flags, const struct sockaddr *a, socklen_t m),
        (fd, b, n, flags, a, m))
DELAYED(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n))
DELAYED(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n))
