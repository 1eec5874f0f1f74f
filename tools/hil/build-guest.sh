#!/bin/bash
# build-guest.sh FOLDER: a Debian trixie guest in FOLDER: vmlinuz, initrd, root.ext4, and a venv for
# the mock device outside. Needs root, mmdebstrap, e2fsprogs, cpio, pip and some two minutes. The checkout is not in it: run.py brings that along.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
work=$out.new
root=$work/root
rm -rf --one-file-system "$work"
mkdir -p "$work"

# The TFLite runtime is not in Debian: its wheel is for the guest's Python, not for ours.
"${PYTHON:-python3}" -m pip install --quiet --no-deps --no-compile --target "$work/site" \
    --only-binary=:all: --python-version 3.13 --platform manylinux_2_27_x86_64 \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 -r "$here/guest-wheels.txt"

# The device at the other end of QEMU's cable runs here, on the guest's runtime: others give other masks.
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet attrs cattrs click numpy pillow pyusb
"$work/venv/bin/pip" install --quiet --no-deps -r "$here/guest-wheels.txt"

packages=$(grep -v '^#' "$here/guest-packages.txt" | paste -sd,)
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    trixie "$root"

dist=$root/usr/local/lib/python3.13/dist-packages
mkdir -p "$dist"
cp -r "$work/site/." "$dist"
chroot "$root" python3 -m compileall -q /usr/local/lib/python3.13/dist-packages

# One service mounts the share and runs what is in it; or a shell comes up instead (run.py chooses).
cp "$here/guest/hil.service" "$root/etc/systemd/system/"
mkdir -p "$root/host" "$root/etc/systemd/system/serial-getty@ttyS0.service.d"
cp "$here/guest/autologin.conf" "$root/etc/systemd/system/serial-getty@ttyS0.service.d/"
echo 'host /host 9p trans=virtio,version=9p2000.L,msize=262144,nofail 0 0' >"$root/etc/fstab"
printf '%s\n' 9p 9pnet_virtio >"$root/etc/modules-load.d/hil.conf"
units=$root/etc/systemd/system
mkdir -p "$units/multi-user.target.wants"
ln -s ../hil.service "$units/multi-user.target.wants/"
for unit in systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer; do
    ln -sf /dev/null "$units/$unit"
done
echo gnetsegd-hil >"$root/etc/hostname"
# No boot is a first one: presets, hwdb, ldconfig and the like would take a minute each time.
echo 6e65747365670000000000000068696c >"$root/etc/machine-id"
touch "$root/etc/.updated" "$root/var/.updated"

cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
"$here/make-initrd.sh" "$root" "$work/initrd"
rm -rf "$root"/boot/* "$root"/var/cache/apt "$root"/var/lib/apt/lists "$work/site"
mke2fs -q -t ext4 -O ^has_journal -m0 -L root -d "$root" "$work/root.ext4" 3G
rm -rf --one-file-system "$root"
rm -rf "$out"
mv "$work" "$out"
