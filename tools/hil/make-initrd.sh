#!/bin/bash
# make-initrd.sh ROOT FILE: an initramfs that mounts /dev/vda and no more. Debian's own runs udev first,
# which takes the emulated processor longer than all the rest of the kernel's start.
set -eu
root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kernel=$(ls "$root/usr/lib/modules")
mkdir -p "$work"/{bin,dev,lib,lib64,modules,root}
cp "$root/usr/bin/busybox" "$work/bin/"
for library in $(chroot "$root" ldd /usr/bin/busybox | grep -o '/lib[^ ]*'); do
    mkdir -p "$work/$(dirname "$library")"
    cp -L "$root/$library" "$work/$library"
done
number=10
for module in $(for name in virtio_pci virtio_blk ext4; do
    chroot "$root" modprobe -S "$kernel" --show-depends $name | awk '$1 == "insmod" {print $2}'
done | awk '!seen[$0]++'); do
    xz -dc "$root/$module" >"$work/modules/$number-$(basename "$module" .xz)"
    number=$((number + 1))
done
cat >"$work/init" <<'X'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do /bin/busybox insmod "$module"; done
while ! [ -b /dev/vda ]; do /bin/busybox sleep 0.05; done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
X
chmod +x "$work/init"
(cd "$work" && find . | cpio -o -H newc --quiet) >"$2"
