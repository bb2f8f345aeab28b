#!/bin/sh
# Builds initramfs.gz: a whole system of busybox, onit as /init and one service. Needs a static busybox.
# usage: initramfs.sh ONIT [BUSYBOX]
#   make static && svdir-examples/initramfs.sh target/x86_64-unknown-linux-musl/release/onit
#   qemu-system-x86_64 -nographic -no-reboot -m 256 -kernel VMLINUZ -initrd initramfs.gz -append "console=ttyS0 quiet"
set -eu
onit=$1 busybox=${2:-$(command -v busybox)}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/sbin" "$root/etc/onit" "$root/etc/service/shell"
cp "$busybox" "$root/bin/busybox"
cp "$onit" "$root/init"
for name in onit poweroff reboot halt; do ln -s ../init "$root/sbin/$name"; done

# Once, before the services: what this machine needs. onit has mounted /proc, /sys, /dev and /run.
cat >"$root/etc/onit/boot" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
ip link set lo up
EOF

# A shell on the console; after `exit` comes the next one. `onit status` shows it, `poweroff` ends the machine.
# onit has made it the leader of a session, so cttyhack finds the real terminal, which then controls the session: ^C
# works. (With setsid in front, which forks, the service would end at once.)
cat >"$root/etc/service/shell/run" <<'EOF'
#!/bin/busybox sh
export PATH=/sbin:/bin HOME=/
exec cttyhack sh -l <>/dev/console >&0 2>&1
EOF
echo HUP >"$root/etc/service/shell/down-signal" # a shell at a terminal does not end at TERM

chmod 755 "$root/etc/onit/boot" "$root/etc/service/shell/run"
(cd "$root" && find . | "$busybox" cpio -o -H newc) 2>/dev/null | gzip >initramfs.gz
