/* The newest person mask, with libzmq alone, in C or C++:
 *   cc -O2 -o subscribe subscribe.c -lzmq && ./subscribe [ENDPOINT] [MASKS]
 * docs/messages.md describes the bytes; a little-endian machine is taken for granted. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

static const char TOPIC[16] = "mask/cam0"; /* the rest is NUL, and belongs to it */
static const char INFO[16] = "info/cam0";

struct mask {
    uint16_t header_size, width, height, stride;
    uint32_t flags, payload_size;
    uint64_t sequence, sensor_ns;
    uint8_t bits;
    char backend[17];
    const uint8_t *pixels;
};

/* Read the message m of size bytes; 0 if it is no mask of version 1. */
static int parse(const uint8_t *m, size_t size, struct mask *mask)
{
    if (size < 128 || memcmp(m + 16, "GSEG", 4) != 0 || m[20] != 1)
        return 0;
    memcpy(&mask->header_size, m + 22, 2);
    memcpy(&mask->flags, m + 24, 4);
    mask->bits = m[28];
    memcpy(&mask->width, m + 30, 2);
    memcpy(&mask->height, m + 32, 2);
    memcpy(&mask->stride, m + 34, 2);
    memcpy(&mask->sequence, m + 40, 8);
    memcpy(&mask->sensor_ns, m + 56, 8);
    memcpy(mask->backend, m + 80, 16);
    mask->backend[16] = 0;
    memcpy(&mask->payload_size, m + 112, 4);
    mask->pixels = m + mask->header_size;
    return mask->header_size >= 128 && (size_t)mask->header_size + mask->payload_size == size
        && (mask->bits == 8 || mask->bits == 4 || mask->bits == 2 || mask->bits == 1)
        && mask->stride == (mask->width * mask->bits + 7) / 8 && mask->width > 0 && mask->height > 0
        && mask->payload_size == (uint32_t)mask->stride * mask->height;
}

static unsigned label(const struct mask *mask, int x, int y)
{
    int bit = x * mask->bits;
    return mask->pixels[y * mask->stride + bit / 8] >> (8 - mask->bits - bit % 8) & ((1u << mask->bits) - 1);
}

/* Which labels are persons, from the JSON of info; 0 if it does not say. JSON escapes a quote in a text. */
static int read_persons(const char *info, uint8_t person[256])
{
    const char *at = strstr(info, "\"persons\"");
    char *end;

    if (at == NULL || (at = strchr(at, '[')) == NULL)
        return 0;
    memset(person, 0, 256);
    for (at++;; at = end + 1) {
        long label = strtol(at, &end, 10);
        if (end == at || (*end != ',' && *end != ']'))
            return *at == ']';
        if (label >= 0 && label < 256)
            person[label] = 1;
        if (*end == ']')
            return 1;
    }
}

/* A socket for one topic that holds the newest message only; NULL if there can be none. */
static void *subscriber(void *context, const char *endpoint, const char topic[16])
{
    void *socket = zmq_socket(context, ZMQ_SUB);
    int one = 1, zero = 0, timeout_ms = 3000;

    zmq_setsockopt(socket, ZMQ_CONFLATE, &one, sizeof one); /* before connecting */
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, topic, 16);
    if (zmq_connect(socket, endpoint) == 0)
        return socket;
    fprintf(stderr, "cannot subscribe at %s: %s\n", endpoint, zmq_strerror(errno));
    zmq_close(socket);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "ipc:///run/gnetsegd/masks.sock";
    long left = argc > 2 ? atol(argv[2]) : -1; /* how many masks; else for ever */
    void *context = zmq_ctx_new();
    void *infos = subscriber(context, endpoint, INFO), *socket = subscriber(context, endpoint, TOPIC);
    uint8_t is_person[256];
    int known = 0, code = 0; /* label 1 may be a building: info says which are persons */

    if (infos == NULL || socket == NULL)
        return 64;
    while (left != 0) {
        char info[65536];
        int size = zmq_recv(infos, info, sizeof info - 1, ZMQ_DONTWAIT);
        zmq_msg_t message;
        struct mask mask;
        struct timespec now;
        unsigned long person = 0;

        if (size > 16 && size < (int)sizeof info) {
            info[size] = 0;
            known = read_persons(info + 16, is_person);
        }
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, socket, 0) < 0) {
            fprintf(stderr, "no mask for 3 s: %s\n", zmq_strerror(errno));
            code = 75; /* it does not go on blindly */
            break;
        }
        if (known && parse((const uint8_t *)zmq_msg_data(&message), zmq_msg_size(&message), &mask)) {
            for (int y = 0; y < mask.height; y++)
                for (int x = 0; x < mask.width; x++)
                    person += is_person[label(&mask, x, y)];
            clock_gettime(CLOCK_MONOTONIC, &now);
            printf("frame %llu: %.0f ms old, %.0f%% person, by %s%s\n", (unsigned long long)mask.sequence,
                   (double)(now.tv_sec * 1000000000LL + now.tv_nsec - (int64_t)mask.sensor_ns) / 1e6,
                   100.0 * (double)person / ((double)mask.width * mask.height), mask.backend,
                   mask.flags & 1 ? " (fallback)" : "");
            fflush(stdout);
            if (left > 0)
                left--;
        }
        zmq_msg_close(&message);
    }
    zmq_close(infos);
    zmq_close(socket);
    zmq_ctx_term(context);
    return code;
}
