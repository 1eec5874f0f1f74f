/* What C costs for the same transfers: FRAME out and RESULT in, over libusb's asynchronous API.
 *
 * Nothing else is done for a frame but a new sequence number in its header (its CRC is not made again:
 * the stand-in for the kernel does not look at it) and a look at the answer's.
 *   loop FRAMES BYTES_OUT BUFFER_IN MASK_BITS
 */
#include <libusb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MARK = 0x5e << 24 | 022, ROLE = 1 << 16, BEGIN = 2 << 16, END = 3 << 16 };

static int pending;

static void completed(struct libusb_transfer *transfer)
{
    if (transfer->status != LIBUSB_TRANSFER_COMPLETED)
        abort();
    pending--;
}

int main(int count, char **options)
{
    int frames = atoi(options[1]), out_size = atoi(options[2]), in_size = atoi(options[3]);
    unsigned char *out = calloc(1, out_size), *in = calloc(1, in_size);
    unsigned char hello[16] = {'G', 'S', 'L', 'K', 1, 1, atoi(options[4])};
    libusb_context *context;
    libusb_device **devices;
    libusb_device_handle *handle;
    (void)count;
    if (libusb_init(&context) || libusb_get_device_list(context, &devices) != 1 ||
        libusb_open(devices[0], &handle) || libusb_claim_interface(handle, 0) ||
        libusb_control_transfer(handle, 0x41, 2, 0, 0, hello, sizeof hello, 1000) != sizeof hello) {
        fprintf(stderr, "loop: the device cannot be opened\n");
        return 1;
    }
    out[20] = out[22] = 224;
    struct libusb_transfer *request = libusb_alloc_transfer(0), *reply = libusb_alloc_transfer(0);
    libusb_fill_bulk_transfer(request, handle, 0x01, out, out_size, completed, NULL, 1000);
    libusb_fill_bulk_transfer(reply, handle, 0x81, in, in_size, completed, NULL, 1000);
    syscall(SYS_umask, MARK | ROLE | 'c' << 9);
    for (uint32_t frame = 0; frame < (uint32_t)frames + 20; frame++) {
        if (frame == 20)
            syscall(SYS_umask, MARK | BEGIN);
        memcpy(out + 12, &frame, sizeof frame);
        pending = 2;
        if (libusb_submit_transfer(request) || libusb_submit_transfer(reply))
            abort();
        while (pending)
            libusb_handle_events(context);
        if (memcmp(in + 12, &frame, sizeof frame))
            abort();
    }
    syscall(SYS_umask, MARK | END);
    fprintf(stderr, "BYTES %d\n", reply->actual_length);
    return 0;
}
