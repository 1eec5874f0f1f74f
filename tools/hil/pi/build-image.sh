#!/bin/bash
# build-image.sh FOLDER: an arm64 Debian for the emulated Raspberry Pi 3B in FOLDER: kernel, its device
# tree, and the root as an initramfs. Packages are unpacked, not configured,
# and what their scripts would have done is done by hand. What is finished is not done again after an
# interruption. PYTHON is a Python 3.11, as in the guest. The checkout is not in it: run.py brings that along.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
work=$out.new
root=$work/root
mkdir -p "$work"
listed() { grep -v '^#' "$here/$1"; }

# Kept by itself: what is made of the packages changes more often than their list.
packages=$(dirname "$out")/packages-$(sha256sum <"$here/packages.txt" | cut -c1-12).tar
if ! [ -e "$packages" ]; then
    mmdebstrap --quiet --variant=extract --architectures=arm64 \
        --include="$(listed packages.txt | paste -sd,)" \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$work/packages.tar"
    mv "$work/packages.tar" "$packages"
fi
rm -rf "$root"
mkdir "$root"
tar -C "$root" -xf "$packages" --exclude './dev/*' --no-same-owner

# /bin, /lib and /sbin are links into /usr, as base-files' script makes them.
for folder in bin lib sbin; do
    cp -a "$root/$folder/." "$root/usr/$folder/"
    rm -r "${root:?}/$folder"
    ln -s "usr/$folder" "$root/$folder"
done

kernel=$(ls "$root/usr/lib/modules")
cp "$root/boot/vmlinuz-$kernel" "$work/vmlinuz"
cp "$root/usr/lib/linux-image-$kernel/broadcom/bcm2837-rpi-3-b.dtb" "$work/pi.dtb"
# As `dtoverlay=disable-bt` does on a real one: the UART that Bluetooth has becomes /dev/ttyAMA0.
fdtput -r "$work/pi.dtb" /soc/serial@7e201000/bluetooth

# Of 300 MB of modules, the few that this machine can use.
mv "$root/usr/lib/modules/$kernel" "$work/modules.$$"
mkdir -p "$work/all/lib/modules" "$root/usr/lib/modules/$kernel"
rm -rf "$work/all/lib/modules/$kernel"
mv "$work/modules.$$" "$work/all/lib/modules/$kernel"
depmod -b "$work/all" "$kernel"
for module in $(listed modules.txt); do
    modprobe -d "$work/all" -S "$kernel" --show-depends "$module"
done | awk '$1 == "insmod" {print $2}' | sort -u | while read -r file; do
    name=${file#"$work/all/lib/modules/$kernel/"}
    install -D -m 644 "$file" "$root/usr/lib/modules/$kernel/$name"
done
cp "$work/all/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$root/usr/lib/modules/$kernel/"
depmod -b "$root/usr" -m /lib/modules "$kernel" 2>/dev/null || depmod -b "$root" "$kernel"

# Users and groups, as base-passwd's script makes them; gnetsegd's own comes from its sysusers file.
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
# As update-alternatives would.
libraries=$root/usr/lib/aarch64-linux-gnu
ln -sf blas/libblas.so.3 "$libraries/libblas.so.3"
ln -sf lapack/liblapack.so.3 "$libraries/liblapack.so.3"

ln -sf dash "$root/usr/bin/sh"
# As libc-bin's script does: without the cache of libraries Python finds no libusb.
qemu-aarch64 "$root/usr/sbin/ldconfig" -r "$root"

# The TFLite runtime is not in Debian.
"$PYTHON" -m pip install --quiet --no-deps --no-compile --target "$root/usr/lib/python3/dist-packages" \
    --only-binary=:all: --python-version 3.11 --platform manylinux_2_34_aarch64 \
    --platform manylinux2014_aarch64 -r "$here/wheels.txt"

# What a machine without people, packages and a network does without.
rm -rf "$root"/boot/* "$root"/usr/lib/linux-image-* "$root"/usr/lib/klibc "$root"/usr/lib/udev/hwdb* \
    "$root"/usr/share/{perl,perl5,i18n,zoneinfo,bash-completion,locale,python-wheels} "$libraries"/{perl,perl-base,gconv} \
    "$root"/var/{cache,lib/apt,lib/dpkg} "$libraries"/*.a
find "$root/usr/lib/python3/dist-packages" -type d -name tests -prune -exec rm -rf {} +
# Bytecode is the same on every processor, and compiling takes an emulated one long.
"$PYTHON" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$root" -p / \
    "$root/usr/lib/python3.11" "$root/usr/lib/python3" >/dev/null

# systemd starts what the daemon meets on a Pi: the journal, udev, its user, the modules. All the rest of a
# boot (coldplug of some hundred devices, temporary files, logins) takes two minutes of an emulated processor.
units=$root/usr/lib/systemd/system
for folder in "$units"/{multi-user,timers,getty,local-fs}.target.wants; do rm -f "$folder"/*; done
keep() { # keep FOLDER NAME ...: remove all files but these
    folder=$1
    shift
    for file in "$folder"/*; do
        case " $* " in *" ${file##*/} "*) ;; *) rm -r "$file" ;; esac
    done
}
keep "$units/sysinit.target.wants" systemd-{journald,modules-load,sysusers,udevd}.service
keep "$root/usr/lib/systemd/system-generators" systemd-debug-generator
keep "$root/usr/lib/udev/rules.d" 50-udev-default.rules 80-drivers.rules

ln -s usr/lib/systemd/systemd "$root/init"
echo gnetsegd-pi >"$root/etc/hostname"
: >"$root/etc/fstab"
echo 6e65747365670000000000000000c0de >"$root/etc/machine-id"
listed modules.txt >"$root/etc/modules-load.d/pi.conf"

# Uncompressed: unpacking would be the emulated processor's work.
(cd "$root" && find . -mindepth 1 -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$work/root.cpio"
rm -rf "$root" "$work/all"
rm -rf "$out"
mv "$work" "$out"
