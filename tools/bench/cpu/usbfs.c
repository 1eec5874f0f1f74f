/* Stands in for the kernel's USB side and a device behind it, under the real libusb.
 *
 * Preloaded into an emulated process. libusb itself is Debian's, untouched: it opens the "device" by its
 * libusb_wrap_sys_device, and all that it asks of the kernel arrives in ioctl() below. A transfer is
 * complete as soon as it was submitted; of a FRAME only the header is looked at, and the payload of a
 * RESULT is left as it is, as if DMA had put it there. Capabilities are those of a Raspberry Pi 3B's
 * host controller (no scatter/gather), so libusb splits transfers as it does there.
 *
 * The device's descriptors and answers come from the file named in GNETSEG_FAKE_USB, as records of
 * request type (1 byte), request (1), value (2), length (2) and data. Request type 0xff marks what is
 * read from the device's file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libusb.h>
#include <linux/ioctl.h>
#include <linux/usbdevice_fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MARK_FAKE = 0x5e << 24 | 6 << 16 | 022, HEADER = 32, PACKET = 512, QUEUE = 64, DESCRIPTORS = 0xff };
struct record {
    uint8_t type, request;
    uint16_t value, length;
    uint8_t data[];
} __attribute__((packed));

extern char __ehdr_start __attribute__((visibility("hidden")));
extern char etext __attribute__((visibility("hidden")));

static uint8_t records[4096];
static ssize_t records_size;
/* The device's "file" is an event counter: poll() finds it writable, as usbfs, unless it is full. */
static int device_fd = -1;
static const uint64_t FULL = ~1ull;
static uint64_t counter;
static libusb_device_handle *device_handle;
static char lock;
static uint8_t mask_bits = 8;
static struct usbdevfs_urb *waiting[QUEUE], *done[QUEUE]; /* IN transfers; completed, not yet reaped */
static unsigned waiting_head, waiting_tail, done_head, done_tail;
static uint8_t answers[QUEUE][HEADER]; /* headers of RESULTs that are due */
static unsigned answers_head, answers_tail;
static unsigned answer_sent;       /* bytes of the RESULT under way */
static bool in_message, was_short; /* a FRAME is under way; the last IN transfer ended a RESULT */

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("GNETSEG_FAKE_USB");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file >= 0) {
        records_size = read(file, records, sizeof records);
        close(file);
    }
    syscall(SYS_umask, MARK_FAKE, &__ehdr_start, &etext);
}

static struct record *find(unsigned type, unsigned request, unsigned value)
{
    for (uint8_t *at = records; at < records + records_size;) {
        struct record *record = (struct record *)at;
        if (record->type == type && record->request == request && record->value == value)
            return record;
        at += sizeof *record + record->length;
    }
    return NULL;
}

static void copy(uint8_t *to, const uint8_t *from, unsigned size)
{
    while (size--)
        *to++ = *from++;
}

static uint32_t get32(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = value >> 8 * i;
}

/* Turn a FRAME's header into that of its RESULT, as docs/protocol.md says. */
static void answer(const uint8_t *frame)
{
    uint8_t *header = answers[answers_tail++ % QUEUE];
    uint32_t width = frame[20] | frame[21] << 8, height = frame[22] | frame[23] << 8, crc = ~0u;
    copy(header, frame, HEADER);
    header[4] = 0x81;
    header[6] = mask_bits;
    put32(header + 16, (width * mask_bits + 7) / 8 * height);
    for (int i = 0; i < 28; i++) {
        crc ^= header[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    put32(header + 28, ~crc);
}

static void complete(struct usbdevfs_urb *urb, int status)
{
    if (done_head == done_tail) /* readable by poll() from now on */
        syscall(SYS_read, device_fd, &counter, sizeof counter);
    urb->status = status;
    done[done_tail++ % QUEUE] = urb;
}

static void bulk_out(struct usbdevfs_urb *urb)
{
    if (!in_message)
        answer(urb->buffer);
    in_message = urb->buffer_length % PACKET == 0; /* a short packet ends it */
    urb->actual_length = urb->buffer_length;
    complete(urb, 0);
}

/* Give what is due to the IN transfers that wait for it. A short one ends those that continue it. */
static void deliver(void)
{
    while (waiting_head != waiting_tail) {
        struct usbdevfs_urb *urb = waiting[waiting_head % QUEUE];
        if (urb->flags & USBDEVFS_URB_BULK_CONTINUATION && was_short) {
            complete(urb, -ECONNRESET);
        } else if (answers_head == answers_tail) {
            return;
        } else {
            uint8_t *header = answers[answers_head % QUEUE];
            int left = HEADER + get32(header + 16) - answer_sent;
            if (answer_sent == 0)
                copy(urb->buffer, header, HEADER);
            was_short = left < urb->buffer_length;
            urb->actual_length = was_short ? left : urb->buffer_length;
            answer_sent += urb->actual_length;
            if (was_short) { /* messages are never a multiple of a packet */
                answers_head++;
                answer_sent = 0;
            }
            complete(urb, was_short && urb->flags & USBDEVFS_URB_SHORT_NOT_OK ? -EREMOTEIO : 0);
        }
        waiting_head++;
    }
}

static int control(struct usbdevfs_urb *urb)
{
    uint8_t *setup = urb->buffer;
    struct record *record = find(setup[0], setup[1], setup[2] | setup[3] << 8);
    unsigned wanted = setup[6] | setup[7] << 8;
    if (setup[0] & 0x80) {
        if (!record)
            return -EPIPE;
        urb->actual_length = record->length < wanted ? record->length : wanted;
        copy(setup + 8, record->data, urb->actual_length);
        return 0;
    }
    if (setup[0] == 0x41 && setup[1] == 2) /* HELLO */
        mask_bits = setup[8 + 6];
    urb->actual_length = wanted;
    return 0;
}

static int submit(struct usbdevfs_urb *urb)
{
    int refused = 0;
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
        ;
    urb->actual_length = 0;
    if (urb->type == USBDEVFS_URB_TYPE_CONTROL)
        complete(urb, control(urb));
    else if (!(urb->endpoint & 0x80))
        bulk_out(urb);
    else if (urb->flags & USBDEVFS_URB_BULK_CONTINUATION && was_short && waiting_head == waiting_tail)
        refused = -1;
    else
        waiting[waiting_tail++ % QUEUE] = urb;
    deliver();
    __atomic_clear(&lock, __ATOMIC_RELEASE);
    if (refused)
        errno = EREMOTEIO;
    return refused;
}

static int reap(struct usbdevfs_urb **urb)
{
    int result = -1;
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
        ;
    if (done_head != done_tail) {
        *urb = done[done_head++ % QUEUE];
        result = 0;
        if (done_head == done_tail)
            syscall(SYS_write, device_fd, &FULL, sizeof FULL);
    }
    __atomic_clear(&lock, __ATOMIC_RELEASE);
    if (result)
        errno = EAGAIN;
    return result;
}

/* libusb reads the descriptors. */
ssize_t read(int fd, void *buffer, size_t size)
{
    if (fd != device_fd || fd < 0)
        return syscall(SYS_read, fd, buffer, size);
    struct record *record = find(DESCRIPTORS, 0, 0);
    size = record->length < size ? record->length : size;
    memcpy(buffer, record->data, size);
    return size;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *data = va_arg(arguments, void *);
    va_end(arguments);
    if (fd != device_fd || fd < 0)
        return syscall(SYS_ioctl, fd, request, data);
    switch (request) {
    case USBDEVFS_SUBMITURB: return submit(data);
    case USBDEVFS_REAPURBNDELAY: return reap(data);
    case USBDEVFS_GET_CAPABILITIES:
        *(uint32_t *)data = USBDEVFS_CAP_ZERO_PACKET | USBDEVFS_CAP_BULK_CONTINUATION |
                            USBDEVFS_CAP_NO_PACKET_SIZE_LIM | USBDEVFS_CAP_REAP_AFTER_DISCONNECT;
        return 0;
    case USBDEVFS_CONNECTINFO: memset(data, 0, sizeof(struct usbdevfs_connectinfo)); return 0;
    case USBDEVFS_GET_SPEED: return 3; /* high */
    case USBDEVFS_CONTROL: { /* only GET_CONFIGURATION comes this way */
        struct usbdevfs_ctrltransfer *transfer = data;
        *(uint8_t *)transfer->data = 1;
        return 1;
    }
    case USBDEVFS_DISCARDURB: errno = EINVAL; return -1; /* it is complete already */
    case USBDEVFS_GETDRIVER: errno = ENODATA; return -1;
    default: return 0; /* claim, release, clear halt, reset */
    }
}

/* There is no /sys with devices to look through: the one device is this one. */

int libusb_init(libusb_context **context)
{
    int (*real)(libusb_context **) = dlsym(RTLD_NEXT, "libusb_init");
    libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
    return real(context);
}

ssize_t libusb_get_device_list(libusb_context *context, libusb_device ***list)
{
    if (!find(DESCRIPTORS, 0, 0))
        return LIBUSB_ERROR_IO;
    if (!device_handle) {
        device_fd = eventfd(0, EFD_NONBLOCK);
        syscall(SYS_write, device_fd, &FULL, sizeof FULL);
        int error = libusb_wrap_sys_device(context, device_fd, &device_handle);
        if (error)
            return error;
    }
    *list = calloc(2, sizeof **list);
    (*list)[0] = libusb_ref_device(libusb_get_device(device_handle));
    return 1;
}

int libusb_open(libusb_device *device, libusb_device_handle **handle)
{
    (void)device;
    *handle = device_handle;
    return 0;
}

void libusb_close(libusb_device_handle *handle)
{
    (void)handle;
}
