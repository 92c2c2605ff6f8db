#!/bin/busybox sh
# The first process of a machine: this host's files, read-only, with everything written on top on a disk of its own.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
  $b insmod "$module"
done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /host || exit
$b mount -t ext4 /dev/vda /upper || exit
$b mkdir /upper/files /upper/work /upper/tmp /upper/vartmp
$b chmod 1777 /upper/tmp /upper/vartmp
$b mount -t overlay -o lowerdir=/host,upperdir=/upper/files,workdir=/upper/work guest /guest || exit
$b mount --move /proc /guest/proc
$b mount --move /dev /guest/dev
$b mkdir -p /guest/dev/pts /guest/dev/shm
$b mount -t devpts -o mode=620,ptmxmode=666 devpts /guest/dev/pts
$b mount -t tmpfs -o mode=1777 shm /guest/dev/shm
$b mount -t sysfs sysfs /guest/sys
$b mount -t securityfs securityfs /guest/sys/kernel/security
$b mount -t cgroup2 cgroup2 /guest/sys/fs/cgroup
$b mount -t tmpfs -o mode=755 tmpfs /guest/run
$b mount --bind /upper/tmp /guest/tmp
$b mount --bind /upper/vartmp /guest/var/tmp
$b mkdir /guest/run/results
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 results /guest/run/results || exit
$b ip link set lo up
exec $b switch_root /guest /bin/sh /run/results/start.sh
